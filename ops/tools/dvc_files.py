"""Read dvc.yaml, dvc.lock and .dvc files. Each value is checked here, so that no other module does.

Each function raises `InputError` if a key is missing or has another type; the message names the key
and the file.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from digits.core.errors import InputError
from digits.core.params import Params, parse_yaml

MD5 = r"^[0-9a-f]{32}(\.dir)?$"
# Paths in DVC's cache: of an object, and of an entry of the run cache.
OBJECT_PATH = re.compile(r"files/md5/([0-9a-f]{2})/([0-9a-f]{30}(?:\.dir)?)")
RUN_PATH = re.compile(r"runs/[0-9a-f]{2}/[0-9a-f]{64}/[0-9a-f]{64}")


def _one_text(command: Any) -> Any:
    """A command, which DVC also takes as a list of commands."""
    is_list = isinstance(command, tuple) and all(isinstance(line, str) for line in command)
    return " ".join(command) if is_list else command


def _with_options(outputs: Any) -> Any:
    """An output is a path, or a path and its options; return them by path."""
    if not isinstance(outputs, tuple):
        return outputs
    by_path: dict[Any, Any] = {}
    for item in outputs:
        if not isinstance(item, str | dict):
            return outputs
        by_path |= {item: {}} if isinstance(item, str) else {k: v or {} for k, v in item.items()}
    return by_path


class _Part(Params):
    """A part of a file of DVC; other keys are ignored."""

    model_config = ConfigDict(extra="ignore")


# As a file system takes it; others would be errors wherever the path is used.
Named = Annotated[str, Field(pattern=r"^[^\x00]+$")]


class Entry(_Part):
    """A path in dvc.lock; `md5` is None if DVC does not store it by MD5."""

    path: Named
    md5: str | None = None
    size: int | None = None  # bytes; of a folder, of all its files


class Locked(_Part):
    """A stage in dvc.lock; `params` has the values by file and name."""

    cmd: Annotated[str, BeforeValidator(_one_text)] = ""
    deps: tuple[Entry, ...] = ()
    outs: tuple[Entry, ...] = ()
    params: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Options(_Part):
    """The options of an output in dvc.yaml."""

    cache: bool = True


Outputs = Annotated[dict[Named, Options], BeforeValidator(_with_options)]


class Declared(_Part):
    """A stage in dvc.yaml."""

    cmd: Annotated[str, BeforeValidator(_one_text)] = ""
    deps: tuple[Named, ...] = ()
    params: tuple[str, ...] = ()
    outs: Outputs = Field(default_factory=dict)
    metrics: Outputs = Field(default_factory=dict)
    plots: Outputs = Field(default_factory=dict)

    @property
    def outputs(self) -> dict[str, Options]:
        """The options of each output, plots and metrics included, by path."""
        return {**self.outs, **self.metrics, **self.plots}


class _Lock(_Part):
    stages: dict[str, Locked]


class _Pipeline(_Part):
    stages: dict[str, Declared]


class _Pointed(_Part):
    md5: str


class _Pointer(_Part):
    outs: Annotated[tuple[_Pointed, ...], Field(min_length=1)]


class ListedFile(_Part):
    """A file in the list of a folder's files, as DVC stores it."""

    md5: Annotated[str, Field(pattern=MD5)]
    relpath: str


class _FolderList(_Part):
    files: tuple[ListedFile, ...]


class CachedRun(_Part):
    """An entry of DVC's run cache."""

    cmd: Annotated[str, BeforeValidator(_one_text)]
    outs: tuple[Entry, ...] = ()


@lru_cache(maxsize=16)  # several questions to one commit read the same file
def parse_lock(content: bytes, origin: str = "dvc.lock") -> dict[str, Locked]:
    """The stages of a dvc.lock, by name."""
    return _Lock.parse(parse_yaml(content, origin), origin).stages


@lru_cache(maxsize=16)
def parse_pipeline(content: bytes, origin: str = "dvc.yaml") -> dict[str, Declared]:
    """The stages of a dvc.yaml, by name."""
    return _Pipeline.parse(parse_yaml(content, origin), origin).stages


def parse_pointer(content: bytes, origin: str) -> str:
    """The digest in a file NAME.dvc."""
    return _Pointer.parse(parse_yaml(content, origin), origin).outs[0].md5


def parse_run(content: bytes, origin: str) -> CachedRun:
    """An entry of DVC's run cache."""
    return CachedRun.parse(parse_yaml(content, origin), origin)


def parse_folder(content: bytes, origin: str) -> Mapping[str, str]:
    """The MD5 of each file in a folder, by path, from the list that DVC stores."""
    try:
        files = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{origin} is not JSON: {error}") from None
    return {file.relpath: file.md5 for file in _FolderList.parse({"files": files}, origin).files}


def list_of_files(digests: Mapping[str, str]) -> bytes:
    """A folder's object in DVC's cache, from the MD5 of each file by its path in the folder."""
    files = [{"md5": md5, "relpath": path} for path, md5 in sorted(digests.items())]
    return json.dumps(files).encode()
