"""SGD, Adam and AdamW on one vector of weights.

The updates are those of torch.optim except for rounding (a test compares them). torch.optim itself
takes 4 s to import and keeps a state per tensor.
"""

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from digits.core.params import Params

Decay = Annotated[float, Field(ge=0, lt=1)]


class Sgd(Params):
    """Settings of SGD with momentum (Sutskever et al. 2013)."""

    momentum: Decay
    nesterov: bool

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("a momentum above 0 where nesterov is true")
        return self


class Adam(Params):
    """Settings of Adam (Kingma & Ba 2015) and of AdamW (Loshchilov & Hutter 2019)."""

    betas: tuple[Decay, Decay]
    eps: Annotated[float, Field(gt=0)]


class Optimizer(Params):
    """The chosen optimizer, the settings that all share, and the settings of each.

    Weight decay applies to matrices and kernels, not to biases and batch norm.
    """

    name: Literal["adam", "adamw", "sgd"]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    sgd: Sgd
    adam: Adam
    adamw: Adam


def initial_moments(weights: Tensor) -> Tensor:
    """The state before the first step, float32 (2, n). SGD uses the first row, Adam both."""
    return torch.zeros((2, len(weights)), device=weights.device)


def update(
    optimizer: Optimizer,
    weights: Tensor,
    gradient: Tensor,
    moments: Tensor,
    *,
    lr: float,
    step: int,
    decayed: int,
) -> None:
    """Take one step, in place.

    Parameters
    ----------
    optimizer : name and settings
    weights, gradient : float32 (n,); both are overwritten
    moments : float32 (2, n), from `initial_moments` or the step before
    lr : learning rate of this step
    step : from 0
    decayed : weight decay applies to the first `decayed` weights
    """
    decay = optimizer.weight_decay
    first, second = moments
    if optimizer.name == "adamw":
        weights[:decayed] *= 1 - lr * decay
    else:
        gradient[:decayed].add_(weights[:decayed], alpha=decay)
    if optimizer.name == "sgd":
        sgd = optimizer.sgd
        first.mul_(sgd.momentum).add_(gradient)
        weights.sub_(gradient.add_(first, alpha=sgd.momentum) if sgd.nesterov else first, alpha=lr)
        return
    adam = optimizer.adam if optimizer.name == "adam" else optimizer.adamw
    (beta1, beta2), t = adam.betas, step + 1
    first.lerp_(gradient, 1 - beta1)
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (second.sqrt() / math.sqrt(1 - beta2**t)).add_(adam.eps)
    weights.addcdiv_(first, scale, value=-lr / (1 - beta1**t))
