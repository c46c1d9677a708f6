"""Run the jobs of the pages as children of the server, one at a time, and stop them."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from digits.core.command_line import STARTED_IN
from digits.training.progress import PROGRESS
from ops.tools import lock, processes
from ops.ui.facts import jobs
from ops.ui.facts.jobs import Job
from ops.ui.project import FOLDER

RETRY_S = 1  # until the end of a job is saved again, when the disk is full
LOCK = FOLDER / "lock"
TAKEN = (
    f"another `digits ui` runs commands in this repository: use its address, or stop it. Which "
    f"process: fuser {LOCK}. To only look: digits ui --read-only --port 0"
)


class Runner:
    """Runs the first of the waiting jobs, then the next one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Job] = []
        self._running: tuple[Job, subprocess.Popen[bytes]] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._work)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Run jobs until the block ends; then stop the running one as Ctrl-C does.

        Raises
        ------
        InputError
            If another server runs the jobs of this repository.
        """
        with lock.held(LOCK, TAKEN):
            interrupt_lost()
            forget_old()
            self._thread.start()
            try:
                yield
            finally:
                self._close()

    def add(self, title: str, words: Sequence[str], query: str) -> Job:
        """Have a command run as soon as those before it have ended; see `Job`."""
        now = time.time()
        id = f"{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{secrets.token_hex(2)}"
        with self._changed:
            job = jobs.save(Job(id, title, tuple(words), query, asked=now))
            self._waiting.append(job)
            self._changed.notify()
        return job

    def stop(self, id: str) -> None:
        """Take a waiting job from the queue, or send a running one Ctrl-C; asked again, kill it."""
        with self._changed:
            for job in self._waiting:
                if job.id == id:
                    self._waiting.remove(job)
                    jobs.remove(job)
                    return
            if self._running and self._running[0].id == id:
                job, process = self._running
                send(process, signal.SIGKILL if job.stopped else signal.SIGINT)
                self._running = jobs.save(replace(job, stopped=True)), process

    def _close(self) -> None:
        with self._changed:
            self._closing = True
            running = self._running
            self._changed.notify()
        try:
            if running and not running[0].stopped:
                self.stop(running[0].id)
            self._thread.join(jobs.GRACE_S)
        finally:  # also at a second Ctrl-C
            if running and self._thread.is_alive():
                send(running[1], signal.SIGKILL)
            self._thread.join()
            interrupt_lost()  # those that waited

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    return
                job = replace(self._waiting.pop(0), started=time.time())
                try:
                    jobs.save(job)
                    process = start(job)
                except OSError as error:  # no memory, too many processes, a full disk
                    with suppress(OSError):
                        job.log.write_text(f"it could not be started: {error}\n", encoding="utf-8")
                    self._end(job, 127)
                    continue
                self._running = job, process
            code = process.wait()
            with self._changed:
                job, _ = self._running
                self._running = None
                self._end(job, code)

    def _end(self, job: Job, code: int) -> None:
        """Save that a job has ended; if the disk is full, as soon as there is room."""
        ended = replace(job, ended=time.time(), code=code)
        while True:
            try:
                jobs.save(ended)
                return
            except OSError:
                if self._closing:
                    return
                self._changed.wait(RETRY_S)


def interrupt_lost() -> None:
    """Record that the jobs of a server that has ended have ended too."""
    for job in jobs.every():
        if job.ended is None:
            jobs.save(replace(job, ended=time.time()))


def forget_old() -> None:
    for job in jobs.every()[jobs.KEPT :]:
        jobs.remove(job)


def start(job: Job) -> subprocess.Popen[bytes]:
    """Start a job in a session of its own; it is killed if this process ends before it."""
    program, *arguments = job.words
    if program == "digits":
        program, *arguments = f"ops.{arguments[0]}", *arguments[1:]
    if program == "dvc":
        program = "ops.tools.any_path"
    variables = {
        PROGRESS: str(job.progress.resolve()),
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",  # for the stages
        "PYTHONUNBUFFERED": "1",
    }
    environment = os.environ | variables
    environment.pop(STARTED_IN, None)  # a job's paths are of the root
    with open(job.log, "wb") as log:
        return processes.start_owned([program, *arguments], log, environment)


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a child and all that it started, as a terminal does."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
