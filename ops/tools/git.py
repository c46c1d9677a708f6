"""Ask Git. Nothing here changes the working tree."""

import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from digits.core.errors import InputError


def run(*words: str | Path, folder: str | Path = ".", stdin: str | None = None) -> str:
    """Run git and return its output; raises `InputError` with its message if it fails."""
    git = ["git", *words]
    result = subprocess.run(git, cwd=folder, input=stdin, capture_output=True, text=True)
    if result.returncode:
        raise InputError(f"git {' '.join(map(str, words))}: {result.stderr.strip()}")
    return result.stdout.strip()


def commit(rev: str) -> str:
    """The commit that a revision names; raises `InputError` if there is none."""
    commit = find_commit(rev)
    if commit is None:
        raise InputError(f"{rev!r} is not a revision of this repository")
    return commit


def find_commit(rev: str) -> str | None:
    """The commit of a revision, or of a DVC experiment: HEAD's, or else the newest."""
    words = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"]
    commit = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    return commit or experiments().get(rev) or experiments(of_all=True).get(rev)


def experiments(of: str = "HEAD", *, of_all: bool = False) -> dict[str, str]:
    """The commit of each DVC experiment by name: those of a revision, or the newest of all."""
    words = ["git", "rev-parse", "--verify", "--quiet", of]
    base = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    if not base:
        return {}
    refs = f"refs/exps/{'*/*' if of_all else f'{base[:2]}/{base[2:]}'}/*"
    form = "--format=%(objectname) %(refname:lstrip=4)"
    listing = run("for-each-ref", "--sort=committerdate", form, refs)
    return {name: commit for commit, name in map(str.split, listing.splitlines())}


def setting(key: str) -> str | None:
    """A value of Git's configuration, or None."""
    result = subprocess.run(["git", "config", key], capture_output=True, text=True)
    return result.stdout.strip() or None


def clone(commit: str, folder: Path) -> None:
    """Clone this repository into a new folder, and check out a commit."""
    run("clone", "--quiet", "--no-checkout", run("rev-parse", "--show-toplevel"), folder)
    run("checkout", "--quiet", "--detach", commit, folder=folder)


def read(commit: str, path: str) -> bytes | None:
    """A file's content in a commit; None if the commit lacks it."""
    words = ["git", "cat-file", "blob", f"{commit}:./{path}"]  # the project may be a subfolder
    result = subprocess.run(words, capture_output=True)
    return result.stdout if result.returncode == 0 else None


def read_all(commit: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The contents of files in a commit, by path. One call of git, however many files."""
    names = "".join(f"{commit}:./{path}\n" for path in paths).encode()
    words = ["git", "cat-file", "--batch"]
    output = BytesIO(subprocess.run(words, input=names, capture_output=True, check=True).stdout)
    contents = {}
    for path in paths:
        size = int(output.readline().split()[2])
        contents[path] = output.read(size)
        output.read(1)  # a newline
    return contents


def paths(commit: str, path: str) -> list[str]:
    """The files of a commit under a folder; or the path itself if it is a file."""
    listing = run("ls-tree", "-r", "-z", "--name-only", commit, path)
    return [name for name in listing.split("\0") if name]


def paths_here(path: str) -> list[str]:
    """As `paths`, for the working tree: the files that Git tracks or does not ignore."""
    listing = run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", path)
    return sorted({name for name in listing.split("\0") if name and Path(name).is_file()})


def require_history() -> None:
    """Raises `InputError` in a shallow clone, which lacks a part of the history."""
    if run("rev-parse", "--is-shallow-repository") == "true":
        raise InputError("this clone is shallow, so history is missing. git fetch --unshallow")
