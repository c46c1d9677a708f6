"""Who wrote each line of a file, by Git."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ops.tools import git


@dataclass(frozen=True)
class Line:
    """A line of a file, and who wrote it; the last three are None if it is not committed yet.

    date : the author's, in UTC, as in 2026-11-27
    """

    text: str
    commit: str | None
    author: str | None
    date: str | None


def lines(path: str) -> list[Line]:
    """The lines of a file in the working tree; raises `InputError` if Git does not know it."""
    found: list[Line] = []
    header: dict[str, str] = {}
    for line in git.run("blame", "--line-porcelain", "--", path).split("\n"):
        if line.startswith("\t"):
            found.append(_line(line[1:], header))
            header = {}
        elif header:
            key, _, value = line.partition(" ")
            header[key] = value
        elif line:
            header["commit"] = line.partition(" ")[0]
    return found


def _line(text: str, header: dict[str, str]) -> Line:
    if not header["commit"].strip("0"):
        return Line(text, None, None, None)
    written = datetime.fromtimestamp(git.seconds(header["author-time"]), UTC)
    return Line(text, header["commit"], header["author"], str(written.date()))
