"""Server-sent events: the repository has changed, or a job has made progress."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from digits.core.errors import UserError
from ops.ui import project
from ops.ui.facts import jobs
from ops.ui.live import terminal

MOMENT_S = 1.0  # between two looks at the repository
FOLLOW_S = 0.25  # between two looks at a job
QUIET_S = 15.0  # then a comment keeps the connection alive

Stopping = Callable[[], bool]


class Watcher:
    """The project's moment, read at most once a second, and only when somebody asks."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._read_at = -MOMENT_S
        self._moment = ""

    async def moment(self) -> str:
        async with self._lock:
            if time.monotonic() - self._read_at >= MOMENT_S:
                self._moment = await run_in_threadpool(_moment)
                self._read_at = time.monotonic()
            return self._moment


def _moment() -> str:
    try:
        return project.read(is_live=True).moment
    except UserError as error:
        return hashlib.sha256(str(error).encode()).hexdigest()  # the pages show it


async def changes(watcher: Watcher, known: str, stopping: Stopping) -> AsyncIterator[str]:
    """Yield `changed` whenever the repository has changed since the moment that a page knows."""
    quiet = 0.0
    while not stopping():
        moment = await watcher.moment()
        if moment != known:
            known = moment
            yield event("changed", moment, id=moment)
        elif quiet >= QUIET_S:
            quiet = 0.0
            yield ": nothing new\n\n"
        await asyncio.sleep(MOMENT_S)
        quiet += MOMENT_S


async def follow(id: str, start: int, stopping: Stopping) -> AsyncIterator[str]:
    """Yield what a job does, until it has ended.

    output : its lines from the byte `start`, and the line that may still change
    curve : of its latest training, as progress.json has it
    job : its state
    """
    state, pending, curve = None, "", b""
    while not stopping():
        job = jobs.read(id)
        if job is None:  # it was taken from the queue
            yield event("job", "removed")
            return
        while (output := terminal.read(job.log, start)).lines or output.pending != pending:
            start, pending = output.end, output.pending
            yield event("output", {"lines": output.lines, "pending": pending}, id=str(start))
        if (latest := job.read_progress()) != curve and latest:
            curve = latest
            yield event("curve", json.loads(curve))
        if job.state != state:
            state = job.state
            yield event("job", state)
        if job.ended:
            return
        await asyncio.sleep(FOLLOW_S)


def event(name: str, data: Any, id: str = "") -> str:
    """An event in the format of the HTML standard; the data are JSON, so in one line."""
    first = f"id: {id}\n" if id else ""
    return f"{first}event: {name}\ndata: {json.dumps(data)}\n\n"
