"""The data set of a revision: which one dvc.lock names, where its images are, what came before."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from digits.core.errors import InputError
from digits.data.difference import Prepared
from ops.tools import disk, dvc, git
from ops.tools.dvc import DATA
from ops.tools.revisions import LOCK
from ops.tools.tree import WORKING_TREE, Tree


@dataclass(frozen=True)
class DataRevision:
    """The prepared data of a revision.

    name : how messages call the revision
    commit : None for the working tree
    digest : DVC's, of data/prepared, as in this revision's dvc.lock
    """

    name: str
    commit: str | None
    digest: str


def find(rev: str) -> DataRevision:
    """The data of a revision or an experiment; raises `InputError` if its dvc.lock names none."""
    return _revision(rev, git.commit(rev))


def here() -> DataRevision:
    """The data of the working tree; raises `InputError` if dvc.lock names none."""
    return _revision("the working tree", None)


def of(tree: Tree) -> DataRevision:
    """The data of a commit or the working tree; raises `InputError` if dvc.lock names none."""
    return _revision(tree.commit[:9], tree.commit) if tree.commit else here()


def find_before(revision: DataRevision) -> DataRevision | None:
    """The newest commit, of the revision or before it, whose dvc.lock names other data, or None."""
    last = revision.commit or "HEAD"
    # Only commits that change how often dvc.lock has the digest can have brought it in.
    changed = git.lines("log", "--format=%H", f"-S{revision.digest}", last, "--", LOCK)
    parents = (git.find_commit(f"{commit}~") for commit in changed)
    for commit in (git.commit(last), *filter(None, parents)):
        if _digest_in_commit(commit) not in (None, revision.digest):
            return _revision(commit[:9], commit)
    return None


def load(revision: DataRevision, *, from_remote: bool = True) -> Prepared:
    """Read the images of a revision: from the working tree, DVC's cache, or its remote.

    Parameters
    ----------
    revision : by `find` or `here`
    from_remote : if neither the working tree nor the cache has them, ask the remote

    Raises `InputError` if the images are in none of these places.
    """
    if disk.digest(DATA) == revision.digest:
        return Prepared.load(Path(DATA))
    with tempfile.TemporaryDirectory(prefix="data-") as temporary:
        folder = Path(temporary, "prepared")
        if cached := dvc.cached_files(revision.digest):
            for name, path in cached.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(path)
        elif not from_remote:
            raise InputError(
                f"the images of {revision.name} are not in DVC's cache. Fetch them: dvc fetch "
                f"--all-commits {DATA}"
            )
        elif revision.commit or _digest_in_commit(git.commit("HEAD")) == revision.digest:
            try:
                dvc.fetch_committed(revision.commit or git.commit("HEAD"), DATA, folder)
            except InputError as error:
                raise InputError(
                    f"{error}. With access to the remote: dvc fetch --all-commits {DATA}"
                ) from None
        else:
            raise InputError(
                f"{DATA} is not the data that {LOCK} names, and neither the cache nor a commit has "
                f"it. Run: dvc repro prepare"
            )
        return Prepared.load(folder)


def _revision(name: str, commit: str | None) -> DataRevision:
    digest = _digest_in_commit(commit) if commit else _digest(WORKING_TREE)
    if digest is None:
        raise InputError(f"{LOCK} of {name} names no {DATA}. Run: dvc repro prepare")
    return DataRevision(name, commit, digest)


@cache
def _digest_in_commit(commit: str) -> str | None:
    return _digest(Tree(commit))


def _digest(tree: Tree) -> str | None:
    outs = (out for stage in tree.locked().values() for out in stage.outs)
    return next((out.md5 for out in outs if out.path == DATA), None)
