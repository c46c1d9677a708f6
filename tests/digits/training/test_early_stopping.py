from collections.abc import Sequence
from typing import Literal

from digits.training.curve import Epoch
from digits.training.early_stopping import EarlyStopping, best_epoch, is_out_of_patience


def curve(accuracies: Sequence[float]) -> list[Epoch]:
    return [Epoch(i, 0.1, 1.0, a, 1 - a, 1.0) for i, a in enumerate(accuracies, start=1)]


def stopping(
    monitor: Literal["val_accuracy", "val_nll"] = "val_accuracy", min_delta: float = 0.0
) -> EarlyStopping:
    return EarlyStopping(monitor=monitor, patience=2, min_delta=min_delta)


def test_the_first_of_equal_epochs_is_the_best() -> None:
    assert best_epoch(curve([0.5, 0.9, 0.9]), stopping()).epoch == 2
    assert best_epoch(curve([0.5, 0.9, 0.9]), stopping("val_nll")).epoch == 2


def test_small_gains_count_once_their_sum_exceeds_the_threshold() -> None:
    assert best_epoch(curve([0.5, 0.54, 0.58]), stopping(min_delta=0.05)).epoch == 3
    assert best_epoch(curve([0.5, 0.54, 0.54]), stopping(min_delta=0.05)).epoch == 1


def test_patience_ends_after_as_many_epochs_without_a_gain() -> None:
    assert not is_out_of_patience([], stopping())
    assert not is_out_of_patience(curve([0.9]), stopping())
    assert not is_out_of_patience(curve([0.9, 0.8]), stopping())
    assert is_out_of_patience(curve([0.9, 0.8, 0.9]), stopping())
    assert not is_out_of_patience(curve([0.9, 0.8, 0.91]), stopping())
