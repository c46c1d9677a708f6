"""Run the trials of a sweep on this machine, each by `dvc exp run` in its own clone.

`dvc exp run --temp` is not enough, for three reasons. It stashes the working tree for a moment, and
a kill in that moment leaves the changes in the stash. Two runs at a time may take each other's
stash. And it deletes its folder, so that a training that was killed starts again from the first
epoch. The clones are .sweep/NAME, and share this repository's cache.
"""

import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from digits.core import files
from digits.core.workers import WORKERS_VARIABLE
from ops.sweep import trials
from ops.sweep.trials import RESUME, Ended, Started, Trial
from ops.tools import compute, dvc, git

POLL_S = 0.1


class Local:
    """An engine: a process for each trial."""

    def __init__(self, commit: str, jobs: int) -> None:
        self._commit = commit
        self._identity = trials.identity()
        self._new: list[Trial] = []
        self._running: dict[Trial, subprocess.Popen[bytes]] = {}
        self._environment = git.clean_environment() | compute.environment_for_clones()
        params = compute.load_params()
        if jobs > 1 and params.backend == "local":
            self._environment[WORKERS_VARIABLE] = str(params.threads(jobs))

    def start(self, trial: Trial) -> None:
        project = prepare(trial, self._commit, self._identity)
        self._running[trial] = trials.start_dvc(trial, [], project, trial.log, self._environment)
        self._new.append(trial)

    def events(self) -> Iterator[Started | Ended]:
        yield from map(Started, self._new)
        self._new.clear()
        time.sleep(POLL_S)
        for trial, process in list(self._running.items()):
            if process.poll() is not None:
                del self._running[trial]
                yield Ended(trial, process.returncode == 0 and collect(trial, self._commit))

    def stop(self) -> None:
        trials.stop_dvc(self._running.values())


def prepare(trial: Trial, commit: str, identity: Mapping[str, str]) -> Path:
    """Clone the repository at the commit, with the state that the trial's training left.

    Returns the project's folder in the clone.
    """
    from dvc.repo import Repo

    save_state(trial)
    with files.new_directory(trial.clone) as folder, dvc.usable(Repo) as repo:
        settings, cache = repo.config.read("local"), repo.cache.local_cache_dir
        trials.configure(git.clone(commit, folder), identity, settings, cache)
    project = trial.clone / git.project_in_repository()
    if trial.saved_state.exists():
        trial.saved_state.rename(project / RESUME)
    return project


def save_state(trial: Trial) -> None:
    """Delete a clone that an earlier sweep left, but keep the training's state.

    If this process is killed, the state is in one of the two places that the next call looks at.
    """
    state = trial.clone / git.project_in_repository() / RESUME
    if state.exists():
        shutil.rmtree(trial.saved_state, ignore_errors=True)
        state.rename(trial.saved_state)
    shutil.rmtree(trial.clone, ignore_errors=True)


def collect_finished(planned: Iterable[Trial], commit: str) -> None:
    """Collect the experiments of an earlier sweep that was killed before it collected them."""
    for trial in planned:
        if trial.clone.is_dir():
            collect(trial, commit)


def collect(trial: Trial, commit: str) -> bool:
    """Fetch the experiment from the clone and delete the clone; False if there is none."""
    if not trials.fetch_experiment(trial, commit, trial.clone):
        return False
    shutil.rmtree(trial.clone)
    return True
