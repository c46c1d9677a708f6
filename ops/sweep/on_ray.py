"""Run the trials of a sweep on a Ray cluster, each as a task on some node.

Ray chooses the node, waits for free cores, and starts a trial again, once, if its node is lost; the
training then continues after its last whole epoch. `ray_node` has what a node does.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from digits.core import files, params
from digits.core.command_line import say
from digits.core.errors import InputError
from ops.sweep import on_local, ray_node, trials
from ops.sweep.ray_node import Job, Made, News
from ops.sweep.trials import FOLDER, Ended, Started, Trial
from ops.tools import compute, dvc, dvc_files, git, ray_cluster
from ops.tools.revisions import PARAMS
from ops.tools.tables import count

POLL_S = 0.5
HEAD = "node:__internal_head__"  # a resource of the node that runs as long as the cluster


@dataclass(frozen=True)
class Need:
    """What a trial asks a node for."""

    cores: int
    gpus: int


class OnRay:
    """An engine: a Ray task for each trial."""

    def __init__(
        self, commit: str, waiting: Sequence[Trial], jobs: int, address: str | None
    ) -> None:
        """Connect to the cluster, and copy the commit and the data into its object store.

        Raises `InputError` if there is no cluster, or it lacks the GPUs that a trial needs.
        """
        ray_cluster.connect(address)
        import ray
        from dvc.repo import Repo

        self._ray, self._commit = ray, commit
        self._running: dict[Any, Trial] = {}
        base = params.parse_yaml(git.read(commit, PARAMS) or b"", f"{commit[:9]}:{PARAMS}")
        where = compute.load_params()
        if where.backend != "local":
            raise InputError(f"compute.backend is {where.backend}; on Ray a trial runs on its node")
        self._processes = where.processes
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        devices = {t: params.override(base, t.changes)["train"]["device"] for t in waiting}
        self._needs = {t: needs(device, where, nodes, jobs) for t, device in devices.items()}
        for need in dict.fromkeys(self._needs.values()):
            say(describe(need, nodes))
        self._run = ray.remote(max_retries=1)(ray_node.run)
        self._messages = (
            ray.remote(ray_node.Messages).options(num_cpus=0, resources={HEAD: 0.001}).remote()
        )
        with dvc.usable(Repo) as repo:
            url, cache = dvc.remote_url(repo.config), Path(repo.cache.local_cache_dir)
            settings = dict(repo.config.read("local"))
        settings.pop("cache", None)  # a node has its own
        self._has_remote = bool(url and urlsplit(url).netloc)  # a bucket, which the nodes reach too
        project = git.project_in_repository()
        job = Job(commit, project, trials.identity(), settings, self._has_remote)
        self._job = ray.put(job)
        self._bundle = ray.put(bundle(commit))
        packed = ray_node.pack(cache, () if self._has_remote else outputs(commit, cache))
        self._data = ray.put(packed)

    def start(self, trial: Trial) -> None:
        trial.log.unlink(missing_ok=True)
        on_local.save_state(trial)
        state = trial.saved_state / ray_node.STATE.name
        if state.exists():  # of a sweep that was stopped
            told = self._messages.tell.remote(trial.name, b"", state.read_bytes())
            self._ray.get(told)
        need = self._needs[trial]
        run = self._run.options(num_cpus=need.cores, num_gpus=need.gpus, name=trial.name)
        workers = max(1, need.cores // self._processes)
        task = run.remote(trial, workers, self._job, self._bundle, self._data, self._messages)
        self._running[task] = trial

    def events(self) -> Iterator[Started | Ended]:
        done, _ = self._ray.wait(
            list(self._running), num_returns=len(self._running), timeout=POLL_S
        )
        yield from self._keep_messages()
        for task in done:
            trial = self._running.pop(task)
            self._messages.forget.remote(trial.name)
            yield self._collect(trial, task)

    def _keep_messages(self) -> list[Started]:
        """Write the logs and states that are new; returns the trials that started."""
        try:
            news: News = self._ray.get(self._messages.take.remote())
        except self._ray.exceptions.RayError:
            raise InputError(
                "the head of the Ray cluster was lost. What is complete stays; the same command "
                "continues the rest"
            ) from None
        running = {trial.name: trial for trial in self._running.values()}
        for name in running.keys() & news.printed.keys():
            with running[name].log.open("ab") as log:
                log.write(news.printed[name])
        for name in running.keys() & news.states.keys():
            running[name].saved_state.mkdir(exist_ok=True)
            files.write(running[name].saved_state / ray_node.STATE.name, news.states[name])
        return [Started(running[name], node) for name, node in news.started if name in running]

    def _collect(self, trial: Trial, task: Any) -> Ended:
        try:
            made: Made | None = self._ray.get(task)
            return Ended(trial, made is not None and self._keep(trial, made))
        except (self._ray.exceptions.RayError, InputError) as error:  # the other trials go on
            with trial.log.open("a", encoding="utf-8") as log:
                log.write(f"{error}\n")
            return Ended(trial, False, explain(error))

    def _keep(self, trial: Trial, made: Made) -> bool:
        add_to_cache(made.outputs)  # first, so that an experiment always has its outputs
        with TemporaryDirectory(dir=FOLDER) as folder:
            file = Path(folder) / "experiment.bundle"
            file.write_bytes(made.experiment)
            if not trials.fetch_experiment(trial, self._commit, file):
                return False
        if self._has_remote:
            dvc.fetch_outputs(git.experiments(self._commit)[trial.name])
        return True

    def stop(self) -> None:
        for task in self._running:
            self._ray.cancel(task)
        if self._running:
            self._ray.wait(
                list(self._running), num_returns=len(self._running), timeout=trials.GRACE_S
            )
            self._keep_messages()
        self._ray.shutdown()


def needs(
    device: str, where: compute.ComputeParams, nodes: Sequence[Mapping[str, float]], at_a_time: int
) -> Need:
    """What a trial asks Ray for: the cores that `compute` states, or its share, and its GPUs.

    Parameters
    ----------
    device : its train.device
    nodes : what each node has, by Ray's names
    at_a_time : how many trials may run

    Raises `InputError` if the device is cuda, and no node has the GPUs.
    """
    gpus = where.processes if device in ("cuda", "auto") else 0
    suited = [node for node in nodes if node.get("GPU", 0) >= gpus]
    if not suited and device == "auto":
        gpus, suited = 0, list(nodes)
    if not suited:
        most = max(int(node.get("GPU", 0)) for node in nodes)
        raise InputError(
            f"train.device is cuda, so a run needs {count(gpus, 'GPU')} of one node (one for each "
            f"of compute.processes), but "
            + (f"the nodes have at most {most}" if most else "no node of the Ray cluster has a GPU")
            + ". Start Ray on a machine with more, or set train.device: cpu"
        )
    if where.workers != "auto":
        return Need(where.workers * where.processes, gpus)
    if gpus:
        at_a_time = min(at_a_time, sum(int(node["GPU"]) // gpus for node in suited))
    cores = [int(node.get("CPU", 0)) for node in suited]
    return Need(max(1, min(max(cores), sum(cores) // at_a_time)), gpus)


def describe(need: Need, nodes: Sequence[Mapping[str, float]]) -> str:
    """What a trial asks for and where it waits, for a person."""
    words = count(need.cores, "core") + (f" and {count(need.gpus, 'GPU')}" if need.gpus else "")
    suited = [node for node in nodes if node.get("GPU", 0) >= need.gpus]
    is_met = any(node.get("CPU", 0) >= need.cores for node in suited)
    return (
        f"queued on the Ray cluster; a run starts as soon as a node has {words} free"
        if is_met
        else f"each run needs {words}; no node has this yet, so the runs wait for one"
    )


def explain(error: Exception) -> str:
    """Why a trial failed, in one line."""
    from ray import exceptions

    if isinstance(error, exceptions.NodeDiedError):
        return "its node was lost, for the second time"
    if isinstance(error, exceptions.WorkerCrashedError | exceptions.OutOfMemoryError):
        return "its process was killed, for the second time; had the node enough memory?"
    cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
    name = "" if isinstance(cause, InputError) else f"{type(cause).__name__}: "
    return f"{name}{cause}".strip().splitlines()[0]


def bundle(commit: str) -> bytes:
    """The commit without its history as a Git bundle, whose HEAD it is."""
    with TemporaryDirectory(dir=FOLDER) as folder:
        clone, file = Path(folder, "clone"), Path(folder, "commit.bundle").absolute()
        git.clone(commit, clone)
        git.omit_history(clone, commit)
        git.run("bundle", "create", "--quiet", file, "HEAD", folder=clone)
        return file.read_bytes()


def outputs(commit: str, cache: Path) -> set[str]:
    """What DVC's cache has of the data and outputs of a commit, as paths in the cache."""
    lock = dvc_files.parse_lock(git.read(commit, "dvc.lock") or b"stages: {}")
    digests = {out.md5 for stage in lock.values() for out in stage.outs if out.md5}
    for path in git.paths(commit, "data"):
        if path.endswith(".dvc"):
            digests.add(dvc_files.parse_pointer(git.read(commit, path) or b"", path))
    found = set()
    for path in map(object_path, digests):
        paths = {path}
        if path.endswith(".dir") and (cache / path).is_file():
            names = dvc_files.parse_folder((cache / path).read_bytes(), path)
            paths.update(map(object_path, names.values()))
        if all((cache / path).is_file() for path in paths):  # a folder is complete or left out
            found |= paths
    return found


def object_path(digest: str) -> str:
    """Where a cache of DVC has an object."""
    return f"files/md5/{digest[:2]}/{digest[2:]}"


def add_to_cache(packed: bytes) -> None:
    """Add objects that a node made to DVC's cache, as DVC does: the cache may be shared.

    Raises `InputError` if an object is not what its name says.
    """
    from dvc.repo import Repo

    with dvc.usable(Repo) as repo, TemporaryDirectory(dir=FOLDER) as folder:
        cache, runs = repo.cache.local, repo.cache.legacy
        names = ray_node.unpack(packed, Path(folder))
        # A folder's list comes after its files.
        for name in sorted(names, key=lambda name: name.endswith(".dir")):
            made = Path(folder, name).absolute()
            if match := dvc_files.OBJECT_PATH.fullmatch(name):
                oid = "".join(match.groups())
                if hashlib.md5(made.read_bytes()).hexdigest() != oid.removesuffix(".dir"):
                    raise InputError(f"a node sent {name} with another content")
                cache.add(str(made), cache.fs, oid)
            elif not (kept := Path(runs.path, name)).exists():
                runs.makedirs(str(kept.parent))
                temporary = shutil.copyfile(made, kept.with_name(f"{kept.name}.tmp"))
                runs.move(str(temporary), str(kept))
