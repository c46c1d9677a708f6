"""The state of a training under way, so that a killed one goes on from its last whole epoch.

One safetensors file, replaced at once after every epoch, and a lock that keeps a second training
out. A state is only used for the very training that it is of: the same parameters, data, code and
versions.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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

Key = Mapping[str, str]

LIBRARY = Path(__file__).parents[1]  # all of digits/


@dataclass(frozen=True)
class State:
    """Tensors by name, and the training curve so far: a row an epoch."""

    tensors: dict[str, Tensor]
    curve: list[list[float]]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training's state is kept."""

    path: Path

    def load(self, key: Key) -> State | None:
        """The state of the training that `key` describes; None, with a message, if there is none.

        Parameters
        ----------
        key : digests of all that decides the result, by what they are of
        """
        try:
            with safe_open(self.path, "pt") as file:
                found = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            others = [name for name in key if found["key"].get(name) != key[name]]
            curve = found["curve"]
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
            print(f"{self.path} is damaged and not used ({error!r})", file=sys.stderr)
            return None
        if others:
            print(f"{self.path} is not used: it is of other {', '.join(others)}", file=sys.stderr)
            return None
        return State(tensors, curve)

    def save(self, key: Key, state: State) -> None:
        """Replace the state; a crash in between leaves the former one."""
        metadata = {"state": json.dumps({"key": dict(key), "curve": state.curve})}
        files.write(self.path, to_safetensors(state.tensors, metadata))


@contextmanager
def open_folder(folder: Path) -> Iterator[Checkpoint]:
    """Keep a folder for one training; it is removed when the block ends without an error.

    Raises
    ------
    InputError
        If another training holds the folder; names its process.
    """
    if distributed.rank() > 0:  # the first process reads and writes for all
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
                f"a training is under way here: process {process} holds {folder}. Wait for it, or "
                f"end it: kill {process}"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield Checkpoint(folder / "state.safetensors")
        shutil.rmtree(folder)


def make_key(parameters: Any, data: str, initial_weights: bytes) -> Key:
    """Describe a training by all that decides its result.

    Parameters
    ----------
    parameters : as JSON can hold them
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
