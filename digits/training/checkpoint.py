"""The checkpoint of a running training: a killed one continues after its last complete epoch.

The checkpoint is one safetensors file, which is replaced after every epoch, in a folder with a lock
that keeps a second training out. A training only continues from a checkpoint of its own: one with
the same parameters, data, code and versions.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from digits.core import files
from digits.core.errors import InputError
from digits.training import distributed
from digits.training.curve import Epoch

Key = Mapping[str, str]

LIBRARY = Path(__file__).parents[1]  # all of digits/


@dataclass(frozen=True)
class State:
    """All that the next epoch depends on: tensors by name, and the curve so far."""

    tensors: Mapping[str, Tensor]
    curve: list[Epoch]


@dataclass(frozen=True)
class Checkpoint:
    """The file that holds a training's state."""

    path: Path

    def load(self, key: Key) -> State | None:
        """Read the state of the training that `key` describes.

        Returns
        -------
        the state, its tensors on the CPU; None if there is no file, or, with a message on stderr,
        if the file is damaged or has another key
        """
        try:
            with safe_open(self.path, "pt") as file:
                metadata = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            different = [name for name in key if metadata["key"].get(name) != key[name]]
            curve = [Epoch(*row) for row in metadata["curve"]]
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
            print(f"{self.path} is damaged and not used ({error!r})", file=sys.stderr)
            return None
        if different:
            print(
                f"{self.path} is not used: its training had different {', '.join(different)}",
                file=sys.stderr,
            )
            return None
        return State(tensors, curve)

    def save(self, key: Key, state: State) -> None:
        """Replace the state; after a crash in between, the file holds the one before."""
        tensors = {name: tensor.cpu() for name, tensor in state.tensors.items()}
        curve = [astuple(row) for row in state.curve]
        metadata = {"state": json.dumps({"key": dict(key), "curve": curve})}
        files.write(self.path, to_safetensors(tensors, metadata))


def restore(
    checkpoint: Checkpoint,
    key: Key,
    tensors: Mapping[str, Tensor],
    epochs: int,
    group: distributed.Group,
) -> list[Epoch]:
    """Continue from a checkpoint, if it is of this training.

    The first process reads the file; the others receive its state.

    Parameters
    ----------
    checkpoint : where the state is
    key : describes this training
    tensors : initial state by name; is filled with the saved one
    epochs : how many the curve can have at most
    group : the processes that train together

    Returns
    -------
    the curve so far; empty if training starts from the beginning
    """
    state = checkpoint.load(key) if group.rank == 0 else None
    rows = torch.zeros((epochs, len(fields(Epoch))), dtype=torch.float64)
    if state:
        for name, tensor in tensors.items():
            tensor.copy_(state.tensors[name])
        for row, epoch in zip(rows, state.curve, strict=False):
            row.copy_(torch.tensor(astuple(epoch), dtype=torch.float64))
        print(f"continuing after epoch {len(state.curve)}, from {checkpoint.path}", file=sys.stderr)
    for tensor in tensors.values():
        tensor.copy_(group.broadcast(tensor))
    received = group.broadcast(rows).tolist()
    return [Epoch(int(number), *values) for number, *values in received if number]


@contextmanager
def open_folder(folder: Path) -> Iterator[Checkpoint]:
    """Lock a folder for one training's checkpoint; remove it when the block ends without an error.

    Raises
    ------
    InputError
        If another training holds the folder; names its process.
    """
    if distributed.rank() > 0:  # the first process locks, reads and writes for all
        yield Checkpoint(folder / "state.safetensors")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            process = lock.read().strip() or "unknown"
            raise InputError(
                f"another training is running: process {process} holds {folder}. Wait for it, or "
                f"end it: kill {process}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield Checkpoint(folder / "state.safetensors")
        shutil.rmtree(folder)


def make_key(parameters: Any, data: str, initial_weights: bytes) -> Key:
    """Describe a training by all that decides its result: texts or digests by name.

    Parameters
    ----------
    parameters : anything that JSON can hold
    data : digest of images and labels
    initial_weights : the vector that training starts from
    """
    code = "".join(files.sha256(path) for path in sorted(LIBRARY.rglob("*.py")))
    versions = (torch.__version__, np.__version__, torch.backends.cpu.get_cpu_capability())
    return {
        "parameters": json.dumps(parameters, sort_keys=True),
        "data": data,
        "initial weights": hashlib.sha256(initial_weights).hexdigest(),
        "code": hashlib.sha256(code.encode()).hexdigest(),
        "versions": ", ".join(versions),
    }
