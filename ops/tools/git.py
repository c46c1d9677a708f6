"""What the commands ask of Git. Nothing here changes the working tree."""

import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from digits.core.errors import InputError


def run(*words: str | Path, folder: str | Path = ".", stdin: str | None = None) -> str:
    """A git command's output; raises `InputError` with git's own words when it fails."""
    found = subprocess.run(["git", *words], cwd=folder, input=stdin, capture_output=True, text=True)
    if found.returncode:
        raise InputError(f"git {' '.join(map(str, words))}: {found.stderr.strip()}")
    return found.stdout.strip()


def commit(rev: str) -> str:
    """The commit that a revision names; raises `InputError` when there is none."""
    found = find_commit(rev)
    if found is None:
        raise InputError(f"{rev!r} is no revision of this repository")
    return found


def find_commit(rev: str) -> str | None:
    """The commit that a revision names, or else a DVC experiment: HEAD's, or the newest."""
    words = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}"]
    found = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    return found or experiments().get(rev) or experiments(of_all=True).get(rev)


def experiments(of: str = "HEAD", *, of_all: bool = False) -> dict[str, str]:
    """The commit of each DVC experiment of a revision, by name; of all, the newest so called."""
    words = ["git", "rev-parse", "--verify", "--quiet", of]
    base = subprocess.run(words, capture_output=True, text=True).stdout.strip()
    if not base:
        return {}
    refs = f"refs/exps/{'*/*' if of_all else f'{base[:2]}/{base[2:]}'}/*"
    form = "--format=%(objectname) %(refname:lstrip=4)"
    listing = run("for-each-ref", "--sort=committerdate", form, refs)
    return {name: commit for commit, name in map(str.split, listing.splitlines())}


def setting(key: str) -> str | None:
    """A value of Git's own configuration, or None."""
    found = subprocess.run(["git", "config", key], capture_output=True, text=True)
    return found.stdout.strip() or None


def clone(commit: str, folder: Path) -> None:
    """Check a commit of this repository out into a new folder."""
    run("clone", "--quiet", "--no-checkout", run("rev-parse", "--show-toplevel"), folder)
    run("checkout", "--quiet", "--detach", commit, folder=folder)


def read(commit: str, path: str) -> bytes | None:
    """A file's content in a commit, or None."""
    words = ["git", "cat-file", "blob", f"{commit}:./{path}"]  # the project may be a subfolder
    found = subprocess.run(words, capture_output=True)
    return found.stdout if found.returncode == 0 else None


def read_all(commit: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The contents of files that a commit has, by their paths, with one call of Git."""
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
    """The files that a commit has under a path, or the path itself if it is a file."""
    listing = run("ls-tree", "-r", "-z", "--name-only", commit, path)
    return [name for name in listing.split("\0") if name]


def paths_here(path: str) -> list[str]:
    """As `paths`, of the working tree: the files that Git tracks, or would by `git add`."""
    listing = run("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", path)
    return sorted({name for name in listing.split("\0") if name and Path(name).is_file()})


def require_history() -> None:
    """Raises `InputError` in a shallow clone: its history is cut off."""
    if run("rev-parse", "--is-shallow-repository") == "true":
        raise InputError("this clone is shallow: its history is cut off. git fetch --unshallow")
