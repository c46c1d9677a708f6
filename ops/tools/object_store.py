"""Read and hash the objects in DVC's cache and remote, since DVC itself does not check them.

Each function raises `Unreachable` if the cache or the remote can't be read or written.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from digits.core.errors import FULL_DISK, InputError, Unreachable
from ops.tools import disk, dvc_files
from ops.tools.dvc import has_remote, omit_checksums, usable
from ops.tools.dvc_files import Entry
from ops.tools.tree import Tree

CHUNK = 1 << 20  # bytes


class Store(Protocol):
    """DVC's object database, of the cache or a remote: files by their MD5."""

    path: str
    fs: Any

    def oid_to_path(self, oid: str) -> str: ...

    def protect(self, path: str) -> None: ...


@dataclass(frozen=True)
class Output:
    """An output of a stage, or a file in one that is a folder.

    oid : as dvc.lock names it; that of a folder, the list of its files, ends with .dir
    size : in bytes, if known; of a folder, of all its files
    """

    path: str
    stage: str
    oid: str
    size: int | None = None

    @property
    def md5(self) -> str:
        return self.oid.removesuffix(".dir")


def outputs(tree: Tree) -> list[Output]:
    """The outputs that DVC stores, by a tree's dvc.lock and dvc.yaml."""
    declared, locked = tree.declared(), tree.locked()
    if not (declared and locked):
        missing = "dvc.lock" if declared else "dvc.yaml"
        raise InputError(
            f"{missing} does not exist, or has no stages, so the expected outputs are unknown"
        )
    in_git = {
        path
        for stage in declared.values()
        for path, options in stage.outputs.items()
        if not options.cache
    }
    return [
        stored_output(name, entry, "dvc.lock")
        for name, stage in locked.items()
        for entry in stage.outs
        if entry.path not in in_git
    ]


def stored_output(stage: str, entry: Entry, origin: str) -> Output:
    """An output that DVC stores; raises `InputError` if the entry has no MD5."""
    if entry.md5 is None or not re.fullmatch(dvc_files.MD5, entry.md5):
        raise InputError(f"{origin}: {entry.path} has the md5 {entry.md5}; expected 32 hex digits")
    return Output(entry.path, stage, entry.md5, entry.size)


@contextmanager
def stores() -> Iterator[tuple[Store, Store | None]]:
    """The cache, and the remote if there is one; raises `Unreachable` if DVC can't open them.

    The placeholder in .dvc/config counts as none.
    """
    from dvc.repo import Repo

    omit_checksums()
    with ExitStack() as stack:
        with _reached("DVC's cache or its remote"):
            repo = stack.enter_context(usable(Repo))
            remote = repo.cloud.get_remote_odb() if has_remote(repo.config) else None
        yield repo.cache.local, remote


@contextmanager
def _reached(name: str) -> Iterator[None]:
    """Raise `Unreachable` for an error of a store, in a block that does nothing else."""
    from aiohttp import ClientError
    from botocore.exceptions import BotoCoreError
    from dvc.exceptions import DvcException

    try:
        yield
    except (DvcException, BotoCoreError, ClientError, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL_DISK:
            raise
        raise Unreachable(
            f"{name} can't be read or written: {error.__cause__ or error}. Which remote: dvc "
            f"remote list"
        ) from error


def exists(store: Store, oid: str) -> bool:
    """Whether a store has an object; it may be damaged."""
    with _reached(store.path):
        present: bool = store.fs.exists(store.oid_to_path(oid))
        return present


def digest(store: Store, oid: str) -> tuple[str, int] | None:
    """MD5 and size of an object as it is stored; None if it is missing."""
    md5, size = hashlib.md5(), 0
    with _reached(store.path):
        try:
            with store.fs.open(store.oid_to_path(oid), "rb") as file:
                while chunk := file.read(CHUNK):
                    md5.update(chunk)
                    size += len(chunk)
        except FileNotFoundError:
            return None
    return md5.hexdigest(), size


def content(store: Store, oid: str) -> bytes | None:
    """An object's content; None if it is missing or damaged."""
    with _reached(store.path):
        try:
            with store.fs.open(store.oid_to_path(oid), "rb") as file:
                data: bytes = file.read()
        except FileNotFoundError:
            return None
    return data if hashlib.md5(data).hexdigest() == oid.removesuffix(".dir") else None


def list_folder(output: Output) -> bytes | None:
    """A folder's object, from its files in the working tree; None if they differ from it."""
    listed = disk.list_folder(Path(output.path))
    return listed if hashlib.md5(listed).hexdigest() == output.md5 else None


def repair(target: Store, output: Output, sources: Iterable[Store]) -> bool:
    """Replace a missing or damaged object by a whole copy. Returns False without such a copy.

    The copy is hashed before it is stored, and again afterwards. The working tree is the last
    source.
    """
    oid = output.oid
    with tempfile.TemporaryDirectory(prefix="repair-") as folder:
        copy = Path(folder, "copy")
        for source in sources:
            with _reached(source.path):
                source.fs.get_file(source.oid_to_path(oid), str(copy))
            if disk.digest(copy) == output.md5:
                break
        else:
            if not copy_from_working_tree(output, copy):
                return False
        path = target.oid_to_path(oid)
        with _reached(target.path):
            target.fs.put_file(str(copy), path)
            target.protect(path)
    stored = digest(target, oid)
    return stored is not None and stored[0] == output.md5


def copy_from_working_tree(output: Output, copy: Path) -> bool:
    """Copy an output from the working tree. Returns False if the working tree lacks it."""
    if output.oid.endswith(".dir"):
        listed = list_folder(output)
        copy.write_bytes(listed or b"")
        return listed is not None
    if not Path(output.path).is_file():
        return False
    shutil.copyfile(output.path, copy)
    return disk.digest(copy) == output.oid


def remove(store: Store, oid: str) -> None:
    with _reached(store.path):
        store.fs.remove(store.oid_to_path(oid))


def read_folder(store: Store, output: Output) -> dict[str, bytes]:
    """The contents of a folder's files; raises `InputError` if one is missing or damaged."""
    folder = content(store, output.oid)
    if folder is None:
        raise InputError(f"{output.path} is missing or damaged in {store.path}")
    contents = {}
    for path, oid in dvc_files.parse_folder(folder, f"the list of files in {output.path}").items():
        data = content(store, oid)
        if data is None:
            raise InputError(f"{output.path}/{path} is missing or damaged in {store.path}")
        contents[path] = data
    return contents
