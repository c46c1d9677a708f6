"""A batch that is running: its plan, and the parts that are done. A later run can resume it.

    OUTPUT.parts/chunks.jsonl    one part per line: the files to read, as they were listed
    OUTPUT.parts/plan.json       the request, and the digest of that list; written last
    OUTPUT.parts/00000000.arrow  the rows of the first part; the other parts follow

A part's name depends on its number alone, and a part file is whole or absent. So OUTPUT has no row
twice, whoever computes a part and however often.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pydantic import ValidationError

from digits.core import files
from digits.core.errors import InputError, first
from digits.core.params import Params
from digits.storage import filesystem
from digits.storage.location import Storage
from ops.predict import batch
from ops.tools import inputs
from ops.tools.inputs import Chunk

CHUNKS, PLAN = "chunks.jsonl", "plan.json"

P = TypeVar("P", bound=Params)


class Request(Params):
    """The user's request. Only the same request resumes a job."""

    input: str  # as the user named it: the rows' paths begin with it
    source: str  # its URL or absolute path, so that the current folder does not matter
    written: str | None  # only files of this day
    model: str  # id
    threshold: float


class Plan(Params):
    """A request, and the number of its parts and rows."""

    run: Request
    parts: int
    rows: int
    sha256: str  # of the list of chunks
    taken: tuple[str, ...] = ()  # how the values of files of many images are read, in words


@dataclass(frozen=True)
class Job:
    """A plan, and the folder or the bucket's prefix with the parts that are done."""

    storage: Storage
    plan: Plan

    @classmethod
    def start(cls, storage: Storage, plan: Plan, folder: Path) -> "Job":
        """Store a plan from `make_plan`; from then on, `resume` finds it."""
        delete_parts(storage)
        filesystem.put(storage, CHUNKS, folder / CHUNKS)
        filesystem.write(storage, PLAN, files.canonical_json(plan.model_dump()).encode())
        return cls(storage, plan)

    @classmethod
    def resume(cls, storage: Storage, request: Request) -> "Job | None":
        """The job that an earlier run of the same request has started, if there is one.

        Raises `InputError` if the parts belong to another request.
        """
        plan = read_record(Plan, storage, PLAN)
        if plan is None:
            return None
        before, now = plan.run.model_dump(), request.model_dump()
        if before != now:
            differences = (f"{k} {before[k]}, not {now[k]}" for k in now if before[k] != now[k])
            raise InputError(
                f"{storage.url} has the parts of another run ({'; '.join(differences)}). Complete "
                f"that run, remove its parts, or name another output"
            )
        return cls(storage, plan)

    def pending(self) -> Iterator[tuple[int, Chunk]]:
        """Number and chunk of each part that is not done."""
        done = filesystem.entries(self.storage)
        with filesystem.opened(self.storage, CHUNKS) as lines:
            for number, line in enumerate(lines):
                if _part_name(number) not in done:
                    yield number, Chunk.from_json(line)

    def save(self, number: int, content: bytes) -> None:
        """Store a part, as `batch.to_bytes` returns it."""
        filesystem.write(self.storage, _part_name(number), content)

    def tables(self) -> Iterator[pa.Table]:
        """The rows of each part, in order; every part must be done."""
        for number in range(self.plan.parts):
            content = filesystem.read(self.storage, _part_name(number))
            if content is None:
                raise InputError(
                    f"{self.storage.path(_part_name(number))} is gone. Run the same command again"
                )
            yield batch.from_bytes(content)


def make_plan(request: Request, chunks: Iterable[Chunk], folder: Path) -> Plan:
    """Plan a request; writes the list of chunks into a local folder."""
    parts, rows, digest = 0, 0, hashlib.sha256()
    taken: dict[str, list[str]] = {}
    with open(folder / CHUNKS, "w", encoding="utf-8") as lines:
        for chunk in chunks:
            line = f"{chunk.to_json()}\n"
            lines.write(line)
            digest.update(line.encode())
            parts, rows = parts + 1, rows + len(chunk)
            if chunk.taken and chunk.start == 0:
                taken.setdefault(chunk.taken, []).append("/".join((*chunk.files, chunk.key)))
    return Plan(
        run=request,
        parts=parts,
        rows=rows,
        sha256=digest.hexdigest(),
        taken=tuple(f"{_listed(names)}: {words}" for words, names in taken.items()),
    )


def read_record(kind: type[P], storage: Storage, name: str) -> P | None:
    """A JSON file of an earlier run, as its type; None if there is none.

    Raises `InputError` if the file is damaged.
    """
    content = filesystem.read(storage, name)
    try:
        return None if content is None else kind.model_validate_json(content)
    except ValidationError as error:
        path, problem = storage.path(name), error.errors()[0]["msg"]
        raise InputError(
            f"{path} is damaged, or of another version of this command: {problem}. Remove it, then "
            f"run the same command again"
        ) from None


def delete_parts(storage: Storage) -> None:
    """Delete a job's files. The plan goes first: parts without a plan are never used."""
    filesystem.discard(storage, PLAN)


def _listed(names: list[str]) -> str:
    return first([inputs.readable(name.rstrip("/")) for name in names], 1)


def _part_name(number: int) -> str:
    return f"{number:08}.arrow"
