"""Counts in memory that a server's processes share: each process adds to its own; any reads all."""

import json
import mmap
from collections.abc import Iterator
from operator import add
from typing import TypeAlias

CELLS, NAMES = 1 << 18, 1 << 20  # numbers of one process, and bytes; unused pages take no memory

Name = tuple[str, ...]
Cells: TypeAlias = "memoryview[float]"


class Counts:
    """Numbers by name, each a few cells of a process's part of the memory.

    A part begins with the length of its list of names, which are added as they are first needed.
    The process that replaces one that died goes on with its part, so no count ever goes down.
    """

    def __init__(self, processes: int = 1) -> None:
        self._parts = [memoryview(mmap.mmap(-1, 8 * CELLS + NAMES)) for _ in range(processes)]
        self.use(0)

    @property
    def processes(self) -> int:
        return len(self._parts)

    def use(self, number: int) -> None:
        """Add to the part of this number; no other process may use it."""
        self._values, self._names = _split(self._parts[number])
        self._own = dict(_read(self._parts[number]))
        self._used = 1 + sum(map(len, self._own.values()))

    def cells(self, *name: str, width: int = 1) -> Cells:
        """This process's cells with a name; they are floats, and 0 at first."""
        found = self._own.get(name)
        if found is None:
            line = json.dumps([width, *name]).encode() + b"\n"
            end = int(self._values[0])
            self._names[end : end + len(line)] = line
            found = self._own[name] = self._values[self._used : self._used + width]
            self._used += width
            self._values[0] = end + len(line)  # last: another process may be reading
        return found

    def tick(self) -> None:
        """Show that this process goes on."""
        self.cells("ticks")[0] += 1

    def ticks(self, number: int) -> float:
        """How often the process of this number, and those before it, have called `tick`."""
        return sum(cells[0] for name, cells in _read(self._parts[number]) if name == ("ticks",))

    def all(self) -> Iterator[tuple[Name, Cells]]:
        """Yield the cells of all processes, with their names."""
        for part in self._parts:
            yield from _read(part)

    def totals(self) -> dict[Name, list[float]]:
        """The sums over all processes, by name."""
        totals: dict[Name, list[float]] = {}
        for name, cells in self.all():
            before = totals.get(name)
            totals[name] = list(map(add, before, cells)) if before else list(cells)
        return totals


def _split(part: memoryview) -> tuple[Cells, memoryview]:
    return part[: 8 * CELLS].cast("d"), part[8 * CELLS :]


def _read(part: memoryview) -> Iterator[tuple[Name, Cells]]:
    values, names = _split(part)
    start = 1
    for line in bytes(names[: int(values[0])]).splitlines():
        width, *name = json.loads(line)
        yield tuple(name), values[start : start + width]
        start += width
