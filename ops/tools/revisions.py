"""Read the metrics of the runs in a folder or in a commit."""

import csv
import hashlib
import io
import math
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from digits.core.errors import InputError
from digits.core.params import as_text, changes, flat
from digits.gate import results
from digits.gate.results import Run
from ops.tools import dvc_files, git
from ops.tools.tree import WORKING_TREE, Tree

Rows = list[dict[str, float]]

METRICS = "metrics"
EVALUATION = f"{METRICS}/evaluation.json"
FILES = ("evaluation.json", "errors.csv", "data.json", "train.json")
PARAMS = "params.yaml"
LOCK = "dvc.lock"
SEED = "train.seed"
LARGEST = 100 * 10**6  # bytes of a metrics file
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe"}


def runs_in_folder(folder: Path) -> list[Run]:
    """The run in a folder, then those in its subfolders, which have other seeds.

    Raises `InputError` if a run is malformed, a metrics file is not a regular file, or a file
    changes while the folder is read.
    """
    folders = run_folders(folder)
    if not any(states(folders[0]).values()):
        raise InputError(
            f"{folder} has no {' and no '.join(FILES[:2])}; expected a folder as {METRICS}/ is"
        )
    return [results.parse(str(run), read_files(run)) for run in folders]


def run_folders(folder: Path) -> list[Path]:
    """A folder and its subfolders, those that have a metrics file; else the folder alone."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        entries = []  # the messages of `read_files` and `results.parse` say what is missing
    folders = [path for path in [folder, *entries] if path.is_dir() and any(states(path).values())]
    for path in folders[1:]:
        if path.is_symlink():
            raise InputError(f"{path} is a symbolic link; expected a folder")
    return folders or [folder]


def read_files(folder: Path) -> dict[str, bytes]:
    """Read each metrics file of a run once."""
    before = states(folder)
    contents = {name: read_file(folder / name) for name, state in before.items() if state}
    after = states(folder)
    for name in FILES:
        if before[name] != after[name]:
            raise InputError(
                f"{folder / name} changed while it was read. Wait until the pipeline has ended, "
                f"then run the command again"
            )
    return contents


def states(folder: Path) -> dict[str, tuple[int, ...] | None]:
    """For each metrics file, values that change when it is written; None if there is no file."""
    found: dict[str, tuple[int, ...] | None] = dict.fromkeys(FILES)
    for name in FILES:
        try:
            s = os.lstat(folder / name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"{folder / name} can't be read: {error.strerror}") from None
        found[name] = (s.st_mode, s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    return found


def read_file(path: Path) -> bytes:
    """Read a regular file; not a link, since Git would keep its target's name as the content."""
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            raise InputError(
                f"{path} is {KINDS.get(stat.S_IFMT(mode), 'no file')}; expected a file"
            )
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise InputError(f"{path} has more than {LARGEST:,} bytes, so it is not a metrics file")
    return content


def runs_in_tree(tree: Tree, name: str) -> list[Run]:
    """As `runs_in_folder`, for a commit's files; messages call the commit `name`.

    Further runs that differ from the first one in more than the seed are left out.
    """
    folders: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path, content in tree.read_all(_run_files(tree)).items():
        folder, _, file = path.rpartition("/")
        folders[folder][file] = content
    for folder in differing_runs(tree, folders):
        del folders[folder]
    if not folders:
        raise InputError(
            f"{name} has no {EVALUATION} to compare with. If this is the first model: --first in "
            f"place of --base"
        )
    return [results.parse(f"{name}:{folder}", folders[folder]) for folder in sorted(folders)]


def _run_files(tree: Tree) -> list[str]:
    return [p for p in tree.paths(METRICS) if Path(p).name in FILES and p.count("/") <= 2]


def run_in_commit(objects: git.Objects, commit: str, name: str) -> Run:
    """The run in metrics/ of a commit, without those of other seeds; fast for many commits."""
    contents = {file: objects.read(f"{commit}:./{METRICS}/{file}") for file in FILES}
    files = {file: content for file, content in contents.items() if content is not None}
    return results.parse(f"{name}:{METRICS}", files)


def runs_here() -> list[Run]:
    """The runs in metrics/, where dvc.lock must name the files of the first; reads each file once.

    Raises `InputError` as `runs_in_folder`, `check_lock` and `check_further_runs`.
    """
    contents = {run: read_files(run) for run in run_folders(Path(METRICS))}
    compare_with_lock(WORKING_TREE.read(LOCK), contents.get(Path(METRICS), {}))
    check_further_runs(WORKING_TREE, map(str, contents))
    return [results.parse(str(run), files) for run, files in contents.items()]


def differing_runs(tree: Tree, folders: Iterable[str]) -> dict[str, str]:
    """Those of the folders whose run differs from that in metrics/ in more than the seed, and how.

    A further run's folder has its dvc.lock, which `digits experiment` writes.
    """
    further = sorted(set(folders) - {METRICS})
    if not further:
        return {}
    locks = tree.read_all([LOCK, *(f"{folder}/{LOCK}" for folder in further)])
    first = _inputs(locks, LOCK)
    found = {}
    for folder in further:
        path = f"{folder}/{LOCK}"
        if path not in locks:
            found[folder] = f"it has no {LOCK} to compare"
        elif difference := _difference(first, _inputs(locks, path)):
            found[folder] = difference
    return found


def check_same_inputs(tree: Tree, other: Tree, name: str) -> None:
    """Raises `InputError` if another commit's run differs from a commit's in more than the seed."""
    here, there = (_inputs(each.read_all([LOCK]), LOCK) for each in (tree, other))
    if difference := _difference(here, there):
        raise InputError(
            f"{name} is no further seed of the first revision: {difference}. Name runs of the same "
            f"parameters, code and data, or one revision"
        )


def _difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> str | None:
    """The first difference between two runs' inputs, in words; None if there is none."""
    for name, (ours, theirs) in changes(here, there).items():
        if name.startswith("the "):
            return f"{name} differs"
        return f"{name} is {as_text(theirs)} there, and {as_text(ours)} here"
    return None


def _inputs(locks: Mapping[str, bytes], path: str) -> dict[str, Any]:
    """What decides a run's results, but for the seed of its training; by name."""
    stages = dvc_files.parse_lock(locks[path], path) if path in locks else {}
    made = tuple(f"{out.path}/" for stage in stages.values() for out in stage.outs)
    found: dict[str, Any] = {}
    for name, stage in stages.items():
        deps = (dep for dep in stage.deps if not f"{dep.path}/".startswith(made))
        found |= {f"the file {dep.path}": dep.md5 for dep in deps}
        found[f"the command of {name}"] = stage.cmd
        for values in stage.params.values():
            found |= flat(values)
    return {name: value for name, value in found.items() if name != SEED}


def check_further_runs(tree: Tree, folders: Iterable[str] | None = None) -> None:
    """Raises `InputError` if a further run differs from the first one in more than the seed."""
    if folders is None:
        folders = {path.rpartition("/")[0] for path in _run_files(tree)}
    for folder, difference in differing_runs(tree, folders).items():
        raise InputError(
            f"{folder} is not of the same parameters, code and data as {METRICS}/: {difference}. "
            f"Train its seed again: digits experiment --seeds N, or remove it: rm -r {folder}"
        )


def check_lock(tree: Tree) -> None:
    """Raises `InputError` if the files in metrics/ are not those that dvc.lock names."""
    contents = dict(tree.read_all([LOCK, *(f"{METRICS}/{name}" for name in FILES)]))
    lock = contents.pop(LOCK, None)
    compare_with_lock(lock, {Path(path).name: content for path, content in contents.items()})


def compare_with_lock(lock: bytes | None, contents: Mapping[str, bytes]) -> None:
    """Raises `InputError` unless dvc.lock names these files of metrics/, and no others of a run."""
    if lock is None:
        raise InputError(
            f"{LOCK} does not exist, so the origin of {METRICS}/ is unknown. Run: dvc repro"
        )
    try:
        stages = dvc_files.parse_lock(lock).values()
    except InputError as error:
        raise InputError(
            f"{error}. Restore it: git checkout {LOCK}, or run: dvc repro --force"
        ) from None
    locked = {out.path: out.md5 or "none" for stage in stages for out in stage.outs}
    for name in FILES:
        file = f"{METRICS}/{name}"
        digest = hashlib.md5(contents[name]).hexdigest() if name in contents else None
        if digest != locked.get(file):
            problem = "is not the file that" if digest else "is missing; it is a file that"
            raise InputError(f"{file} {problem} {LOCK} names. Run: dvc repro")


def table(tree: Tree, run: Run, name: str) -> Rows:
    """Read a run's plots/NAME.csv; no rows if there is no such file.

    Raises `InputError` if it is not a table of finite numbers.
    """
    folder = run.name.rpartition(":")[2] if tree.commit else run.name
    return read_table(tree, f"{folder}/plots/{name}.csv")


def read_table(tree: Tree, path: str) -> Rows:
    """Read a CSV of numbers, as `table` does."""
    try:
        text = (tree.read(path) or b"").decode()
        rows = [
            {key: float(value) for key, value in row.items()}
            for row in csv.DictReader(io.StringIO(text), strict=True)
        ]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is not a table of numbers: {error}. Run: dvc repro") from None
    if not all(math.isfinite(value) for row in rows for value in row.values()):
        raise InputError(f"{path} holds a number that is not finite. Run: dvc repro")
    return rows


def count_looks(test_set: str, rev: str, *, here: bool = False) -> int:
    """How many commits up to a revision changed the metrics on this test set: the looks at it.

    `here`: the metrics in this folder, if they are not committed, are one more.
    """
    uncommitted = here and bool(git.run("status", "--porcelain", "--", EVALUATION))
    commits = git.lines("log", "--format=%H", rev, "--", EVALUATION)
    with git.Objects() as objects:
        contents = (objects.read(f"{commit}:./{EVALUATION}") or b"" for commit in commits)
        return max(1, sum(test_set.encode() in content for content in contents) + uncommitted)
