"""Early stopping: which epoch is the best, and when to stop waiting for a better one."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from digits.core.params import Params
from digits.training.curve import Epoch


class EarlyStopping(Params):
    """Stop after `patience` epochs in a row without a gain of more than `min_delta`.

    Training keeps the weights of the best epoch, also if it runs to its end.
    """

    monitor: Literal["val_accuracy", "val_nll"]
    patience: Annotated[int, Field(ge=1)]
    min_delta: Annotated[float, Field(ge=0)]


def best_epoch(curve: Sequence[Epoch], stopping: EarlyStopping) -> Epoch:
    """The last epoch that gained more than `min_delta` over the best one before it.

    Parameters
    ----------
    curve : at least one epoch, from the first
    stopping : what is compared
    """
    best = curve[0]
    for row in curve[1:]:
        if _score(row, stopping) - _score(best, stopping) > stopping.min_delta:
            best = row
    return best


def is_out_of_patience(curve: Sequence[Epoch], stopping: EarlyStopping) -> bool:
    """Whether the last `patience` epochs brought no gain."""
    return bool(curve) and len(curve) - best_epoch(curve, stopping).epoch >= stopping.patience


def _score(row: Epoch, stopping: EarlyStopping) -> float:
    return row.val_accuracy if stopping.monitor == "val_accuracy" else -row.val_nll
