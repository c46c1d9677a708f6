"""How far a training is: a bar that grows with each batch, and a line for each epoch."""

import sys

from tqdm import tqdm

from digits.training.curve import Epoch


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
