"""How a network is trained: the `train` section of params.yaml."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from digits.core.errors import InputError
from digits.core.params import Params
from digits.training.augment import Augmentation
from digits.training.early_stopping import EarlyStopping
from digits.training.optimizer import Optimizer
from digits.training.schedule import Schedule


class Recipe(Params):
    """All that decides the trained weights, except the data and the architecture."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "float32", "bfloat16"]
    epochs: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=2)]  # for batch norm
    shards: Annotated[int, Field(ge=1, le=64)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay per step; 0 turns averaging off
    optimizer: Optimizer
    schedule: Schedule
    augmentation: Augmentation
    early_stopping: EarlyStopping


def resolve(recipe: Recipe) -> Recipe:
    """Replace `auto` in a recipe by what this machine has.

    Raises
    ------
    InputError
        If this machine does not have the device that the recipe names.
    """
    is_available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    device = recipe.device
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if is_available[name])
    if not is_available[device]:
        available = ", ".join(name for name in is_available if is_available[name])
        raise InputError(
            f"train.device is {device!r}, but torch finds no such device here; expected auto or "
            f"one of: {available}"
        )
    precision = recipe.precision
    if precision == "auto":
        fast = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        precision = "bfloat16" if fast else "float32"
    return recipe.model_copy(update={"device": device, "precision": precision})
