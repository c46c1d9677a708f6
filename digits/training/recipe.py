"""How a network is trained: the `train` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from digits.core.params import Params
from digits.training.augment import Augmentation
from digits.training.optimizer import Optimizer
from digits.training.schedule import Schedule


class EarlyStopping(Params):
    """Stop after `patience` epochs in a row without a gain of more than `min_delta`.

    Stopped or not, the weights of the best epoch are the ones that are kept.
    """

    monitor: Literal["val_accuracy", "val_nll"]
    patience: Annotated[int, Field(ge=1)]
    min_delta: Annotated[float, Field(ge=0)]


class Recipe(Params):
    """All that decides the trained weights, beside the data and the architecture."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    shards: Annotated[int, Field(ge=1, le=64)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay a step; 0 turns it off
    optimizer: Optimizer
    schedule: Schedule
    augmentation: Augmentation
    early_stopping: EarlyStopping
