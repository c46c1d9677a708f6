"""Runs that one evaluator made, where a base's evaluator or test set is another one."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from digits.errors import InputError
from digits.params import parse_yaml
from digits.runs import Run
from ops import git
from ops.evidence import Base, runs_in_folder

MODEL = "models/digit-classifier"
DATA = "data/prepared"


def comparable(
    base: Base, candidate: list[Run], *, here: bool, cross: bool
) -> Iterator[tuple[str, list[Run], list[Run]]]:
    """Pairs of runs that one evaluator made: (name, base's, candidate's).

    Parameters
    ----------
    base, candidate : each side's runs
    here : whether the candidate is this working tree, so that its evaluator is at hand
    cross : where the evaluators differ, have each score both models; otherwise an `InputError`
    """
    differing = evaluator_changes(base.commit) if base.commit and here else []
    if not differing and base.runs[0].scores.test_set == candidate[0].scores.test_set:
        yield base.name, base.runs, candidate
    elif not cross:
        what = ", ".join(differing) or "the test set"
        raise InputError(
            f"{base.name} was evaluated otherwise ({what} differs), so that its figures say "
            f"nothing beside these. Score both models with both evaluators: --base-model"
        )
    else:
        assert base.commit is not None
        with tempfile.TemporaryDirectory(prefix="gate-") as folder:
            theirs = evaluate_base_here(base, Path(folder))
            ours = evaluate_candidate_there(base, Path(folder))
        yield f"{base.name} (this evaluator)", [theirs], candidate[:1]
        yield f"{base.name} (its evaluator)", base.runs[:1], [ours]


def evaluator_changes(commit: str) -> list[str]:
    """Files that decide what the evaluator says and are other ones than in the commit."""
    then = evaluator_files(git.read(commit, "dvc.yaml"))
    now = evaluator_files(content("dvc.yaml"))
    return sorted(path for path in then | now if git.read(commit, path) != content(path))


def content(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).is_file() else None


def evaluator_files(pipeline: bytes | None) -> set[str]:
    """What `evaluate` depends on, but for what other stages make."""
    stages = parse_yaml(pipeline or b"{}", "dvc.yaml").get("stages", {})
    deps = stages.get("evaluate", {}).get("deps", [])
    return {path for path in deps if not path.startswith((MODEL, DATA))}


def evaluate_base_here(base: Base, folder: Path) -> Run:
    assert base.commit is not None
    fetch(base.commit, MODEL, folder / "model")
    run_evaluator(Path.cwd(), folder / "model", Path(DATA), folder / "here")
    found = runs_in_folder(folder / "here")[0]
    return replace(found, duplicates=base.runs[0].duplicates)


def evaluate_candidate_there(base: Base, folder: Path) -> Run:
    assert base.commit is not None
    clone = folder / "clone"
    git.clone(base.commit, clone)
    fetch(base.commit, DATA, folder / "data")
    run_evaluator(clone, Path(MODEL), folder / "data", folder / "there")
    found = runs_in_folder(folder / "there")[0]
    return replace(found, duplicates=base.runs[0].duplicates)


def fetch(commit: str, path: str, target: Path) -> None:
    """Bring an output of a commit from DVC's cache, or from the remote."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    try:
        DVCFileSystem(rev=commit).get(path, str(target), recursive=True)
    except (DvcException, OSError) as error:
        raise InputError(
            f"{path} of {commit[:9]} is neither in the cache nor in the remote ({error}). "
            f"Bring it: dvc fetch, or git worktree add /tmp/base {commit[:9]} and dvc repro there"
        ) from None


def run_evaluator(code: Path, model: Path, data: Path, out: Path) -> None:
    words: list[str | Path] = [sys.executable, "-m", "stages.evaluate"]
    words += ["--model", model.resolve(), "--data", data.resolve()]
    words += ["--metrics", out / "evaluation.json", "--errors", out / "errors.csv"]
    words += ["--plots", out / "plots"]
    found = subprocess.run(words, cwd=code, capture_output=True, text=True)
    if found.returncode:
        raise InputError(f"the evaluator in {code} failed: {found.stderr.strip()}")
