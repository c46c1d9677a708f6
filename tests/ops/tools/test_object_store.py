"""The faults of a store, and those of the caller, which are other ones."""

import errno
from pathlib import Path
from typing import Any

import pytest

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
