"""Files by name in a folder or in an S3 bucket: read, listed, written at once or not at all.

One interface for both, by fsspec. What they do differently stands here: a folder has a lock, S3 has
conditional writes. Every request to S3 has a deadline, and failures are told in words.
"""

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec

from digits.core import files
from digits.core.errors import InputError, Unreachable

CONNECT_S = 5
READ_S = 10  # without a byte
ATTEMPTS = 3  # of a request that gets no answer; up to 1 and 2 seconds lie between them
DEADLINE_S = 120  # for a request with all its attempts, however slowly the answer comes
LOCK_S = 30

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A folder or a bucket's prefix; names are relative to it."""

    url: str
    filesystem: Any  # of fsspec
    root: str
    is_bucket: bool

    def path(self, name: str) -> str:
        return f"{self.root}/{name}"


def find(url: str) -> Place:
    """The place that a URL names; it need not exist.

    Parameters
    ----------
    url : a folder, file://, or s3://bucket/prefix; the environment has endpoint and credentials

    Raises
    ------
    InputError
        If it is none of these.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        folder = Path(rest if separator else url).absolute()
        return Place(str(folder), fsspec.filesystem("file"), str(folder), False)
    rest = rest.strip("/")
    if scheme != "s3" or not rest:
        raise InputError(f"{url!r} is no place for models; expected a folder or s3://bucket/prefix")
    filesystem = fsspec.filesystem(
        "s3",
        use_listings_cache=False,  # others write too
        config_kwargs={
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"mode": "standard", "total_max_attempts": ATTEMPTS},
            # Whoever reads compares by sha256; some S3 servers know no other checksums.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    )
    filesystem.retries = 2  # on top, if an answer breaks off; botocore retries what has no answer
    return Place(f"s3://{rest}", filesystem, rest, True)


def find_file(url: str) -> tuple[Place, str]:
    """The place that a file is in, and its name there; raises `InputError` as `find`."""
    folder, separator, name = url.rpartition("/")
    return find(folder or separator or "."), name


def read(place: Place, name: str) -> bytes | None:
    """A file's content, or None; raises `Unreachable`."""
    options = {"max_concurrency": 1} if place.is_bucket else {}  # else it asks for the size first
    try:
        content: bytes = _ask(place, name, place.filesystem.cat_file, place.path(name), **options)
    except FileNotFoundError:
        return None
    return content


def entries(place: Place, name: str = "") -> dict[str, float]:
    """Files and folders in a folder, with the time they were written, in seconds since 1970.

    Of a folder in S3, which has no time, that is 0. Raises `Unreachable`.
    """
    path = place.path(name) if name else place.root
    try:
        found = _ask(place, name, place.filesystem.ls, path, detail=True)
    except FileNotFoundError:
        return {}
    return {PurePosixPath(each["name"]).name: _time(each) for each in found}


def walk(place: Place) -> Iterator[tuple[str, float, str]]:
    """All files in a folder and its folders: name, time they were written, and as `state`.

    Hidden ones are left out. Memory does not grow with what a bucket holds; of folders, it holds
    one folder's names at a time. Raises `Unreachable`.
    """
    if place.is_bucket:
        yield from _walk_bucket(place)
        return
    with explained(place):
        for folder, folders, names in os.walk(place.root, onerror=_raise):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for name in sorted(each for each in names if not each.startswith(".")):
                path = Path(folder, name)
                yield path.relative_to(place.root).as_posix(), *_stat(path)


def state(place: Place, name: str) -> str:
    """What is another when a file's content is: its size and time, or S3's ETag.

    Raises `Unreachable`; `FileNotFoundError` if a bucket has no such file.
    """
    if place.is_bucket:
        return str(_ask(place, name, place.filesystem.info, place.path(name))["ETag"])
    return _stat(Path(place.path(name)))[1]


def is_file(place: Place, name: str = "") -> bool:
    """Whether there is such a file; by default, whether the place itself is one."""
    path = place.path(name) if name else place.root
    return bool(_ask(place, name, place.filesystem.isfile, path))


@contextmanager
def opened(place: Place, name: str) -> Iterator[Any]:
    """A file to read from, in parts; `FileNotFoundError` if there is none, else `Unreachable`."""
    with explained(place, name), place.filesystem.open(place.path(name), "rb") as file:
        yield file


def write(place: Place, name: str, content: bytes) -> None:
    """Write a file: a reader sees the old content or the new. Raises `Unreachable`."""
    with _exclusive(place):
        _write(place, name, content)


def put(place: Place, name: str, file: Path) -> None:
    """Copy a local file of any size: a reader sees the old content or the new.

    Raises `Unreachable`.
    """
    with explained(place, name):
        if place.is_bucket:
            place.filesystem.put_file(str(file), place.path(name))
            return
        with open(file, "rb") as source, files.replacing(place.path(name)) as target:
            shutil.copyfileobj(source, target)


def replace(
    place: Place, name: str, content: bytes, expected: Callable[[bytes | None], bool]
) -> bytes | None:
    """Write a file if it still is as expected, in one step; what is there afterwards.

    Raises
    ------
    Unreachable
        If the place can't be read, or the file is as expected and can't be written.
    """
    failure = None
    with _exclusive(place):
        condition = _condition(place, name)  # before reading: what is read is this or newer
        if expected(read(place, name)):
            try:
                _write(place, name, content, **condition)
            except Unreachable as error:  # it may be written, and only the answer be lost
                failure = error
        found = read(place, name)
    if failure and found != content and expected(found):
        raise failure
    return found


def discard(place: Place, first: str) -> None:
    """Remove a folder of files, if it exists, `first` before the others; raises `Unreachable`."""
    _remove(place, "", entries(place), first)


def remove(
    place: Place, name: str, first: str, condition: Callable[[Mapping[str, float]], bool]
) -> bool:
    """Remove a folder of files if its entries satisfy a condition; whether it was.

    `first` is the file that goes before the others. Raises `Unreachable`.
    """
    with _exclusive(place):
        found = entries(place, name)
        if not condition(found):
            return False
        _remove(place, name, found, first)
        return True


def _walk_bucket(place: Place) -> Iterator[tuple[str, float, str]]:
    bucket, key, _ = place.filesystem.split_path(place.root)
    prefix = f"{key}/" if key else ""
    page: dict[str, Any] = {}
    while not page or page["IsTruncated"]:
        more = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
        words = {"Bucket": bucket, "Prefix": prefix, **more}
        page = _ask(place, "", place.filesystem.call_s3, "list_objects_v2", **words)
        for entry in page.get("Contents", []):
            name = entry["Key"].removeprefix(prefix)
            if not name.endswith("/") and not any(p.startswith(".") for p in name.split("/")):
                yield name, entry["LastModified"].timestamp(), entry["ETag"]


def _raise(error: OSError) -> None:
    raise error


def _stat(path: Path) -> tuple[float, str]:
    try:
        found = path.stat()
    except OSError:  # gone since, or a link to nothing: whoever reads it will say so
        return 0.0, ""
    return found.st_mtime, f"{found.st_size}-{found.st_mtime_ns}"


def _remove(place: Place, name: str, files: Iterable[str], first: str) -> None:
    folder = place.path(name) if name else place.root
    for file in sorted(files, key=lambda file: file != first):
        _ask(place, name, place.filesystem.rm_file, f"{folder}/{file}")
    if not place.is_bucket:
        with suppress(FileNotFoundError):
            _ask(place, name, place.filesystem.rmdir, folder)


def _time(entry: Mapping[str, Any]) -> float:
    modified = entry.get("LastModified")
    return float(entry["mtime"]) if "mtime" in entry else modified.timestamp() if modified else 0.0


def _write(place: Place, name: str, content: bytes, **condition: str) -> None:
    if place.is_bucket:
        _ask(place, name, place.filesystem.pipe_file, place.path(name), content, **condition)
    else:
        _ask(place, name, _write_durably, Path(place.path(name)), content)


def _write_durably(path: Path, content: bytes) -> None:
    files.write(path, content)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a pointer may outlive a power cut that its model does not
    finally:
        os.close(folder)


def _condition(place: Place, name: str) -> dict[str, str]:
    """What has S3 refuse to write a file that is no longer as it is now."""
    if not place.is_bucket:
        return {}
    bucket, key, _ = place.filesystem.split_path(place.path(name))
    try:
        head = _ask(place, name, place.filesystem.call_s3, "head_object", Bucket=bucket, Key=key)
    except FileNotFoundError:
        return {"IfNoneMatch": "*"}
    return {"IfMatch": head["ETag"]}


def _exclusive(place: Place) -> AbstractContextManager[None]:
    return nullcontext() if place.is_bucket else _lock(place)


@contextmanager
def _lock(place: Place) -> Iterator[None]:
    _ask(place, "", os.makedirs, place.root, exist_ok=True)
    path = place.path(".lock")
    with _ask(place, ".lock", open, path, "a") as lock:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unreachable(
                        f"another deployment has held {path} for {LOCK_S} s. Which: fuser {path}"
                    ) from None
                time.sleep(0.02)
        yield


def _ask(place: Place, name: str, verb: Callable[..., T], *words: Any, **options: Any) -> T:
    if place.is_bucket:
        options["timeout"] = DEADLINE_S
    with explained(place, name):
        return verb(*words, **options)


@contextmanager
def explained(place: Place, name: str = "") -> Iterator[None]:
    """Errors of a file system in words, as `Unreachable`; `FileNotFoundError` of a file stays."""
    try:
        yield
    except _failures(place) as error:
        if isinstance(error, FileNotFoundError) and _code(error) != "NoSuchBucket":
            raise
        where = f"{place.url}/{name}".rstrip("/")
        raise Unreachable(f"{where}: {_explain(place, error)}") from error


def _failures(place: Place) -> tuple[type[Exception], ...]:
    if not place.is_bucket:
        return (OSError,)
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError

    return (OSError, BotoCoreError, ClientError)


def _code(error: BaseException) -> str | None:
    """S3's own name for an error."""
    found = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
    return None if found is None else str(found)


def _explain(place: Place, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left. What is served has not changed. Make room, then the same again"
    if not place.is_bucket:
        return str(error)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    at = f"at {endpoint}" if endpoint else "at AWS (AWS_ENDPOINT_URL names another server)"
    if _code(error) == "NoSuchBucket":
        bucket = place.root.split("/")[0]
        return f"there is no bucket {bucket} {at}. Make it: aws s3 mb s3://{bucket}"
    if isinstance(error, PermissionError):
        return (
            f"forbidden {at}: {error}. The credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE) need "
            f"s3:ListBucket and s3:GetObject; to deploy s3:PutObject, to prune s3:DeleteObject"
        )
    if type(error).__name__ == "NoCredentialsError":
        return "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return (
        f"no good answer {at}: {str(error) or type(error).__name__}. What is served has not "
        f"changed. When the server is well: the same again"
    )
