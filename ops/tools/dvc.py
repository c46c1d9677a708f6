"""Work with DVC: parameters of experiments, outputs of a commit, runs of the whole pipeline."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from digits.core.errors import FULL_DISK, InputError
from digits.core.params import as_text
from digits.core.workers import WORKERS_VARIABLE
from ops.tools import compute, dvc_files, git

DVC = (sys.executable, "-m", "ops.tools.any_path")  # the command dvc
MODEL = "models/digit-classifier"
DATA = "data/prepared"
PLACEHOLDER = "s3://<"  # begins the URL of the remote in .dvc/config until `make remote` sets one
NO_REMOTE = (
    "there is no DVC remote (.dvc/config has at most a placeholder). Set one: make remote "
    "URL=s3://bucket/path, or URL=/a/folder"
)


def usable(read: Callable[[], Any]) -> Any:
    """What `read` returns, which reads DVC's configuration; raises `InputError` if it is wrong."""
    from dvc.config import ConfigError

    try:
        return read()
    except ConfigError as error:
        raise InputError(
            f"DVC's configuration can't be used: {error}. If .dvc/config.local belongs to another "
            f"remote than .dvc/config, set both: digits remote URL"
        ) from None


def set_params(changes: Mapping[str, Any]) -> list[str]:
    """Overrides by dotted key as options of `dvc exp run`."""
    return [f"--set-param={key}={as_text(value)}" for key, value in changes.items()]


def omit_checksums() -> None:
    """Have DVC send a bucket only the checksums that S3 requires, since some servers refuse others.

    DVC has no setting for this, but it compares the MD5 of each file that it reads.
    """
    for name in ("AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"):
        os.environ.setdefault(name, "when_required")


def remote_url(configuration: Mapping[str, Any]) -> str | None:
    """The URL of the default remote in DVC's configuration; None if it has only a placeholder."""
    name = configuration["core"].get("remote")
    url: str = configuration["remote"].get(name, {}).get("url", "")
    return None if name is None or url.startswith(PLACEHOLDER) else url


def has_remote(configuration: Mapping[str, Any]) -> bool:
    """Whether DVC's configuration names a default remote that is no placeholder."""
    return remote_url(configuration) is not None


def command_for_outputs() -> str:
    """What a person types to get outputs that the cache may lack: repro if there is no remote."""
    from dvc.config import Config

    return "dvc pull" if has_remote(usable(Config.from_cwd)) else "dvc repro"


def fetch_committed(commit: str, path: str, target: Path) -> None:
    """Copy an output of a commit from DVC's cache, or from this clone's default remote.

    Raises `InputError` if neither has the output.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.index import DataIndexError

    omit_checksums()
    is_local = False
    try:
        with usable(Repo) as repo:
            configuration = repo.config
            is_local = not has_remote(configuration)
            if is_local:
                configuration["core"].pop("remote", None)  # DVC need not try the placeholder
            with repo.switch(commit):
                repo.config = configuration  # this clone's: the commit may have no remote yet
                repo.dvcfs.get(path, str(target), recursive=True)
    except (DvcException, DataIndexError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        reason = (
            f"not in the cache, and {NO_REMOTE}"
            if is_local
            else f"in neither the cache nor the remote ({error.__cause__ or error})"
        )
        raise InputError(
            f"{path} of {commit[:9]} is {reason}. On the machine that has it: dvc push"
        ) from None


def fetch_outputs(commit: str) -> None:
    """Fetch what the remote has of a commit's outputs into the cache.

    Raises `InputError` if the remote can't be read.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    omit_checksums()
    try:
        with usable(Repo) as repo:
            repo.fetch(revs=[commit], workspace=False)
    except (DvcException, OSError) as error:
        raise InputError(f"the outputs of {commit[:9]} can't be fetched: {error}") from None


def cached(oid: str) -> bytes | None:
    """The content of an object of DVC's cache; None if the cache lacks it."""
    path = _cache()(oid)
    return path.read_bytes() if path.is_file() else None


def cached_files(digest: str) -> dict[str, Path] | None:
    """The files of a folder in DVC's cache, by name; None if the cache lacks any of them."""
    locate = _cache()
    listing = locate(digest)
    if not listing.is_file():
        return None
    names = dvc_files.parse_folder(listing.read_bytes(), f"{listing}, the list of a folder's files")
    files = {name: locate(md5).resolve() for name, md5 in names.items()}
    return files if all(path.is_file() for path in files.values()) else None


def is_cached(oid: str) -> bool:
    """Whether DVC's cache has a file, or a folder with all its files."""
    return cached_files(oid) is not None if oid.endswith(".dir") else _cache()(oid).is_file()


def _cache() -> Callable[[str], Path]:
    """A function that returns an object's path in DVC's cache, whether it is there or not."""
    from dvc.repo import Repo

    with usable(Repo) as repo:
        locate = repo.cache.local.oid_to_path
    return lambda oid: Path(locate(oid))


def made_experiment(name: str) -> str:
    """The commit of an experiment of HEAD; raises `InputError` if DVC has made none."""
    commit = git.experiments().get(name)
    if commit is None:
        raise InputError(f"dvc made no experiment {name}; see its message above")
    return commit


def clone_with_data(commit: str, clone: Path) -> Path:
    """Check out a commit into a new folder, with the data under DVC that no stage writes.

    Returns the project's folder in it.
    """
    project = git.clone(commit, clone)
    for path in git.paths(commit, "data"):
        if path.endswith(".dvc"):
            data = path.removesuffix(".dvc")
            fetch_committed(commit, data, project / data)
    return project


def reproduce(project: Path, workers: int) -> None:
    """Run every stage of a clone without the run cache; raises `InputError` if a stage fails."""
    words = ["dvc", "repro", "--force", "--no-run-cache"]
    environment = git.clean_environment() | compute.environment_for_clones()
    environment[WORKERS_VARIABLE] = str(workers)
    if subprocess.run(words, cwd=project, env=environment, stdout=sys.stderr).returncode:
        raise InputError("the pipeline failed; its own message is above")
