"""SGD, Adam and AdamW on one vector of weights.

The updates are torch.optim's, to the rounding (a test compares them); torch.optim itself takes
4 s to import and keeps its state by tensor.
"""

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from digits.core.params import Params

Decay = Annotated[float, Field(ge=0, lt=1)]


class Sgd(Params):
    """Sutskever et al. 2013."""

    momentum: Decay
    nesterov: bool

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("a momentum above 0 where nesterov is true")
        return self


class Adam(Params):
    """Kingma & Ba 2015; with decoupled weight decay, AdamW: Loshchilov & Hutter 2019."""

    betas: tuple[Decay, Decay]
    eps: Annotated[float, Field(gt=0)]


class Optimizer(Params):
    """Which optimizer, what all of them take, and the settings of each.

    Weight decay applies to matrices and kernels, never to biases and batch norm.
    """

    name: Literal["adam", "adamw", "sgd"]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    sgd: Sgd
    adam: Adam
    adamw: Adam


def initial_moments(weights: Tensor) -> Tensor:
    """The state before the first step: float32 (2, n). SGD uses the first row, Adam both."""
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
    """One step, in place.

    Parameters
    ----------
    optimizer : which, and its settings
    weights, gradient : float32 (n,); the gradient is used up
    moments : float32 (2, n), from `initial_moments` and the steps before
    lr : of this step
    step : counted from 0
    decayed : how many of the weights, from the first, weight decay applies to
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
