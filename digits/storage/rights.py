"""Find out what the credentials may do with a bucket or a folder, by doing it with a small file."""

import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

from digits.core.errors import Unreachable
from digits.storage import faults, filesystem
from digits.storage.location import Storage

LIST, WRITE, READ, DELETE = "list", "write", "read", "delete"
CONDITIONAL = "conditional writes"


def missing(storage: Storage) -> dict[str, str]:
    """Try each right, and remove the small file again if the credentials may.

    Returns
    -------
    why each right is missing, by its name; empty if none is

    Raises `Unreachable` if the server does not answer, has no such bucket, or does not know the
    credentials.
    """
    name, content = f"check-{uuid.uuid4().hex}", b"digits checks its rights; remove this file\n"
    problems: dict[str, str] = {}

    def attempt(right: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Unreachable as error:
            if not faults.is_forbidden(error):
                raise
            problems[right] = str(error)
        except FileNotFoundError as error:
            problems[right] = f"{storage.url}: {error}"

    attempt(LIST, lambda: filesystem.entries(storage))
    with NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        attempt(WRITE, lambda: filesystem.put(storage, name, Path(file.name)))
    try:
        if WRITE in problems:
            problems[CONDITIONAL] = problems[WRITE]
            return problems
        attempt(READ, lambda: filesystem.read(storage, name))
        if not filesystem.compares_and_sets(storage, name, content):
            problems[CONDITIONAL] = f"{storage.url}: {filesystem.NO_CONDITIONS}"
    finally:
        attempt(DELETE, lambda: filesystem.remove_file(storage, name))
    return problems
