"""How far a training is: a bar that grows with each batch, and a line for each epoch."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from tqdm import tqdm

from digits.core import files
from digits.training.curve import Epoch

PROGRESS = "DIGITS_PROGRESS"  # in the environment: the file that a page follows a training by


def bar(epochs: int, batches: int, done: int, *, hidden: bool) -> tqdm:
    """The bar of a training of some epochs, of so many batches each, after `done` epochs."""
    return tqdm(
        total=epochs * batches,
        initial=done * batches,
        unit="batch",
        disable=hidden,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10,  # seconds; a log needs few lines
    )


def write_line(row: Epoch, epochs: int) -> None:
    """Write an epoch's results above the bar."""
    line = (
        f"epoch {row.epoch:>{len(str(epochs))}} of {epochs}: training loss {row.train_loss:.4f}, "
        f"validation accuracy {row.val_accuracy:.2%}, nll {row.val_nll:.4f}"
    )
    tqdm.write(line, file=sys.stderr)


def write_early_stop(best: Epoch, patience: int) -> None:
    """Write above the bar why it ends before it is full."""
    epochs = "epoch" if patience == 1 else f"{patience} epochs"
    tqdm.write(
        f"stopped early: no gain in the last {epochs} (train.early_stopping). The best is epoch "
        f"{best.epoch}",
        file=sys.stderr,
    )


def publish(curve: Sequence[Epoch], epochs: int) -> None:
    """Write the curve so far to the file that DIGITS_PROGRESS names; nothing if it is not set."""
    path = os.environ.get(PROGRESS)
    if path:
        text = json.dumps({"epochs": epochs, "curve": [asdict(row) for row in curve]})
        with contextlib.suppress(OSError):  # a training goes on, whether or not a page can follow
            files.write(path, text)
