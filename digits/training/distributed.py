"""The processes that train together under torchrun, and the messages that they exchange.

Without torchrun, one process trains alone.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from digits.core.errors import InputError

TIMEOUT = timedelta(minutes=5)  # to wait for a message from a process that hangs


@dataclass(frozen=True)
class Group:
    """The number of this process, from 0, and the number of all processes."""

    rank: int
    size: int

    def own_shards(self, shards: int) -> range:
        """The numbers of the shards that this process computes.

        Raises
        ------
        InputError
            If the processes cannot share the shards evenly.
        """
        if shards % self.size:
            raise InputError(
                f"train.shards is {shards}, which {self.size} processes can't share evenly; "
                f"expected a number of processes that divides it"
            )
        own = shards // self.size
        return range(self.rank * own, (self.rank + 1) * own)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks.

        Parameters
        ----------
        rows : float (n, m), the same shape in each process, on any device

        Returns
        -------
        float (n * size, m), on the same device
        """
        if self.size == 1:
            return rows
        own = rows.cpu().contiguous()
        gathered = [torch.empty_like(own) for _ in range(self.size)]
        with _explained_failure():
            dist.all_gather(gathered, own)
        return torch.cat(gathered).to(rows.device)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """The first process's tensor; every process passes one of the same shape."""
        if self.size == 1:
            return tensor
        shared = tensor.cpu().contiguous()
        with _explained_failure():
            dist.broadcast(shared, src=0)
        return shared.to(tensor.device)

    def check_agreement(self, key: Mapping[str, str]) -> None:
        """Raise `InputError` unless all processes have the same values; names those that differ."""
        digests = [hashlib.sha256(value.encode()).digest() for value in key.values()]
        own = torch.tensor([list(digest) for digest in digests], dtype=torch.uint8)
        same = (self.broadcast(own.clone()) == own).all(dim=1).tolist()
        if not all(same):
            different = [name for name, equal in zip(key, same, strict=True) if not equal]
            raise InputError(
                f"process {self.rank} and the first process have different "
                f"{', '.join(different)}; every host needs the same commit, params.yaml, data/ and "
                f"kind of processor"
            )


def rank() -> int:
    """This process's number among those that torchrun started; 0 without torchrun."""
    return int(os.environ["RANK"]) if _under_torchrun() else 0


def local_rank() -> int:
    """This process's number among those on its host."""
    return int(os.environ["LOCAL_RANK"]) if _under_torchrun() else 0


@contextmanager
def join() -> Iterator[Group]:
    """Connect to the other processes.

    Raises
    ------
    InputError
        If the connection fails, or one of the processes ends early.
    """
    if not _under_torchrun():
        yield Group(0, 1)
        return
    with _explained_failure():
        dist.init_process_group("gloo", timeout=TIMEOUT)
    yield Group(dist.get_rank(), dist.get_world_size())
    # A process that fails must say why before the others see that it is gone. So an exception does
    # not disconnect: the process does when it ends, after its message.
    dist.destroy_process_group()


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def _explained_failure() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo raises it for every failure
        raise InputError(
            f"process {rank()} lost the connection to the others; the process that ended first "
            f"says why in its own message ({str(error).splitlines()[0]})"
        ) from None
