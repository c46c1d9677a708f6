"""Run the experiments of a sweep, each by `dvc exp run` in its own clone of the repository.

`dvc exp run --temp` is not enough, for three reasons. It stashes the working tree for a moment, and
a kill in that moment leaves the changes in the stash. Two runs at a time may take each other's
stash. And it deletes its folder, so that a training that was killed starts again from the first
epoch. The clones are .sweep/NAME, and share this repository's cache; .sweep/NAME.log has the output
of `dvc`.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from digits.core import files
from digits.core.command_line import say
from digits.core.errors import InputError
from digits.core.workers import WORKERS_VARIABLE, count_workers
from ops.tools import compute, git, lock
from ops.tools.dvc import set_params
from ops.tools.tables import about

CLONES = Path(".sweep")
RESUME = ".resume"
IDENTITY = ("user.name", "user.email")
POLL_S = 0.1
GRACE_S = 10  # for a run to end after Ctrl-C


@dataclass(frozen=True, eq=False)
class Trial:
    """An experiment to run: its name, and the parameters that it changes, by dotted key."""

    name: str
    changes: Mapping[str, Any]

    @property
    def clone(self) -> Path:
        return CLONES / self.name

    @property
    def project(self) -> Path:
        """The project's folder in the clone."""
        return self.clone / git.project_in_repository()

    @property
    def log(self) -> Path:
        return CLONES / f"{self.name}.log"


def only_sweep() -> AbstractContextManager[None]:
    """Lock .sweep/; raises `InputError` if another sweep has locked it."""
    path = CLONES / "lock"
    message = f"another sweep is running in this repository. Which process: fuser {path}"
    return lock.held(path, message)


def collect_finished(trials: Iterable[Trial], commit: str) -> None:
    """Collect experiments that an earlier sweep completed, but was killed before it collected."""
    for trial in trials:
        if trial.clone.is_dir():
            collect(trial, commit)


def run_all(trials: Sequence[Trial], commit: str, jobs: int) -> list[Trial]:
    """Run each trial on a commit, `jobs` at a time. Returns those that failed."""
    environment = git.clean_environment() | compute.environment_for_clones()
    params = compute.load_params("params.yaml")
    if jobs > 1 and params.backend == "local":
        environment[WORKERS_VARIABLE] = str(share_of_workers(params, jobs))
    identity = {key: git.setting(key) for key in IDENTITY}
    waiting, running, failed = list(trials), dict[Trial, subprocess.Popen[bytes]](), list[Trial]()
    started = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.pop(0)
                say(f"run {len(trials) - len(waiting)} of {len(trials)}: {trial.name}")
                prepare(trial, commit, identity)
                running[trial] = start(trial, environment)
            time.sleep(POLL_S)
            ended = [trial for trial, process in running.items() if process.poll() is not None]
            for trial in ended:
                if running.pop(trial).returncode or not collect(trial, commit):
                    failed.append(trial)
                    say(f"FAILED: {trial.name}; its log: {trial.log}")
                left = len(waiting) + len(running)
                done = len(trials) - left
                elapsed = time.monotonic() - started
                say(f"{done} of {len(trials)} done, {left} left: {about(elapsed / done * left)}")
    finally:
        stop(running.values())
    return failed


def share_of_workers(params: compute.ComputeParams, jobs: int) -> int:
    """Threads for each process when `jobs` trials share what `compute` states for one."""
    if params.workers == "auto":
        return max(1, count_workers() // (params.processes * jobs))
    return max(1, params.workers // jobs)


def prepare(trial: Trial, commit: str, identity: Mapping[str, str | None]) -> None:
    """Clone the repository at the commit, and keep the resume state of an earlier clone.

    The state is moved out of the old clone, then into the new one. A kill in between leaves it
    next to the clone, where the next call finds it.
    """
    resume, saved = trial.project / RESUME, CLONES / f"{trial.name}{RESUME}"
    if resume.exists():
        shutil.rmtree(saved, ignore_errors=True)
        resume.rename(saved)
    with files.new_directory(trial.clone) as folder:
        project = git.clone(commit, folder)
        for key, value in identity.items():
            git.run("config", key, value or "", folder=folder)
        configure(project)
    if saved.exists():
        saved.rename(resume)


def configure(project: Path) -> None:
    """Have a clone use this repository's cache, and the DVC settings that are not in Git."""
    from dvc.config import Config
    from dvc.repo import Repo

    with Repo() as repo, Config(str(project / ".dvc")).edit("local") as local:
        local.update(repo.config.read("local"))
        local["cache"] = {**local.get("cache", {}), "dir": repo.cache.local_cache_dir}


def start(trial: Trial, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start `dvc exp run` in the trial's clone; it ends when this process ends."""
    owned = [sys.executable, "-m", "ops.tools.processes", str(os.getpid())]
    with open(trial.log, "wb") as log:
        return subprocess.Popen(
            [*owned, "dvc", "exp", "run", "--name", trial.name, *set_params(trial.changes)],
            cwd=trial.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def collect(trial: Trial, commit: str) -> bool:
    """Fetch the experiment from the clone and delete the clone; False if there is none."""
    ref = f"refs/exps/{commit[:2]}/{commit[2:]}/{trial.name}"
    source = trial.clone.resolve()  # git fetch takes a path from the repository's root
    try:
        git.run("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", source, f"{ref}:{ref}")
    except InputError as error:
        with open(trial.log, "a", encoding="utf-8") as log:
            log.write(f"{error}\n")
        return False
    shutil.rmtree(trial.clone)
    return True


def stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Interrupt each process as Ctrl-C does, and kill those that do not end within `GRACE_S`."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    deadline = time.monotonic() + GRACE_S
    for process in processes:
        try:
            process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
