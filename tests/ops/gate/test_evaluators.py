"""Which model is scored anew; the rest is tested by tests/end_to_end/test_release_workflows.py."""

import hashlib
import json
from pathlib import Path

import pytest

from digits.core.errors import InputError
from digits.gate import results
from ops.gate import evaluators
from ops.gate.bases import Base
from ops.gate.evaluators import Incomparable, comparable
from ops.tools import dvc
from ops.tools.tree import WORKING_TREE, Tree
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


def test_models_of_other_image_sizes_cannot_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_model(folder: Path, side: int) -> bytes:
        normalisation = {"mean": 0.0, "std": 1.0, "where": "in the graph"}
        form = {"size": [side, 8], "method": "resize", "background": 0}
        folder.mkdir(parents=True)
        content = json.dumps({"preprocessing": form | {"normalisation": normalisation}}).encode()
        (folder / "model.json").write_bytes(content)
        return content

    def fetch(commit: str, path: str, target: Path) -> None:
        write_model(target, 28)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluators, "fetch", fetch)
    ours = hashlib.sha256(write_model(Path(dvc.MODEL), 24)).hexdigest()
    base = Base("main", Tree("0" * 40), [results.parse("main", metrics_files([1]))])
    candidate = [results.parse("here", metrics_files([1], test_set="c" * 64, model=ours))]
    monkeypatch.setattr(evaluators, "differences", lambda *_: ["the test set"])
    monkeypatch.setattr(evaluators, "unknown_evaluators", lambda *_: [])
    with pytest.raises(
        Incomparable, match=r"main has other images \(28 x 8 pixels; here 24 x 8 pixels\)"
    ):
        list(comparable(base, candidate, code=WORKING_TREE, cross=True, same_evaluator=False))
    other = [results.parse("here", metrics_files([1], test_set="c" * 64, model="d" * 64))]
    with pytest.raises(InputError, match="is not the model that here describes"):
        list(comparable(base, other, code=WORKING_TREE, cross=True, same_evaluator=False))
