"""The processes that train together under torchrun; without torchrun, one alone."""

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

TIMEOUT = timedelta(minutes=5)  # for a message of a process that neither answers nor ends


@dataclass(frozen=True)
class Group:
    """This process's number, from 0, and how many there are."""

    rank: int
    size: int

    def gather(self, rows: Tensor) -> Tensor:
        """Rows of all processes, in the order of their numbers; each must bring as many.

        Parameters
        ----------
        rows : float (n, m), on any device

        Returns
        -------
        float (n * size, m), on the same device
        """
        if self.size == 1:
            return rows
        mine = rows.cpu().contiguous()
        everyone = [torch.empty_like(mine) for _ in range(self.size)]
        with _peers_named():
            dist.all_gather(everyone, mine)
        return torch.cat(everyone).to(rows.device)

    def check_agreement(self, key: Mapping[str, str]) -> None:
        """Raises `InputError` unless every process has, by these names, what the first one has."""
        digests = [hashlib.sha256(value.encode()).digest() for value in key.values()]
        mine = torch.tensor([list(digest) for digest in digests], dtype=torch.uint8)
        same = (self.broadcast(mine.clone()) == mine).all(dim=1).tolist()
        if not all(same):
            others = [name for name, agrees in zip(key, same, strict=True) if not agrees]
            raise InputError(
                f"process {self.rank} has other {', '.join(others)} than the first one; every host "
                f"needs the same commit, params.yaml, data/ and kind of processor"
            )

    def broadcast(self, tensor: Tensor) -> Tensor:
        """The first process's tensor, in every process; all bring one of the same shape."""
        if self.size == 1:
            return tensor
        shared = tensor.cpu().contiguous()
        with _peers_named():
            dist.broadcast(shared, src=0)
        return shared.to(tensor.device)


def rank() -> int:
    """This process's number among those that torchrun started; 0 without torchrun."""
    return int(os.environ["RANK"]) if _under_torchrun() else 0


def local_rank() -> int:
    """This process's number among those on its host."""
    return int(os.environ["LOCAL_RANK"]) if _under_torchrun() else 0


@contextmanager
def join() -> Iterator[Group]:
    """Meet the other processes.

    Raises
    ------
    InputError
        If they can't be met, or one of them ends before its time.
    """
    if not _under_torchrun():
        yield Group(0, 1)
        return
    with _peers_named():
        dist.init_process_group("gloo", timeout=TIMEOUT)
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def _peers_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what gloo raises, whatever went wrong
        raise InputError(
            f"process {rank()} lost the others of its training; the message of the one that ended "
            f"first says why ({str(error).splitlines()[0]})"
        ) from None
