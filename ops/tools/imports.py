"""Find the files of this repository that a module imports."""

import ast
from collections.abc import Callable
from pathlib import PurePosixPath

PACKAGES = ("digits", "stages", "ops", "serving", "benchmarks")

Read = Callable[[str], bytes | None]


def reached(path: str, read: Read) -> set[str]:
    """The files of a module and of all modules that it imports, directly or not.

    Without each package's `__init__.py`, which holds only a docstring.

    Parameters
    ----------
    path : of the module, from the repository's root
    read : returns a file's content by its path, or None if there is no such file
    """
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        content = None if file in seen else read(file)
        if content is not None:
            seen.add(file)
            waiting += [_file(name) for name in imported(content)]
    return seen


def imported(content: bytes) -> set[str]:
    """This repository's modules that a file imports, also inside of its functions."""
    names = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES}


def _file(module: str) -> str:
    return str(PurePosixPath(*module.split(".")).with_suffix(".py"))
