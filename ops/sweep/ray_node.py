"""What a node of a Ray cluster does for a trial. It shares no file with the machine of the sweep.

The commit arrives as a Git bundle, and the data as a tar of objects of DVC's cache or through the
DVC remote. The experiment leaves as a bundle, its outputs in the same two ways.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from digits.core.errors import InputError
from digits.core.workers import WORKERS_VARIABLE
from ops.sweep import trials
from ops.sweep.trials import RESUME, Trial
from ops.tools import dvc, git, lock
from ops.tools.dvc_files import OBJECT_PATH, RUN_PATH

POLL_S = 0.5
PREFIX, LOCK = "digits-trial-", "lock"  # of a trial's folder on its node
NEW_S = 60  # the age from which a folder without a held lock counts as abandoned
CACHE = Path(".dvc/cache")
STATE = Path(RESUME) / "state.safetensors"
# Ray sets these for its workers; a trial has the environment that its node gives to everybody.
OF_RAY = ("PYTHONPATH", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What all trials of a sweep have in common.

    project : the project's folder in the repository
    identity : who commits the experiments, as Git's configuration
    settings : DVC's settings that are not in Git
    has_remote : whether data and outputs travel through the DVC remote
    """

    commit: str
    project: Path
    identity: Mapping[str, str]
    settings: Mapping[str, Any]
    has_remote: bool


@dataclass(frozen=True)
class Made:
    """A trial that ended well: its experiment as a Git bundle, and its outputs as a tar."""

    experiment: bytes
    outputs: bytes


@dataclass(frozen=True)
class News:
    """What happened: the trials that started and where, what each printed, and states, by trial."""

    started: Sequence[tuple[str, str]]
    printed: Mapping[str, bytes]
    states: Mapping[str, bytes]


class Messages:
    """A Ray actor that keeps what the trials printed, and the latest state of each training.

    A trial whose node is lost is started again elsewhere, and finds its state here.
    """

    def __init__(self) -> None:
        self._started: list[tuple[str, str]] = []
        self._printed: dict[str, bytes] = defaultdict(bytes)
        self._states: dict[str, bytes] = {}
        self._new: set[str] = set()

    def start(self, name: str, node: str) -> None:
        self._started.append((name, node))

    def tell(self, name: str, printed: bytes, state: bytes | None) -> None:
        self._printed[name] += printed
        if state is not None:
            self._states[name] = state
            self._new.add(name)

    def state(self, name: str) -> bytes | None:
        return self._states.get(name)

    def take(self) -> News:
        """What is new since the last call."""
        states = {name: self._states[name] for name in self._new}
        news = News(self._started, dict(self._printed), states)
        self._started, self._printed, self._new = [], defaultdict(bytes), set()
        return news

    def forget(self, name: str) -> None:
        """A trial has ended."""
        self._states.pop(name, None)


def run(
    trial: Trial, workers: int, job: Job, bundle: bytes, data: bytes, messages: Any
) -> Made | None:
    """Run a trial; None if its `dvc exp run` failed.

    Parameters
    ----------
    workers : threads for each process
    bundle, data : the commit, and what of its data does not travel through the DVC remote
    messages : the actor `Messages`
    """
    import ray

    ray.get(messages.start.remote(trial.name, here()))
    remove_abandoned()
    with TemporaryDirectory(prefix=PREFIX) as folder, lock.held(Path(folder) / LOCK, ""):
        project = check_out(Path(folder), job, bundle)
        cache = project / CACHE
        known = unpack(data, cache)
        log = Path(folder) / "log"
        if run_dvc(trial, workers, job, project, log, messages):
            return None
        return Made(bundle_of(trial, job, project), pack(cache, objects(cache) - known))


def here() -> str:
    """This node and the GPUs that Ray gave to this task, for a person."""
    import ray

    context = ray.get_runtime_context()
    gpus = context.get_accelerator_ids()["GPU"]
    words = [f"node {context.get_node_id()[:8]}", *(f"GPU {gpu}" for gpu in gpus)]
    return f"{socket.gethostname()} ({', '.join(words)})"


def remove_abandoned() -> None:
    """Remove what killed trials left on this node: the folders whose lock no process holds.

    A new folder stays, since its trial may be about to lock it.
    """
    for folder in Path(gettempdir()).glob(f"{PREFIX}*"):
        with suppress(InputError, OSError):
            if time.time() - folder.stat().st_mtime > NEW_S:
                with lock.held(folder / LOCK, ""):
                    shutil.rmtree(folder)


def check_out(folder: Path, job: Job, bundle: bytes) -> Path:
    """Clone the commit; returns the project's folder in the clone."""
    file, clone = folder / "commit.bundle", folder / "clone"
    file.write_bytes(bundle)
    git.run("init", "--quiet", clone, environment=git.clean_environment())
    git.omit_history(clone, job.commit)
    git.run("fetch", "--quiet", file, "HEAD", folder=clone)
    git.run("checkout", "--quiet", "--detach", job.commit, folder=clone)
    project = clone / job.project
    trials.configure(project, job.identity, job.settings, str(project / CACHE))
    return project


def run_dvc(trial: Trial, workers: int, job: Job, project: Path, log: Path, messages: Any) -> int:
    """Run `dvc exp run`, and tell its progress; returns its exit code."""
    import ray

    state = ray.get(messages.state.remote(trial.name))
    if state is not None:
        (project / STATE).parent.mkdir()
        (project / STATE).write_bytes(state)
    dvc.omit_checksums()
    environment = {k: v for k, v in git.clean_environment().items() if k not in OF_RAY}
    environment[WORKERS_VARIABLE] = str(workers)
    python = os.path.dirname(sys.executable)  # for the stages, if the node's is not activated
    environment["PATH"] = f"{python}{os.pathsep}{environment.get('PATH', os.defpath)}"
    options = ["--pull"] if job.has_remote else []
    process = trials.start_dvc(trial, options, project, log, environment)
    teller = Teller(trial, log, project / STATE, messages)
    try:
        while process.poll() is None:
            time.sleep(POLL_S)
            teller.tell()
    finally:
        trials.stop_dvc([process])
        teller.tell()
    if process.returncode == 0 and job.has_remote:
        words = ["dvc", "push", "--run-cache"]
        with log.open("ab") as output:
            code = subprocess.run(words, cwd=project, env=environment, stdout=output, stderr=output)
        teller.tell()
        return code.returncode
    return process.returncode


class Teller:
    """Tells what is new in a trial's log, and its training's state after each epoch."""

    def __init__(self, trial: Trial, log: Path, state: Path, messages: Any) -> None:
        self._trial, self._log, self._state, self._messages = trial, log, state, messages
        self._told = 0  # bytes of the log
        self._moment = 0  # of the state that was told last, in nanoseconds

    def tell(self) -> None:
        import ray

        with self._log.open("rb") as log:
            log.seek(self._told)
            printed = log.read()
        state = self._new_state()
        if printed or state is not None:
            ray.get(self._messages.tell.remote(self._trial.name, printed, state))
            self._told += len(printed)

    def _new_state(self) -> bytes | None:
        try:
            with self._state.open("rb") as file:  # it is replaced, so this one stays whole
                moment = os.fstat(file.fileno()).st_mtime_ns
                if moment == self._moment:
                    return None
                self._moment = moment
                return file.read()
        except FileNotFoundError:  # before the first epoch, and after the last
            return None


def bundle_of(trial: Trial, job: Job, project: Path) -> bytes:
    """The experiment, without the commit that it is of."""
    file = project / "experiment.bundle"
    ref = git.experiment_reference(trial.name, job.commit)
    git.run("bundle", "create", "--quiet", file.name, ref, f"^{job.commit}", folder=project)
    return file.read_bytes()


def objects(cache: Path) -> set[str]:
    """The objects and runs in a cache of DVC, as paths in it."""
    paths = (path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())
    return {path for path in paths if OBJECT_PATH.fullmatch(path) or RUN_PATH.fullmatch(path)}


def pack(cache: Path, paths: Iterable[str]) -> bytes:
    """A tar of objects of a cache."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path in sorted(paths):
            tar.add(cache / path, path)
    return packed.getvalue()


def unpack(packed: bytes, cache: Path) -> set[str]:
    """Put the objects of a tar into a new cache; returns their paths in it.

    Raises `InputError` if the tar has anything else.
    """
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        names = tar.getnames()
        if strange := [n for n in names if not (OBJECT_PATH.fullmatch(n) or RUN_PATH.fullmatch(n))]:
            raise InputError(f"{strange[0]!r} is no object of DVC's cache")
        tar.extractall(cache, filter="data")
    return set(names)
