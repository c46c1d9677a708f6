"""The faults of a store, and those of the caller, which are other ones."""

import errno
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from digits.core.errors import Unreachable
from ops.tools import object_store
from ops.tools.object_store import Output
from tests.helpers.project import Project

OID = "0" * 32


class Failing:
    """A store each of whose operations raises an error."""

    path = "s3://bucket"

    def __init__(self, error: OSError) -> None:
        self.error = error

    @property
    def fs(self) -> Any:
        raise self.error

    def oid_to_path(self, oid: str) -> str:
        return oid

    def protect(self, path: str) -> None:
        raise self.error


class InFolder:
    """A store in a folder, of these objects."""

    fs = LocalFileSystem()

    def __init__(self, folder: Path, objects: Mapping[str, bytes]) -> None:
        self.path = str(folder)
        folder.mkdir()
        for oid, content in objects.items():
            (folder / oid).write_bytes(content)

    def oid_to_path(self, oid: str) -> str:
        return f"{self.path}/{oid}"

    def protect(self, path: str) -> None:
        pass


def test_a_copy_that_is_damaged_on_its_way_is_not_stored(tmp_path: Path) -> None:
    oid = hashlib.md5(b"whole").hexdigest()
    contents = {"target": b"half", "first": b"damaged", "second": b"whole"}
    target, *sources = (InFolder(tmp_path / name, {oid: each}) for name, each in contents.items())
    output = Output(str(tmp_path / "nothing"), "train", oid)
    assert not object_store.repair(target, output, sources[:1])
    assert object_store.digest(target, oid) == (hashlib.md5(b"half").hexdigest(), 4)
    assert object_store.repair(target, output, sources)
    assert object_store.content(target, oid) == b"whole"


def test_a_store_that_fails_is_named() -> None:
    store = Failing(PermissionError(errno.EACCES, "denied"))
    for ask in (object_store.digest, object_store.content, object_store.exists):
        with pytest.raises(Unreachable, match=r"s3://bucket can't be read or written: .*denied"):
            ask(store, OID)
    with pytest.raises(Unreachable, match="s3://bucket"):
        object_store.remove(store, OID)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_not_an_unreachable_store(number: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    output = Output(str(tmp_path / "file"), "train", "d41d8cd98f00b204e9800998ecf8427e")
    with pytest.raises(OSError, match="full"):
        object_store.repair(Failing(OSError(number, "full")), output, [])


@pytest.mark.slow(4)
@pytest.mark.parametrize("error", [BrokenPipeError(), PermissionError(errno.EACCES, "denied", "x")])
def test_an_error_of_the_caller_is_not_one_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    project = Project.scratch(tmp_path / "project")
    monkeypatch.chdir(project.folder)

    def fail() -> None:
        with object_store.stores():
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
