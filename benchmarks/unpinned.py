"""Let PyTorch choose its kernels by the processor, as it does elsewhere.

The project pins them to those that all processors have (digits/core/kernels.py), and benchmarks do
so when they import `benchmarks.measure`. What ours is compared with shall not be slowed by that.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

from digits.core import kernels

FREE: dict[str, str] = {}


def here() -> None:
    """Have this process take PyTorch's own choice; to be called before its first operation."""
    for name in kernels.PINS:
        os.environ.pop(name, None)


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in kernels.PINS}


def lines(module: str, *arguments: object, pins: Mapping[str, str] = FREE) -> Iterator[str]:
    """What `python -m MODULE ARGUMENTS` prints, line by line; `pins` are the only ones.

    Raises `CalledProcessError` if it fails.
    """
    words = [sys.executable, "-m", module, *map(str, arguments)]
    with subprocess.Popen(
        words, env={**environment(), **pins}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
