from pathlib import Path

import pytest
import torch

from digits.training import cuda_graph
from tests.digits.training.test_loop import EVERYTHING_ON, digest, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU by NVIDIA")

CHANGES = {
    **EVERYTHING_ON,
    "model.channels": [3, 7, 9],  # of which no tensor is a multiple of 16 bytes
    "model.members": 2,
    "train.device": "cuda",
    "train.augmentation.background": 0.2,
    "train.augmentation.noise": 0.1,
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_same_seed_gives_same_bytes_again(prepared: Path, precision: str) -> None:
    changes = {**CHANGES, "train.precision": precision}
    assert digest(train(prepared, changes)) == digest(train(prepared, changes))


def test_recorded_operations_give_the_same_bytes_as_one_by_one(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = train(prepared, CHANGES)
    monkeypatch.setattr(cuda_graph, "record", lambda function, generator, *inputs: function)
    assert digest(train(prepared, CHANGES)) == digest(recorded)
