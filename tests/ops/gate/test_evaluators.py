"""Which model is scored anew; the rest is tested by tests/end_to_end/test_release_workflows.py."""

import hashlib
from pathlib import Path

import pytest

from digits.core.errors import InputError
from digits.gate import results
from ops.gate import evaluators
from ops.tools import dvc
from tests.helpers.metrics_files import metrics_files


def test_only_the_model_that_the_run_is_of_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    description = Path(dvc.MODEL, "model.json")
    description.parent.mkdir(parents=True)
    description.write_bytes(b"{}")
    run = results.parse("metrics", metrics_files([1], model=hashlib.sha256(b"{}").hexdigest()))
    evaluators.check_model_here(run)
    description.write_bytes(b"[]")
    with pytest.raises(InputError, match=r"not the model that metrics describes\. .*dvc checkout"):
        evaluators.check_model_here(run)
    description.unlink()
    with pytest.raises(InputError, match="dvc checkout"):
        evaluators.check_model_here(run)
