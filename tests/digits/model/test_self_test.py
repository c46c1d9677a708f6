import io
import json
from pathlib import Path

import numpy as np
import pytest

from digits.core.errors import InputError
from digits.model import classifier, self_test
from tests.helpers.tiny_models import digest, model


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_a_model_that_answers_as_expected_passes(tmp_path: Path) -> None:
    write(tmp_path, model(1))
    assert self_test.check(tmp_path) == 30


@pytest.mark.parametrize(
    ("logits", "agrees"),
    [
        ([[1.0, 1.00002]], True),
        ([[1.0, 1.0002]], False),
        ([[1.00001, 1.0]], False),  # another class, however close
        ([[float("nan"), float("nan")]], False),
        ([[0.0, float("nan")]], False),
    ],
)
def test_logits_agree_that_are_close_and_name_the_same_class(
    logits: list[list[float]], agrees: bool
) -> None:
    expected = np.array([[1.0, 1.00001]], np.float32)
    found = classifier.compare(np.array(logits, np.float32), expected)
    assert found.agrees is agrees


def test_a_call_runs_on_one_thread() -> None:
    """The server and the batch have threads of their own."""
    options = classifier.session(model(1)["model.onnx"]).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


@pytest.mark.parametrize(("change", "differing"), [(1.0, 1), (float("nan"), 1), (0.001, 0)])
def test_another_answer_is_refused(tmp_path: Path, change: float, differing: int) -> None:
    files = model(1)
    with np.load(io.BytesIO(files["golden.npz"])) as found:
        images, logits = found["images"], found["logits"].copy()
    logits[3, 0] += change * abs(logits).max()
    other = io.BytesIO()
    np.savez(other, images=images, logits=logits)
    files["golden.npz"] = other.getvalue()
    description = json.loads(files["model.json"])
    description["files"]["golden.npz"] = digest(other.getvalue())
    write(tmp_path, files | {"model.json": json.dumps(description).encode()})
    with pytest.raises(InputError, match=f"answers {differing} of 30 golden images with another"):
        self_test.check(tmp_path)
