"""A lock that one process holds at a time, until it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from digits.core.errors import InputError


@contextmanager
def held(path: Path, message: str) -> Iterator[None]:
    """Hold the lock on a file; raises `InputError` with the message if another process has it."""
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(message) from None
        yield
