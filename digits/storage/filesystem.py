"""Read, list and atomically write files in a local folder or an S3 bucket.

One interface for both, on fsspec. This module hides the differences: a folder has a lock, S3 has
conditional writes. Every request to S3 has a deadline, and errors are explained in words.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from glob import escape
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from digits.core import files
from digits.core.errors import InputError, Unreachable
from digits.storage.faults import explained, s3_code
from digits.storage.location import Storage

DEADLINE_S = 120  # for a request with all its attempts, even if bytes still arrive
LOCK_S = 30
FALSE_CONDITION = ("PreconditionFailed", "ConditionalRequestConflict")  # S3's refusals of a write

NO_CONDITIONS = (
    "the server ignores the conditions of a write (If-Match, If-None-Match), so two deployments "
    "could overwrite each other. Deploy to a folder, or to the bucket of a server that checks them"
)

T = TypeVar("T")


def read(storage: Storage, name: str) -> bytes | None:
    """A file's content, None if there is no such file; raises `Unreachable`."""
    options = {"max_concurrency": 1} if storage.is_bucket else {}  # or it asks for the size first
    read_file: Callable[..., bytes] = storage.filesystem.cat_file
    try:
        return _call(storage, name, read_file, storage.path(name), **options)
    except FileNotFoundError:
        return None


def entries(storage: Storage, name: str = "") -> dict[str, float]:
    """Files and folders in a folder: name -> time of the last write, in seconds since 1970.

    The time is 0 for a folder in S3, which has none. Raises `Unreachable`.
    """
    try:
        listed = _call(storage, name, storage.filesystem.ls, storage.path(name), detail=True)
    except FileNotFoundError:
        return {}
    return {PurePosixPath(entry["name"]).name: _time(entry) for entry in listed}


def walk(storage: Storage, passed_over: list[str]) -> Iterator[tuple[str, float, str]]:
    """All files at any depth: name, time of the last write, and state (see `state`).

    Links to folders are followed. Hidden files and folders and the operating system's are left out;
    their names are added to `passed_over`. Only one folder's names, or one page of a bucket's, are
    in memory at a time. Raises `Unreachable`.
    """
    if storage.is_bucket:
        yield from _walk_bucket(storage, passed_over)
        return
    root = Path(storage.root)
    with explained(storage):
        for name, folders, names in os.walk(root, onerror=_raise, followlinks=True):
            folder = Path(name)
            system = [n for n in (*folders, *names) if files.is_system_file(n)]
            passed_over += sorted((folder / n).relative_to(root).as_posix() for n in system)
            folders[:] = sorted(
                n for n in set(folders).difference(system) if not files.is_cycle(root, folder / n)
            )
            for path in sorted(folder / n for n in set(names).difference(system)):
                yield path.relative_to(root).as_posix(), *_stat(path)


def state(storage: Storage, name: str) -> str:
    """A token that changes whenever a file's content changes: size and time, or S3's ETag.

    Raises `Unreachable`, or `FileNotFoundError` if a bucket has no such file.
    """
    if storage.is_bucket:
        return str(_call(storage, name, storage.filesystem.info, storage.path(name))["ETag"])
    return _stat(Path(storage.path(name)))[1]


def is_file(storage: Storage, name: str = "") -> bool:
    """Whether a file exists; without a name, whether the URL itself is a file."""
    return bool(_call(storage, name, storage.filesystem.isfile, storage.path(name)))


@contextmanager
def opened(storage: Storage, name: str) -> Iterator[Any]:
    """Open a file to read it in parts.

    Raises `FileNotFoundError`, `Unreachable`, or `InputError` for a pipe, a socket or a device.
    """
    if not storage.is_bucket:
        with explained(storage, name):
            files.check_is_regular(storage.path(name))
    with explained(storage, name), storage.filesystem.open(storage.path(name), "rb") as file:
        yield file


def write(storage: Storage, name: str, content: bytes) -> None:
    """Write a file atomically: a reader sees the old content or the new. Raises `Unreachable`."""
    with _exclusive(storage):
        _write(storage, name, content)


def put(storage: Storage, name: str, file: Path) -> None:
    """Copy a local file of any size, as atomically as `write`; raises `Unreachable`."""
    with explained(storage, name, is_write=True):
        if storage.is_bucket:
            storage.filesystem.put_file(str(file), storage.path(name))
            return
        with open(file, "rb") as source, files.replacing(storage.path(name)) as target:
            shutil.copyfileobj(source, target)


def replace(
    storage: Storage, name: str, content: bytes, expected: Callable[[bytes | None], bool]
) -> bytes | None:
    """Compare and set: write a file if its content, None if absent, is still as expected.

    Returns the file's content afterwards.

    Raises `Unreachable` if the storage cannot be read, or the file cannot be written though it is
    as expected.
    """
    failure = None
    with _exclusive(storage):
        condition = _condition(storage, name)  # first: the content is of this version or newer
        if expected(read(storage, name)):
            try:
                _write(storage, name, content, **condition)
            except Unreachable as error:  # perhaps it was written, and only the answer is lost
                failure = error
        current = read(storage, name)
    if failure and current != content and expected(current):
        raise failure
    return current


def compares_and_sets(storage: Storage, name: str, content: bytes) -> bool:
    """Whether `replace` is safe here: some S3 servers write even if the condition is false.

    Parameters
    ----------
    name, content : of a file that exists; its content stays the same whatever the server does

    Raises `Unreachable`.
    """
    if not storage.is_bucket:
        return True  # a lock excludes other writers
    for condition in ({"IfMatch": f'"{"0" * 32}"'}, {"IfNoneMatch": "*"}):
        try:
            _write(storage, name, content, **condition)
        except Unreachable as error:
            if (code := s3_code(error.__cause__)) == "NotImplemented":
                return False
            if code not in FALSE_CONDITION:
                raise
        else:
            return False
    return True


def remove_file(storage: Storage, name: str) -> None:
    """Remove a file; raises `Unreachable`, or `FileNotFoundError` if a folder has no such file."""
    _call(storage, name, storage.filesystem.rm_file, storage.path(name))


def discard(storage: Storage, first: str) -> None:
    """Remove a folder of files if it exists, the file `first` first; raises `Unreachable`."""
    _remove(storage, "", entries(storage), first)


def remove(
    storage: Storage, name: str, first: str, condition: Callable[[Mapping[str, float]], bool]
) -> bool:
    """Remove a folder of files, the file `first` first, if its `entries` satisfy a condition.

    Returns whether it was removed; raises `Unreachable`.
    """
    with _exclusive(storage):
        current = entries(storage, name)
        if not condition(current):
            return False
        _remove(storage, name, current, first)
        return True


def _walk_bucket(storage: Storage, passed_over: list[str]) -> Iterator[tuple[str, float, str]]:
    bucket, key, _ = storage.filesystem.split_path(storage.root)
    prefix = f"{key}/" if key else ""
    page: dict[str, Any] = {}
    while not page or page["IsTruncated"]:
        start = {"ContinuationToken": page["NextContinuationToken"]} if page else {}
        options = {"Bucket": bucket, "Prefix": prefix, **start}
        page = _call(storage, "", storage.filesystem.call_s3, "list_objects_v2", **options)
        for entry in page.get("Contents", []):
            name = entry["Key"].removeprefix(prefix)
            if system := _system_part(name):
                if system not in passed_over[-1:]:  # a folder counts once
                    passed_over.append(system)
            elif name and not name.endswith("/"):  # else it stands for a folder
                yield name, entry["LastModified"].timestamp(), entry["ETag"]


def _system_part(name: str) -> str:
    """A name up to its first part that is hidden or the operating system's; empty if none is."""
    parts = name.split("/")
    last = next((i for i, part in enumerate(parts, 1) if files.is_system_file(part)), 0)
    return "/".join(parts[:last])


def _raise(error: OSError) -> None:
    raise error


def _stat(path: Path) -> tuple[float, str]:
    try:
        status = path.stat()
    except OSError:  # removed since, or a broken link: reading it will raise the error
        return 0.0, ""
    return status.st_mtime, f"{status.st_size}-{status.st_mtime_ns}"


def _remove(storage: Storage, name: str, files: Iterable[str], first: str) -> None:
    folder = storage.path(name)
    for file in sorted(files, key=lambda file: file != first):
        _call(storage, name, storage.filesystem.rm_file, f"{folder}/{file}")
    if not storage.is_bucket:
        with suppress(FileNotFoundError):
            _call(storage, name, storage.filesystem.rmdir, folder)


def _time(entry: Mapping[str, Any]) -> float:
    modified = entry.get("LastModified")
    return float(entry["mtime"]) if "mtime" in entry else modified.timestamp() if modified else 0.0


def _write(storage: Storage, name: str, content: bytes, **condition: str) -> None:
    if storage.is_bucket:
        with explained(storage, name, is_write=True):
            storage.filesystem.pipe_file(
                storage.path(name), content, timeout=DEADLINE_S, **condition
            )
    else:
        _call(storage, name, _write_durably, Path(storage.path(name)), content)


def _write_durably(path: Path, content: bytes) -> None:
    for partial in path.parent.glob(f"{escape(path.name)}.????????.partial"):
        partial.unlink()  # a killed writer left it; the lock excludes a living one
    files.write(path, content)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # so that after a power cut no pointer exists without its model
    finally:
        os.close(folder)


def _condition(storage: Storage, name: str) -> dict[str, str]:
    """The options of a write that S3 refuses if the file has changed by then."""
    if not storage.is_bucket:
        return {}
    try:
        return {"IfMatch": state(storage, name)}
    except FileNotFoundError:
        return {"IfNoneMatch": "*"}


def _exclusive(storage: Storage) -> AbstractContextManager[None]:
    return nullcontext() if storage.is_bucket else _lock(storage)


@contextmanager
def _lock(storage: Storage) -> Iterator[None]:
    _call(storage, "", os.makedirs, storage.root, exist_ok=True)
    path = storage.path(".lock")
    with _call(storage, ".lock", open, path, "a") as lock:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Unreachable(
                        f"another deployment has held {path} for {LOCK_S} s. To see which: "
                        f"fuser {path}"
                    ) from None
                time.sleep(0.02)
        yield


def _call(
    storage: Storage, name: str, function: Callable[..., T], *words: Any, **options: Any
) -> T:
    if storage.is_bucket:
        options["timeout"] = DEADLINE_S
    with explained(storage, name):
        try:
            return function(*words, **options)
        except ValueError as error:
            if not storage.is_bucket:
                raise
            raise InputError(
                f"{storage.path(name)!r} cannot be used with the settings of S3 (AWS_... in the "
                f"environment, and ~/.aws/config): {error}"
            ) from None
