"""Run the trials of a sweep on a Ray cluster, each as a task on some node.

Ray chooses the node, waits for free cores, and starts a trial again, once, if its node is lost; the
training then continues after its last whole epoch. `ray_node` has what a node does.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from digits.core import files, params
from digits.core.command_line import say
from digits.core.errors import InputError
from ops.sweep import on_local, ray_node, trials
from ops.sweep.ray_node import OBJECT, Job, Made
from ops.sweep.trials import FOLDER, IDENTITY, Trial
from ops.tools import compute, dvc, dvc_files, git, ray_cluster
from ops.tools.revisions import PARAMS

POLL_S = 0.5
HEAD = "node:__internal_head__"  # a resource of the node that runs as long as the cluster


class OnRay:
    """An engine: a Ray task for each trial."""

    def __init__(
        self, commit: str, waiting: Sequence[Trial], jobs: int, address: str | None
    ) -> None:
        """Connect to the cluster, and copy the commit and the data into its object store.

        Raises
        ------
        InputError
            If there is no cluster, or it lacks the GPUs that a trial needs.
        """
        ray_cluster.connect(address)
        import ray

        self._ray, self._commit = ray, commit
        self._running: dict[Any, Trial] = {}
        base = params.parse_yaml(git.read(commit, PARAMS) or b"", f"{commit[:9]}:{PARAMS}")
        where = compute.load_params(PARAMS)
        if where.backend != "local":
            raise InputError(f"compute.backend is {where.backend}; on Ray a trial runs on its node")
        nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        cores = cores_of_trial(where, nodes, jobs)
        if cores > max(nodes):
            say(f"each run needs {cores} cores; no node has so many yet, so the runs wait for one")
        self._gpus = {trial: self._gpus_of(trial, base, where.processes) for trial in waiting}
        self._run = ray.remote(num_cpus=cores, max_retries=1)(ray_node.run)
        self._messages = (
            ray.remote(ray_node.Messages).options(num_cpus=0, resources={HEAD: 0.001}).remote()
        )
        self._has_remote, configuration = dvc_configuration()
        self._job = ray.put(
            Job(
                commit,
                git.project_in_repository(),
                {key: git.setting(key) or "" for key in IDENTITY},
                configuration,
                max(1, cores // where.processes),
                self._has_remote,
            )
        )
        self._bundle = ray.put(bundle(commit))
        cache = cache_folder()
        self._data = ray.put(
            ray_node.pack(cache, () if self._has_remote else outputs(commit, cache))
        )

    def _gpus_of(self, trial: Trial, base: dict[str, Any], processes: int) -> int:
        device = params.override(base, trial.changes)["train"]["device"]
        has_gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        if device == "cuda" and not has_gpus:
            raise InputError(f"{trial.name} has train.device: cuda, and no node has a GPU")
        return processes if device == "cuda" or (device == "auto" and has_gpus) else 0

    def start(self, trial: Trial) -> None:
        trial.log.unlink(missing_ok=True)
        on_local.save_state(trial)
        state = trial.saved_state / ray_node.STATE.name
        if state.exists():  # of a sweep that was stopped
            self._tell(trial, state.read_bytes())
        task = self._run.options(num_gpus=self._gpus[trial], name=trial.name).remote(
            trial, self._job, self._bundle, self._data, self._messages
        )
        self._running[task] = trial

    def _tell(self, trial: Trial, state: bytes) -> None:
        self._ray.get(self._messages.tell.remote(trial.name, b"", state))

    def ended(self) -> Iterator[tuple[Trial, bool]]:
        done, _ = self._ray.wait(
            list(self._running), num_returns=len(self._running), timeout=POLL_S
        )
        self._keep_messages()
        for task in done:
            trial = self._running.pop(task)
            self._messages.forget.remote(trial.name)
            yield trial, self._collect(trial, task)

    def _keep_messages(self) -> None:
        try:
            printed, states = self._ray.get(self._messages.take.remote())
        except self._ray.exceptions.RayError:
            raise InputError(
                "the head of the Ray cluster was lost. What is complete stays; the same command "
                "continues the rest"
            ) from None
        for trial in self._running.values():
            if trial.name in printed:
                with trial.log.open("ab") as log:
                    log.write(printed[trial.name])
            if trial.name in states:
                trial.saved_state.mkdir(exist_ok=True)
                files.write(trial.saved_state / ray_node.STATE.name, states[trial.name])

    def _collect(self, trial: Trial, task: Any) -> bool:
        try:
            made: Made | None = self._ray.get(task)
            return made is not None and self._keep(trial, made)
        except (self._ray.exceptions.RayError, InputError) as error:  # the other trials go on
            with trial.log.open("a", encoding="utf-8") as log:
                log.write(f"{error}\n")
            return False

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


def cores_of_trial(where: compute.ComputeParams, nodes: Sequence[float], at_a_time: int) -> int:
    """What `compute` says, or a trial's share of the cores of the nodes."""
    if where.workers != "auto":
        return where.workers * where.processes
    return max(1, min(int(max(nodes)), int(sum(nodes)) // at_a_time))


def bundle(commit: str) -> bytes:
    """The commit and its history as a Git bundle, whose HEAD it is."""
    with TemporaryDirectory(dir=FOLDER) as folder:
        clone, file = Path(folder, "clone"), Path(folder, "commit.bundle").absolute()
        git.clone(commit, clone)
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
    """Add objects that a node made to DVC's cache.

    Raises
    ------
    InputError
        If an object is not what its name says.
    """
    cache = cache_folder()
    with TemporaryDirectory(dir=FOLDER) as folder:
        names = ray_node.unpack(packed, Path(folder))
        # A folder's list comes after its files.
        for name in sorted(names, key=lambda name: name.endswith(".dir")):
            made, kept = Path(folder, name), cache / name
            content = made.read_bytes()
            if match := OBJECT.fullmatch(name):
                digest = "".join(match.groups()).removesuffix(".dir")
                if hashlib.md5(content).hexdigest() != digest:
                    raise InputError(f"a node sent {name} with another content")
            if not kept.exists():
                kept.parent.mkdir(parents=True, exist_ok=True)
                files.write(kept, content)
                kept.chmod(0o444)


def cache_folder() -> Path:
    """The folder of DVC's cache."""
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local_cache_dir)


def dvc_configuration() -> tuple[bool, dict[str, Any]]:
    """Whether the default remote is a bucket, and DVC's settings that are not in Git."""
    from dvc.repo import Repo

    with Repo() as repo:
        url = dvc.remote_url(repo.config)
        return bool(url and urlsplit(url).netloc), dict(repo.config.read("local"))
