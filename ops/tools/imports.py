"""Which files of this repository a module imports."""

import ast
from collections.abc import Callable
from pathlib import PurePosixPath

PACKAGES = ("digits", "stages", "ops", "serving", "benchmarks")

Read = Callable[[str], bytes | None]


def reached(path: str, read: Read) -> set[str]:
    """A module's file, and those of all modules that it imports, directly or not.

    Packages' own files (`__init__.py`) are left out: they hold nothing but a docstring.

    Parameters
    ----------
    path : of the module, from the repository's root
    read : a file's content by its path, or None where there is none
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
    """Names of this repository's modules that a file imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES}


def _file(module: str) -> str:
    return str(PurePosixPath(*module.split(".")).with_suffix(".py"))
