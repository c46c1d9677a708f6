"""Read the metrics of the runs in a folder or in a commit."""

import hashlib
from pathlib import Path

from digits.core.errors import InputError
from digits.core.params import parse_yaml
from digits.gate import results
from digits.gate.results import Run
from ops.tools import git
from ops.tools.tree import Tree

METRICS = "metrics"
RUN = "/evaluation.json"
FILES = ("evaluation.json", "errors.csv", "data.json", "train.json")
PARAMS = "params.yaml"
LOCK = "dvc.lock"


def runs_in_folder(folder: Path) -> list[Run]:
    """The run in a folder, then those in its subfolders, which have other seeds."""
    folders = sorted(path.parent for path in folder.glob("*/evaluation.json"))
    if (folder / "evaluation.json").exists() or not folders:
        folders.insert(0, folder)
    return [
        results.parse(
            str(run),
            {name: (run / name).read_bytes() for name in FILES if (run / name).is_file()},
        )
        for run in folders
    ]


def runs_in_commit(commit: str, name: str) -> list[Run]:
    """As `runs_in_folder`, for a commit; messages call the commit `name`."""
    paths = set(git.paths(commit, METRICS))
    folders = sorted(path.removesuffix(RUN) for path in paths if path.endswith(RUN))
    if not folders:
        raise InputError(
            f"{name} has no {METRICS}{RUN} to compare with. If this is the first model, add --first"
        )
    return [
        results.parse(
            f"{name}:{folder}",
            {
                file: git.read(commit, path) or b""
                for file in FILES
                if (path := f"{folder}/{file}") in paths
            },
        )
        for folder in folders
    ]


def check_lock(tree: Tree) -> None:
    """Raises `InputError` if the files in metrics/ are not those that dvc.lock names."""
    lock = tree.read(LOCK)
    if lock is None:
        raise InputError(
            f"{LOCK} does not exist, so the origin of {METRICS}/ is unknown. Run: dvc repro"
        )
    locked = {
        out["path"]: out["md5"]
        for stage in parse_yaml(lock, LOCK)["stages"].values()
        for out in stage["outs"]
    }
    for name in FILES:
        file = f"{METRICS}/{name}"
        content = tree.read(file)
        digest = None if content is None else hashlib.md5(content).hexdigest()
        if digest != locked.get(file):
            raise InputError(f"{file} is not the file that {LOCK} names. Run: dvc repro")


def count_looks(test_set: str, rev: str = "HEAD") -> int:
    """How many commits changed the metrics on this test set; each counts as a look at it."""
    path = f"{METRICS}{RUN}"
    commits = git.run("log", "--format=%H", rev, "--", path).split()
    return max(1, sum(test_set.encode() in (git.read(c, path) or b"") for c in commits))
