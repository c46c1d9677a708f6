"""All weights of a network in one vector, so that one operation updates or averages all of them.

The vector holds the parameters, then batch norm's running statistics. Of the parameters, matrices
and kernels come first: weight decay applies to these alone. A network that is bound to a vector has
views of it as its tensors.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from digits.model.network import Network
from digits.training.optimizer import initial_moments

ALIGNMENT = 16  # numbers: each tensor starts at a multiple of 64 bytes; a GPU's kernels need 16


@dataclass(frozen=True)
class Weights:
    """The vectors that training changes, float32, on one device.

    Parameters
    ----------
    current : (n,), the weights after the last step
    moments : (2, trainable), the optimizer's
    average : (n,), the moving average of `current`
    best : (n,), `average` after the best epoch
    trainable : how many of the n are parameters, from the first
    decayed : how many of these weight decay applies to, from the first
    """

    current: Tensor
    moments: Tensor
    average: Tensor
    best: Tensor
    trainable: int
    decayed: int

    @classmethod
    def initial(cls, network: Network) -> Self:
        """Copy a network's weights; no step has been taken."""
        current = join(tensors(network)).detach()
        trainable = length(parameters(network))
        return cls(
            current,
            initial_moments(current[:trainable]),
            current.clone(),
            current.clone(),
            trainable,
            length(p for p in network.parameters() if p.dim() > 1),
        )

    @property
    def statistics(self) -> Tensor:
        """Batch norm's running statistics in `current`."""
        return self.current[self.trainable :]

    def averaged(self, network: Network) -> Network:
        """A copy of a network, to evaluate, that is bound to `average`."""
        averaged = copy.deepcopy(network).eval()
        bind(tensors(averaged), self.average)
        return averaged

    def vectors(self) -> dict[str, Tensor]:
        """The vectors by name; with the number of epochs, all that the next epoch depends on."""
        names = ("current", "moments", "average", "best")
        return {name: getattr(self, name) for name in names}


def parameters(network: Network) -> list[Tensor]:
    """The trainable tensors, matrices and kernels first."""
    return sorted(network.parameters(), key=lambda p: p.dim() <= 1)  # stable


def statistics(network: Network) -> list[Tensor]:
    """Batch norm's running means and variances."""
    named = network.named_buffers()
    return [b for name, b in named if name.endswith(("running_mean", "running_var"))]


def tensors(network: Network) -> list[Tensor]:
    """All tensors that the vector holds, in its order."""
    return [*parameters(network), *statistics(network)]


def join(tensors: Iterable[Tensor]) -> Tensor:
    """Copy tensors into one vector; zeros fill the space up to where the next one may start."""
    return torch.cat([_padded(tensor.flatten()) for tensor in tensors])


def length(tensors: Iterable[Tensor]) -> int:
    """How many numbers `join` returns."""
    return sum(t.numel() + _padding(t) for t in tensors)


def bind(tensors: Iterable[Tensor], vector: Tensor) -> None:
    """Replace the content of each tensor by a view of its part of a vector that `join` laid out."""
    start = 0
    for tensor in tensors:
        tensor.data = vector[start : start + tensor.numel()].view_as(tensor)
        start += tensor.numel() + _padding(tensor)


def _padded(flat: Tensor) -> Tensor:
    padding = _padding(flat)
    return F.pad(flat, (0, padding)) if padding else flat


def _padding(tensor: Tensor) -> int:
    return -tensor.numel() % ALIGNMENT
