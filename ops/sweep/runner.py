"""Experiments of a commit, each made by `dvc exp run` in a clone of its own.

`dvc exp run --temp` would do, but for three things. It stashes the working tree for a moment, in
which a kill leaves it torn; two at a time may take each other's stash; and its folder goes with
it, so that a training that was killed begins anew. The clones lie in .sweep/, by experiment, and
share this clone's cache; .sweep/NAME.log is what `dvc` said.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.core import files
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.core.workers import WORKERS_VARIABLE, count_workers
from ops.tools import compute, git
from ops.tools.dvc import set_params

WORK = Path(".sweep")
RESUME = ".resume"
IDENTITY = ("user.name", "user.email")
POLL_S = 0.1
PATIENCE_S = 10  # for a run that was asked to end


@dataclass(frozen=True, eq=False)
class Trial:
    """An experiment to be: its name, and the parameters that it changes, by dotted key."""

    name: str
    changes: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return WORK / self.name

    @property
    def log(self) -> Path:
        return WORK / f"{self.name}.log"


@contextmanager
def alone() -> Iterator[None]:
    """Keep others out of .sweep/; raises `InputError` if somebody is there."""
    WORK.mkdir(exist_ok=True)
    with open(WORK / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"a sweep is under way here. Which: fuser {WORK / 'lock'}") from None
        yield


def recover(trials: Iterable[Trial], commit: str) -> None:
    """Bring here what was finished, but not brought before a kill."""
    for trial in trials:
        if trial.folder.is_dir():
            collect(trial, commit)


def run_all(trials: Sequence[Trial], commit: str, at_once: int) -> list[Trial]:
    """Make each an experiment of a commit; tells its progress. Returns those that failed."""
    environment = os.environ | compute.elsewhere()
    stated = compute.load_params("params.yaml")
    if at_once > 1 and stated.backend == "local":
        environment[WORKERS_VARIABLE] = str(share_of_workers(stated, at_once))
    identity = {key: git.setting(key) for key in IDENTITY}
    waiting, live, failed = list(trials), dict[Trial, subprocess.Popen[bytes]](), list[Trial]()
    started = time.monotonic()
    try:
        while waiting or live:
            while waiting and len(live) < at_once:
                trial = waiting.pop(0)
                say(f"run {len(trials) - len(waiting)} of {len(trials)}: {trial.name}")
                prepare(trial, commit, identity)
                live[trial] = start(trial, environment)
            time.sleep(POLL_S)
            for trial in [trial for trial, process in live.items() if process.poll() is not None]:
                if live.pop(trial).returncode or not collect(trial, commit):
                    failed.append(trial)
                    say(f"FAILED: {trial.name}; its log: {trial.log}")
                left = len(waiting) + len(live)
                done = len(trials) - left
                spent = time.monotonic() - started
                say(f"{done} of {len(trials)} done, {left} left: {duration(spent / done * left)}")
    finally:
        stop(live.values())
    return failed


def share_of_workers(stated: compute.ComputeParams, at_once: int) -> int:
    """Threads of a process, when several trials share what `compute` has for one."""
    if stated.workers == "auto":
        return max(1, count_workers() // (stated.processes * at_once))
    return max(1, stated.workers // at_once)


def prepare(trial: Trial, commit: str, identity: Mapping[str, str | None]) -> None:
    """A clone at the commit; what a training that was killed has left goes over into it.

    A kill of this leaves it beside the clone, or in it.
    """
    resume, aside = trial.folder / RESUME, WORK / f"{trial.name}{RESUME}"
    if resume.exists():
        shutil.rmtree(aside, ignore_errors=True)
        resume.rename(aside)
    with files.new_directory(trial.folder) as folder:
        git.clone(commit, folder)
        for key, value in identity.items():
            git.run("config", key, value or "", folder=folder)
        configure(folder)
    if aside.exists():
        aside.rename(resume)


def configure(folder: Path) -> None:
    """Give a clone this one's cache, and the settings that are not in Git."""
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo() as repo, Config(str(folder / ".dvc")).edit("local") as local:
        local.update(repo.config.read("local"))
        local["cache"] = {**local.get("cache", {}), "dir": repo.cache.local_cache_dir}


def start(trial: Trial, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """`dvc exp run` in the trial's folder; it ends when this process does: see leash.py."""
    words = ["exp", "run", "--name", trial.name, *set_params(trial.changes)]
    with open(trial.log, "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ops.sweep.leash", *words],
            cwd=trial.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def collect(trial: Trial, commit: str) -> bool:
    """Bring the experiment here and remove the clone; whether there was one."""
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{trial.name}"
    try:
        git.run(
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", trial.folder, f"{ref}:{ref}"
        )
    except InputError as error:
        with open(trial.log, "a", encoding="utf-8") as log:
            log.write(f"{error}\n")
        return False
    shutil.rmtree(trial.folder)
    return True


def stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ask each to end as Ctrl-C does, and end those that don't."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE_S
    for process in processes:
        try:
            process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"about {hours} h {minutes} min"
    return f"about {minutes} min" if minutes else f"about {round(seconds)} s"
