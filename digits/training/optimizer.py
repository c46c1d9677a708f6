"""SGD, Muon, Adam and AdamW on one vector of weights.

The updates are those of torch.optim except for rounding (a test compares them). torch.optim itself
takes 4 s to import and keeps a state per tensor. Its Muon takes matrices only.
"""

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from digits.core.params import Params

# Jordan's coefficients: they raise small singular values fast, and end near 1, not at 1.
NEWTON_SCHULZ = 3.4445, -4.7750, 2.0315
NEWTON_SCHULZ_STEPS = 3
SMALLEST_NORM = 1e-7  # of a gradient, for the division

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


class Muon(Params):
    """The setting of Muon (Jordan et al. 2024) for kernels; SGD trains the other weights.

    As in Jordan's airbench, a kernel keeps its norm: before batch norm, only its direction matters.
    """

    lr: Annotated[float, Field(gt=0)]  # of kernels, at the schedule's peak


class Adam(Params):
    """Settings of Adam (Kingma & Ba 2015) and of AdamW (Loshchilov & Hutter 2019)."""

    betas: tuple[Decay, Decay]
    eps: Annotated[float, Field(gt=0)]


class Optimizer(Params):
    """The chosen optimizer, the settings that all share, and the settings of each.

    Weight decay applies to matrices and kernels, not to biases and batch norm.
    """

    name: Literal["adam", "adamw", "muon", "sgd"]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    sgd: Sgd
    muon: Muon
    adam: Adam
    adamw: Adam


def initial_moments(weights: Tensor) -> Tensor:
    """The state before the first step, float32 (2, n). Adam uses both rows, the others one."""
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
    kernels: Callable[[Tensor], Sequence[Tensor]],
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
    kernels : returns the convolutions' parts of such a vector: views, (channels, ...); for Muon
    """
    decay = optimizer.weight_decay
    first, second = moments
    if optimizer.name == "adamw":
        weights[:decayed] *= 1 - lr * decay
    else:
        gradient[:decayed].add_(weights[:decayed], alpha=decay)
    if optimizer.name in ("sgd", "muon"):
        sgd = optimizer.sgd
        first.mul_(sgd.momentum).add_(gradient)
        if sgd.nesterov:
            gradient.add_(first, alpha=sgd.momentum)
        else:
            gradient.copy_(first)
        if optimizer.name == "muon":
            rate = optimizer.muon.lr * lr / optimizer.lr
            for kernel, direction in zip(kernels(weights), kernels(gradient), strict=True):
                _turn(kernel, direction, rate)
                direction.zero_()  # leaves nothing to SGD
        weights.sub_(gradient, alpha=lr)
        return
    adam = optimizer.adam if optimizer.name == "adam" else optimizer.adamw
    (beta1, beta2), t = adam.betas, step + 1
    first.lerp_(gradient, 1 - beta1)
    second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = (second.sqrt() / math.sqrt(1 - beta2**t)).add_(adam.eps)
    weights.addcdiv_(first, scale, value=-lr / (1 - beta1**t))


def _turn(kernel: Tensor, direction: Tensor, rate: float) -> None:
    """Take a step of Muon: orthogonal, whatever the direction's size, and the norm stays."""
    norm = kernel.norm()
    kernel.sub_(orthogonal(direction.flatten(1)).view_as(kernel), alpha=rate)
    kernel.mul_(norm / kernel.norm())


def orthogonal(matrix: Tensor) -> Tensor:
    """Bring a matrix's singular values close to 1 (Newton-Schulz).

    Those of at least 0.02 times the matrix's norm become 0.68 to 1.21; smaller ones grow 40 times.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + SMALLEST_NORM)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if wide is matrix else x.T
