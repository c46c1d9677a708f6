"""The trials of a sweep, whatever engine runs them.

.sweep/ has what belongs to a trial until it is an experiment: its log, NAME.log, and the state of a
training that was stopped, NAME.resume.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from digits.core.command_line import say
from digits.core.errors import InputError
from ops.tools import any_path, git, lock, processes
from ops.tools.dvc import set_params
from ops.tools.tables import about

FOLDER = Path(".sweep")
RESUME = ".resume"  # in the project's folder: the state of its training
IDENTITY = ("user.name", "user.email")
GRACE_S = 10  # for a run to end after Ctrl-C


@dataclass(frozen=True, eq=False)
class Trial:
    """An experiment to run: its name, and the parameters that it changes, by dotted key."""

    name: str
    changes: Mapping[str, Any]

    @property
    def clone(self) -> Path:
        """The clone in which `on_local` runs it."""
        return FOLDER / self.name

    @property
    def log(self) -> Path:
        return FOLDER / f"{self.name}.log"

    @property
    def saved_state(self) -> Path:
        """The state of its training while no clone has it."""
        return FOLDER / f"{self.name}{RESUME}"


@dataclass(frozen=True)
class Started:
    """A trial runs; `node` names the machine, empty if it is this one."""

    trial: Trial
    node: str = ""


@dataclass(frozen=True)
class Ended:
    """A trial is an experiment now, or it failed; `problem` says why if its log can't."""

    trial: Trial
    is_complete: bool
    problem: str = ""


class Engine(Protocol):
    """Runs trials, several at a time."""

    def start(self, trial: Trial) -> None:
        """Run a trial as soon as there is room for it."""

    def events(self) -> Iterable[Started | Ended]:
        """What happened since the last call; if nothing did, wait a moment."""

    def stop(self) -> None:
        """End what still runs; what a training needs to continue stays."""


def identity() -> dict[str, str]:
    """The user's settings of Git with which DVC commits an experiment."""
    return {key: git.setting(key) or "" for key in IDENTITY}


def configure(
    project: Path, identity: Mapping[str, str], settings: Mapping[str, Any], cache: str
) -> None:
    """Give a clone the user's `identity`, DVC's settings that are not in Git, and DVC's cache."""
    from dvc.config import Config

    for key, value in identity.items():
        git.run("config", key, value, folder=project)
    any_path.allow()
    with Config(str(project / ".dvc")).edit("local") as local:
        local.update(settings)
        local["cache"] = {**settings.get("cache", {}), "dir": cache}


def only_sweep() -> AbstractContextManager[None]:
    """Lock .sweep/; raises `InputError` if another sweep has locked it."""
    path = FOLDER / "lock"
    message = f"another sweep is running in this repository. Which process: fuser {path}"
    return lock.held(path, message)


def run_all(trials: Sequence[Trial], engine: Engine, jobs: int) -> list[Trial]:
    """Run each trial, `jobs` at a time. Returns those that failed."""
    waiting, running, failed = list(trials), set[Trial](), list[Trial]()
    nodes: dict[Trial, str] = {}
    started = time.monotonic()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.pop(0)
                engine.start(trial)
                running.add(trial)
            for event in engine.events():
                trial = event.trial
                if isinstance(event, Started):
                    say_started(event, nodes, len(trials))
                    nodes[trial] = event.node
                    continue
                running.remove(trial)
                if event.is_complete:
                    shutil.rmtree(trial.saved_state, ignore_errors=True)
                else:
                    failed.append(trial)
                    say_failed(event, nodes.get(trial, ""))
                left = len(waiting) + len(running)
                done = len(trials) - left
                seconds = (time.monotonic() - started) / done * left
                ahead = f", {left} left: {about(seconds)}" if left else ""
                say(f"{done} of {len(trials)} done{ahead}")
    finally:
        engine.stop()
    return failed


def say_started(event: Started, nodes: Mapping[Trial, str], total: int) -> None:
    """Say where a trial runs; `nodes` has where those ran that started before."""
    name = event.trial.name
    if event.trial in nodes:
        say(f"{name} starts again on {event.node}: its run on {nodes[event.trial]} was lost")
    else:
        where = f", on {event.node}" if event.node else ""
        say(f"run {len(nodes) + 1} of {total}: {name}{where}")


def say_failed(event: Ended, node: str) -> None:
    where = f" on {node}" if node else ""
    problem = f": {event.problem}" if event.problem else ""
    say(f"FAILED: {event.trial.name}{where}{problem}; its log: {event.trial.log}")


def start_dvc(
    trial: Trial, options: Sequence[str], project: Path, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `dvc exp run` in a clone; it ends when this process ends."""
    words = ["dvc", "exp", "run", "--name", trial.name, *options, *set_params(trial.changes)]
    with log.open("wb") as output:
        return processes.start_owned(words, output, environment, project)


def stop_dvc(processes: Iterable[subprocess.Popen[bytes]]) -> None:
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


def fetch_experiment(trial: Trial, commit: str, source: Path) -> bool:
    """Fetch a trial's experiment from a clone or a bundle; False if there is none."""
    ref = git.experiment_reference(trial.name, commit)
    words = ("--quiet", "--no-tags", "--no-write-fetch-head")
    try:  # from the repository's root, so the path is absolute
        git.run("fetch", *words, source.resolve(), f"{ref}:{ref}")
    except InputError as error:
        with trial.log.open("a", encoding="utf-8") as log:
            log.write(f"{error}\n")
        return False
    return True
