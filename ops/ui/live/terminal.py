"""The output of a command as a terminal would leave it: text only, progress bars overwritten."""

import re
from dataclasses import dataclass
from pathlib import Path

LONGEST = 1 << 18  # bytes that are read at a time, so also of a line

# Escape sequences (ECMA-48), and control characters except tab and carriage return.
CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


@dataclass(frozen=True)
class Output:
    """A part of an output file.

    lines : complete ones
    pending : the line that may still grow or be overwritten
    end : where the next part begins, in bytes
    """

    lines: list[str]
    pending: str
    end: int


def read(path: Path, start: int = 0) -> Output:
    """Read at most LONGEST bytes, from the beginning of a line; no file is an empty one."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            content = file.read(LONGEST)
    except FileNotFoundError:
        content = b""
    complete, newline, rest = content.rpartition(b"\n")
    if not newline and len(rest) == LONGEST:
        complete, newline, rest = rest, b"", b""
    lines = [shown(line) for line in complete.split(b"\n")] if complete or newline else []
    return Output(lines, shown(rest), start + len(complete) + len(newline))


def read_end(path: Path) -> tuple[Output, bool]:
    """The last part of an output file, and whether there is more before it."""
    size = path.stat().st_size if path.exists() else 0
    if size <= LONGEST:
        return read(path), False
    with open(path, "rb") as file:
        file.seek(size - LONGEST)
        start = size - LONGEST + len(file.readline())
    return read(path, start), True


def shown(line: bytes) -> str:
    """A line after its carriage returns, without escape sequences."""
    cells = ""
    for part in CONTROL.sub("", line.decode("utf-8", "replace")).split("\r"):
        cells = part + cells[len(part) :]
    return cells.rstrip()
