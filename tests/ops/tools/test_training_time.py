import time
from pathlib import Path
from typing import Any

import pytest

from digits.core import params
from digits.core.params import override
from digits.data import dataset
from digits.data.dataset import Labelled
from digits.training import loop
from ops.tools import training_time
from tests.helpers.small import ROOT, SMALL


def test_what_happens_once_in_a_training_is_not_counted_for_each_batch(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def train(network: Any, recipe: Any, data: Labelled, *others: Any) -> None:
        clock[0] += 5 + len(data) / recipe.batch_size

    monkeypatch.setattr(loop, "train", train)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(training_time, "DATA", str(prepared))
    changes = SMALL | {"train.batch_size": 16, "train.epochs": 3}
    document = override(params.read_yaml(ROOT / "params.yaml"), changes)
    per_epoch = len(dataset.load(prepared, "train")) / 16
    assert training_time.estimate_s(document) == pytest.approx(3 * per_epoch)
    assert training_time.estimate_s(override(document, {"data.source": "mnist"})) is None
