"""What a gate judges by: runs, bases and rules, from folders or from Git's objects."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from digits import gate, runs
from digits.errors import InputError
from digits.gate import Rules
from digits.params import Params, parse_yaml
from digits.runs import Run
from ops import git, tags

METRICS = "metrics"
RUN = "/evaluation.json"
FILES = ("evaluation.json", "errors.csv", "data.json", "train.json")
PARAMS = "params.yaml"
LOCK = "dvc.lock"


Reader = Callable[[str], bytes | None]  # a file's content by its path, or None


class GateParams(Params):
    gate: Rules


@dataclass(frozen=True)
class Base:
    """What a candidate is compared with; `commit` is None for a folder."""

    name: str
    commit: str | None
    runs: list[Run]


def runs_in_folder(folder: Path) -> list[Run]:
    """The run in a folder, and those in its subfolders: further seeds."""
    found = sorted(path.parent for path in folder.glob("*/evaluation.json"))
    if (folder / "evaluation.json").exists() or not found:
        found.insert(0, folder)
    return [
        runs.parse(
            str(parent),
            {name: (parent / name).read_bytes() for name in FILES if (parent / name).is_file()},
        )
        for parent in found
    ]


def runs_in_commit(commit: str, name: str) -> list[Run]:
    """As `runs_in_folder`, from Git's objects."""
    paths = set(git.paths(commit, METRICS))
    parents = sorted(path.removesuffix(RUN) for path in paths if path.endswith(RUN))
    if not parents:
        raise InputError(
            f"{name} has no {METRICS}{RUN} to compare with. Is this the first model? Say so: "
            f"--first"
        )
    return [
        runs.parse(
            f"{name}:{parent}",
            {
                file: git.read(commit, path) or b""
                for file in FILES
                if (path := f"{parent}/{file}") in paths
            },
        )
        for parent in parents
    ]


def find_bases(base: str) -> list[Base]:
    """The base that was named, and what is in production."""
    commit = git.find_commit(base)
    if os.path.isdir(base):  # unlike Path, takes "" for no folder
        if commit:
            raise InputError(f"{base!r} is a folder and a revision. The folder: ./{base}")
        return [Base(base, None, runs_in_folder(Path(base)))]
    if commit is None:
        raise InputError(f"{base!r} is neither a folder nor a revision of this repository")
    git.require_history()
    named = {base: commit}
    if (tag := production_tag()) and git.commit(tag) != commit:
        named[tag] = git.commit(tag)
    return [Base(name, commit, runs_in_commit(commit, name)) for name, commit in named.items()]


def production_tag() -> str | None:
    """GTO's tag of what is in production."""
    holder = tags.holder(tags.read(), "production")
    return holder.name if holder else None


def find_rules(path: Path | None, bases: Sequence[Base]) -> tuple[Rules, str]:
    """The rules and where they come from: a file that is named, else the base, else here."""
    if path:
        return GateParams.load(path).gate, str(path)
    if not bases:
        return GateParams.load(PARAMS).gate, PARAMS
    base = bases[0]
    if base.commit is None:
        raise InputError(f"{base.name} is a folder, which has no rules: --rules {PARAMS}")
    return rules_in_commit(base.commit, base.name)


def rules_in_commit(commit: str, name: str) -> tuple[Rules, str]:
    """A commit's rules and where they stand."""
    content = git.read(commit, PARAMS)
    if content is None:
        raise InputError(f"{name} has no {PARAMS}, and so no rules")
    origin = f"{name}:{PARAMS}"
    document = parse_yaml(content, origin)
    if "gate" not in document:
        raise InputError(f"{origin} has no section `gate`, and so no rules. Others: --rules FILE")
    return GateParams.parse({"gate": document["gate"]}, origin).gate, origin


def check_lock(read: Reader) -> None:
    """Raises `InputError` unless metrics/ is what dvc.lock names."""
    lock = read(LOCK)
    if lock is None:
        raise InputError(f"{LOCK} does not exist, so nobody knows what {METRICS}/ is. dvc repro")
    named = {
        out["path"]: out["md5"]
        for stage in parse_yaml(lock, LOCK)["stages"].values()
        for out in stage["outs"]
    }
    for name in FILES:
        file = f"{METRICS}/{name}"
        content = read(file)
        found = None if content is None else hashlib.md5(content).hexdigest()
        if found != named.get(file):
            raise InputError(f"{file} is not the one that {LOCK} names. Run: dvc repro")


def reader(commit: str, name: str) -> Reader:
    """Reads a commit's files, and those of its runs, whose paths begin with the commit's name."""
    return lambda path: git.read(commit, path.removeprefix(f"{name}:"))


def read_here(path: str) -> bytes | None:
    """A file's content in the working tree, or None."""
    return Path(path).read_bytes() if Path(path).is_file() else None


def count_looks(test_set: str, rev: str = "HEAD") -> int:
    """Commits that brought other metrics on this test set: each was a look at it."""
    path = f"{METRICS}{RUN}"
    commits = git.run("log", "--format=%H", rev, "--", path).split()
    return max(1, sum(test_set.encode() in (git.read(c, path) or b"") for c in commits))


def changed_rules(rules: Rules, read: Reader) -> Mapping[str, tuple[object, object]]:
    """What the candidate's rules say otherwise: they hold from the next change on."""
    content = read(PARAMS)
    if content is None:
        return {}
    document = parse_yaml(content, PARAMS)
    return gate.changed_rules(rules, GateParams.parse({"gate": document.get("gate")}, PARAMS).gate)
