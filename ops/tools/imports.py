"""Find the files of this repository that a module imports."""

import ast
from collections.abc import Callable
from functools import lru_cache
from pathlib import PurePosixPath

from digits.core.errors import ROOMS, ROOT, InputError

Read = Callable[[str], bytes | None]


def read_code(path: str) -> bytes | None:
    """A file of the repository that this code is in; None if there is no such file."""
    return (ROOT / path).read_bytes() if (ROOT / path).is_file() else None


def reached(path: str, read: Read = read_code) -> dict[str, bytes]:
    """The files of a module and of all that it imports, directly or not: their contents by path.

    Without each package's `__init__.py`, which holds only a docstring.

    Parameters
    ----------
    path : of the module, from the repository's root
    read : returns a file's content by its path, or None if there is no such file

    Raises `InputError` if a file is not Python.
    """
    contents: dict[str, bytes] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        content = None if file in contents else read(file)
        if content is not None:
            contents[file] = content
            waiting += [_file(name) for name in _imported(file, content)]
    return contents


@lru_cache(maxsize=1024)  # most files are the same in many commits
def _imported(file: str, content: bytes) -> set[str]:
    try:
        return imported(content)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is not Python: {error}") from None


def imported(content: bytes) -> set[str]:
    """This repository's modules that a file imports, also inside of its functions."""
    names = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ROOMS}


def _file(module: str) -> str:
    return str(PurePosixPath(*module.split(".")).with_suffix(".py"))
