"""Read the files of a commit, or of the working tree, in the same way."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from digits.core.errors import InputError
from ops.tools import dvc, dvc_files, git
from ops.tools.dvc_files import Declared, Locked


@dataclass(frozen=True)
class Tree:
    """The files of a commit, or of the working tree if `commit` is None."""

    commit: str | None

    def read(self, path: str) -> bytes | None:
        """A file's content; None if there is no such file."""
        if self.commit:
            return git.read(self.commit, path)
        return Path(path).read_bytes() if os.path.isfile(path) else None

    def has(self, path: str) -> bool:
        """Whether there is a file of this path."""
        return path in self.paths(path) if self.commit else os.path.isfile(path)

    def declared(self) -> dict[str, Declared]:
        """The stages of dvc.yaml, by name; none if there is no such file."""
        content = self.read("dvc.yaml")
        return {} if content is None else dvc_files.parse_pipeline(content)

    def locked(self) -> dict[str, Locked]:
        """The stages of dvc.lock, by name; none if there is no such file."""
        content = self.read("dvc.lock")
        return {} if content is None else dvc_files.parse_lock(content)

    def paths(self, path: str) -> list[str]:
        """The file of this path, or the files below the folder that Git does not ignore."""
        return git.paths(self.commit, path) if self.commit else git.paths_here(path)

    def files(self, path: str) -> Mapping[str, bytes]:
        """The content of a file, or of each file below a folder that Git does not ignore."""
        return self.read_all(self.paths(path))

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """The contents of files by path, without those that do not exist."""
        if self.commit:
            return git.read_all(self.commit, paths)
        contents = ((path, self.read(path)) for path in paths)
        return {path: content for path, content in contents if content is not None}

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
        inside = {Path(name).relative_to(path).as_posix(): md5 for name, md5 in digests.items()}
        listed = dvc_files.list_of_files(inside)
        return f"{hashlib.md5(listed).hexdigest()}.dir" if digests else None


WORKING_TREE = Tree(None)


@dataclass(frozen=True)
class ListedTree(Tree):
    """The working tree, where the files of many folders are wanted at one time."""

    commit: None = None

    def paths(self, path: str) -> list[str]:
        if not git.is_inside(path):
            return super().paths(path)
        return [name for name in git.below(self.names, path) if os.path.isfile(name)]

    @cached_property
    def names(self) -> Sequence[str]:
        return git.names_here()


class Contents:
    """Reads files by the names of their objects in Git, each of them once."""

    def __init__(self, objects: git.Objects) -> None:
        self._objects = objects
        self._kept: dict[str, bytes] = {}

    def read(self, name: str) -> bytes:
        if name not in self._kept:
            content = self._objects.read(name)
            if content is None:
                raise InputError(f"{name} can't be read from Git. Run: git fsck")
            self._kept[name] = content
        return self._kept[name]


@dataclass(frozen=True)
class KeptTree(Tree):
    """The files of a commit, where many commits are read that have most files in common."""

    contents: Contents = field(compare=False)

    def read(self, path: str) -> bytes | None:
        name = self.names.get(path)
        return self.contents.read(name) if name else None

    def paths(self, path: str) -> list[str]:
        return git.below(self.names, path)

    def read_all(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        return {name: self.contents.read(self.names[name]) for name in paths if name in self.names}

    @cached_property
    def names(self) -> Mapping[str, str]:
        """Git's name for each file's content, by path."""
        assert self.commit
        entries = (e.partition("\t") for e in git.names("ls-tree", "-r", "-z", self.commit))
        kinds = ((*head.split(), path) for head, _, path in entries)
        return {path: name for _, kind, name, path in kinds if kind == "blob"}


@contextmanager
def kept(tree: Tree) -> Iterator[Tree]:
    """The same tree, to ask much of it at one time: Git lists and reads all in two processes."""
    if not tree.commit:
        yield ListedTree()
    elif isinstance(tree, KeptTree):
        yield tree
    else:
        with git.Objects() as objects:
            yield KeptTree(tree.commit, Contents(objects))


def _files_of(path: str, digest: str) -> dict[str, str]:
    """The digests of the files of a path under DVC; empty if the cache lacks their list."""
    if not digest.endswith(".dir"):
        return {path: digest}
    files = dvc_files.parse_folder(dvc.cached(digest) or b"[]", f"the list of files in {path}")
    return {f"{path}/{name}": md5 for name, md5 in files.items()}
