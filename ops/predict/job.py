"""A batch under way: its plan and the parts that are done, so that it goes on where it was ended.

    OUTPUT.parts/chunks.jsonl    what is read, a part a line, as it was listed at the start
    OUTPUT.parts/plan.json       what run this is; written last: without it there is no plan
    OUTPUT.parts/00000000.arrow  the rows of the first part, and so on; each whole or absent

A part has one name, whoever computes it, and becomes part of OUTPUT once: no row is there twice.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from digits.core import files
from digits.core.errors import InputError
from digits.core.params import Params
from digits.storage import filesystem
from digits.storage.filesystem import Place
from ops.predict import batch
from ops.tools.inputs import Chunk

CHUNKS, PLAN = "chunks.jsonl", "plan.json"


class Run(Params):
    """What a run is asked to do; only the same one goes on with its parts."""

    input: str  # as it was named: the rows' paths begin with it
    source: str  # where that is, whichever folder the command runs in
    written: str | None  # on which day, if that was asked
    model: str
    threshold: float


class Plan(Params):
    """A run, and what it was found to have to read."""

    run: Run
    parts: int
    rows: int
    sha256: str  # of the list of what is read


@dataclass(frozen=True)
class Parts:
    """The parts of a plan, in the folder or the bucket's prefix that they are kept in."""

    place: Place
    plan: Plan

    def pending(self) -> Iterator[tuple[int, Chunk]]:
        """What is yet to be done, by the parts' numbers."""
        done = filesystem.entries(self.place)
        with filesystem.opened(self.place, CHUNKS) as lines:
            for number, line in enumerate(lines):
                if _name(number) not in done:
                    yield number, Chunk.from_json(line)

    def save(self, number: int, content: bytes) -> None:
        """Keep a part, as `batch.to_bytes` makes it."""
        filesystem.write(self.place, _name(number), content)

    def tables(self) -> Iterator[pa.Table]:
        """The rows of all parts, in order; all must be done."""
        for number in range(self.plan.parts):
            content = filesystem.read(self.place, _name(number))
            if content is None:
                raise InputError(
                    f"{self.place.path(_name(number))} is gone; the same command again"
                )
            yield batch.from_bytes(content)


def make_plan(run: Run, chunks: Iterable[Chunk], folder: Path) -> Plan:
    """Write down what there is to read; the list goes into a local folder."""
    parts, rows, digest = 0, 0, hashlib.sha256()
    with open(folder / CHUNKS, "w", encoding="utf-8") as lines:
        for chunk in chunks:
            line = f"{chunk.to_json()}\n"
            lines.write(line)
            digest.update(line.encode())
            parts, rows = parts + 1, rows + len(chunk)
    return Plan(run=run, parts=parts, rows=rows, sha256=digest.hexdigest())


def begin(place: Place, plan: Plan, folder: Path) -> Parts:
    """Start a plan of `make_plan`: from then on, `resume` finds it."""
    clear(place)
    filesystem.put(place, CHUNKS, folder / CHUNKS)
    filesystem.write(place, PLAN, files.canonical_json(plan.model_dump()).encode())
    return Parts(place, plan)


def clear(place: Place) -> None:
    """Remove what lies there, a plan first: parts without one belong to no run."""
    filesystem.discard(place, PLAN)


def resume(place: Place, run: Run) -> Parts | None:
    """The parts of a run that was ended before its time.

    Raises
    ------
    InputError
        If those that are there are of another run.
    """
    content = filesystem.read(place, PLAN)
    if content is None:
        return None
    plan = Plan.parse(json.loads(content), place.path(PLAN))
    found, asked = plan.run.model_dump(), run.model_dump()
    if others := [
        f"{key} {found[key]}, not {asked[key]}" for key in asked if found[key] != asked[key]
    ]:
        raise InputError(
            f"{place.url} has the parts of another run ({'; '.join(others)}). Complete that "
            f"one, or remove them, or name another output"
        )
    return Parts(place, plan)


def _name(number: int) -> str:
    return f"{number:08}.arrow"
