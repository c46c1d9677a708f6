"""The commands that the pages run: one at a time, the others wait.

Each has a folder .ui/jobs/ID: job.json says what was run, when and how it ended, output.log has its
output, and progress.json the curve of its latest training. So a page shows the same after a reload,
and after the server has ended.
"""

import json
import re
import shlex
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

from digits.core import files
from ops.ui.project import FOLDER, Project

JOBS = FOLDER / "jobs"
CHANGED = FOLDER / "changed"  # is written when a job's state changes, so the pages are current
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
KEPT = 100  # jobs
GRACE_S = 10  # for a command to end after Ctrl-C

State = Literal["waiting", "running", "stopping", "done", "failed", "stopped", "interrupted"]


@dataclass(frozen=True)
class Job:
    """A command that was asked for. Times are seconds since 1970.

    words : the command as a person types it: dvc or digits, then its arguments
    query : opens its form again, as it was filled in
    stopped : somebody asked it to stop
    code : the exit code; None as long as it runs, and if the server ended before it did
    """

    id: str
    title: str
    words: tuple[str, ...]
    query: str
    asked: float
    started: float | None = None
    ended: float | None = None
    stopped: bool = False
    code: int | None = None

    @property
    def state(self) -> State:
        if self.ended is None:
            return "waiting" if self.started is None else "stopping" if self.stopped else "running"
        if self.code is None:
            return "interrupted"
        return "done" if self.code == 0 else "stopped" if self.stopped else "failed"

    @property
    def command(self) -> str:
        return shlex.join(self.words)

    @property
    def action(self) -> str:
        return dict(parse_qsl(self.query))["action"]

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has been running; None if it never started."""
        return None if self.started is None else (self.ended or time.time()) - self.started

    @property
    def page(self) -> str:
        return f"jobs/{self.id}.html"

    @property
    def folder(self) -> Path:
        return JOBS / self.id

    @property
    def log(self) -> Path:
        return self.folder / "output.log"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.json"

    def read_progress(self) -> bytes:
        """The curve of its latest training, as JSON; empty if there is none yet."""
        return self.progress.read_bytes() if self.progress.is_file() else b""


def recent(project: Project, count: int = 10) -> list[Job]:
    """The latest commands that the pages ran, the newest first; none if there is no server."""
    return every()[:count] if project.is_live else []


def every() -> list[Job]:
    """All jobs, the newest first."""
    found = [read(path.parent.name) for path in JOBS.glob("*/job.json")]
    return sorted(filter(None, found), key=lambda job: (job.asked, job.id), reverse=True)


def read(id: str) -> Job | None:
    """A job, or None if there is no such job, or only one that another version saved."""
    if not ID.fullmatch(id):
        return None
    try:
        values: dict[str, Any] = json.loads((JOBS / id / "job.json").read_bytes())
        return Job(id=id, **values | {"words": tuple(values["words"])})
    except (FileNotFoundError, KeyError, TypeError):  # the last two: it has other keys
        return None


def save(job: Job) -> Job:
    values = asdict(job)
    del values["id"]
    files.write(job.folder / "job.json", files.canonical_json(values))
    tell_pages()
    return job


def tell_pages() -> None:
    """Have the pages that are open show what has changed."""
    files.write(CHANGED, f"{time.time_ns()}\n")


def remove(job: Job) -> None:
    shutil.rmtree(job.folder)
    tell_pages()
