"""The training curve: what is measured after each epoch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """A row of the training curve. Rates are fractions, losses are in nats.

    `val_nll` is measured on logits times `calibration`, so that label smoothing does not distort
    it. `epoch` counts from 1.
    """

    epoch: int
    learning_rate: float
    train_loss: float
    val_accuracy: float
    val_nll: float
    calibration: float
