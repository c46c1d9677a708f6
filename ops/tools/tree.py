"""Read the files of a commit, or of the working tree, in the same way."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.tools import dvc, dvc_files, git


@dataclass(frozen=True)
class Tree:
    """The files of a commit, or of the working tree if `commit` is None."""

    commit: str | None

    def read(self, path: str) -> bytes | None:
        """A file's content; None if there is no such file."""
        if self.commit:
            return git.read(self.commit, path)
        return Path(path).read_bytes() if Path(path).is_file() else None

    def files(self, path: str) -> Mapping[str, bytes]:
        """The content of a file, or of each file below a folder that Git does not ignore."""
        if self.commit:
            return git.read_all(self.commit, git.paths(self.commit, path))
        return {name: Path(name).read_bytes() for name in git.paths_here(path)}

    def digest(self, path: str) -> str | None:
        """DVC's digest of a file or a folder; None if the tree has neither.

        If the path is under DVC, the file `NAME.dvc` holds its digest. A folder's digest is the MD5
        of the list of its files. If a folder inside of it is under DVC, the cache must have the
        list of that one.
        """
        pointer = f"{path}.dvc"
        if (content := self.read(pointer)) is not None:
            return dvc_files.parse_pointer(content, pointer)
        digests: dict[str, str] = {}
        for name, content in self.files(path).items():
            digests[name] = hashlib.md5(content).hexdigest()
            if name.endswith(".dvc"):
                digest = dvc_files.parse_pointer(content, name)
                digests |= _files_of(name.removesuffix(".dvc"), digest)
        if path in digests:
            return digests[path]
        return f"{_folder_digest(path, digests)}.dir" if digests else None


WORKING_TREE = Tree(None)


def _files_of(path: str, digest: str) -> dict[str, str]:
    """The digests of the files of a path under DVC; empty if the cache lacks their list."""
    if not digest.endswith(".dir"):
        return {path: digest}
    files = dvc_files.parse_folder(dvc.cached(digest) or b"[]", f"the list of files in {path}")
    return {f"{path}/{name}": md5 for name, md5 in files.items()}


def _folder_digest(folder: str, digests: Mapping[str, str]) -> str:
    entries = [
        {"md5": md5, "relpath": Path(name).relative_to(folder).as_posix()}
        for name, md5 in digests.items()
    ]
    return hashlib.md5(list_of_files(entries)).hexdigest()


def list_of_files(entries: list[dict[str, str]]) -> bytes:
    """A folder's object in DVC's cache: its files with `md5` and `relpath`, in order of path."""
    ordered = sorted(entries, key=lambda entry: entry["relpath"])
    return json.dumps(ordered, sort_keys=True).encode()
