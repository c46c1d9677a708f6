from copy import deepcopy
from typing import Any

import pytest

from ops import verify
from ops.verify import Outcome

DIGESTS = {"fetch": {"data/raw": "1"}, "train": {"weights": "2", "metrics/train.json": "3"}}
METRICS: dict[str, dict[str, Any]] = {
    "metrics/evaluation.json": {"accuracy": 0.996, "nll": 0.012, "ece": 0.001},
    "metrics/train.json": {
        "val_accuracy": 0.995,
        "val_nll": 0.02,
        "instruction_set": "AVX9",
        "torch": "1.0",
    },
}
COMMITTED = Outcome(DIGESTS, METRICS)


def changed(stage: str, path: str, **metrics: float) -> Outcome:
    digests, found = deepcopy(DIGESTS), deepcopy(METRICS)
    digests[stage][path] = "other"
    found["metrics/evaluation.json"] |= metrics
    return Outcome(digests, found)


def test_the_same_bytes_are_identical(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify.report(COMMITTED, COMMITTED) == "identical"
    assert "all 3 outputs have the same bytes" in capsys.readouterr().out


def test_other_bytes_with_close_metrics_are_equivalent(capsys: pytest.CaptureFixture[str]) -> None:
    found = changed("train", "weights", accuracy=0.9955)
    assert verify.report(COMMITTED, found) == "equivalent"
    output = capsys.readouterr().out
    assert "1 of 3 outputs have other bytes" in output
    assert "the first stage that diverges: train (weights)" in output
    assert "accuracy 0.996 -> 0.9955, within 0.0015" in output
    assert "instruction_set: AVX9 there, " in output


def test_a_metric_beyond_its_tolerance_is_different(capsys: pytest.CaptureFixture[str]) -> None:
    found = changed("train", "weights", accuracy=0.99)
    assert verify.report(COMMITTED, found) == "different"
    assert "accuracy 0.996 -> 0.99, BEYOND 0.0015" in capsys.readouterr().out


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_no_number_is_different(value: float) -> None:
    assert verify.report(COMMITTED, changed("train", "weights", accuracy=value)) == "different"


def test_other_data_are_different_whatever_the_metrics() -> None:
    assert verify.report(COMMITTED, changed("fetch", "data/raw")) == "different"
