"""Which runs can be compared: those of the same evaluator, on the same test set.

If the base was evaluated with different code, or on different images, both evaluators can score
both models. That requires the base's model and data, which `digits evaluators` fetches.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from digits.core import files
from digits.core.errors import InputError
from digits.core.params import parse_yaml
from digits.gate.results import Run
from ops.gate.bases import Base
from ops.tools import git, imports
from ops.tools.dvc import DATA, MODEL, fetch_committed
from ops.tools.revisions import runs_in_folder
from ops.tools.tree import WORKING_TREE, Tree

FETCHED = Path(".bases")  # models and data of bases, by commit


def comparable(
    base: Base, candidate: list[Run], *, code: Tree | None, cross: bool
) -> Iterator[tuple[str, list[Run], list[Run]]]:
    """Yield comparable runs: (name of the comparison, the base's runs, the candidate's runs).

    Parameters
    ----------
    base, candidate : the runs of each side
    code : the code that made the candidate's runs; None if unknown
    cross : if the evaluators differ, score both models with both; else a difference is an error

    Raises
    ------
    InputError
        If the evaluators differ, and both models can't be scored or `cross` is not set.
    """
    differing = differences(base, candidate, code)
    if not differing:
        yield base.name, base.runs, candidate
        return
    evaluated = (
        f"{base.name} was evaluated with different code or data ({', '.join(differing)}), so the "
        f"metrics cannot be compared"
    )
    if base.commit is None or code is None:
        raise InputError(
            f"{evaluated}. A folder of metrics has no model to score again. Compare revisions: "
            f"--base REV, and no --metrics"
        )
    if not cross:
        raise InputError(f"{evaluated}. Score both models with both evaluators: --base-model")
    if code != WORKING_TREE:
        raise InputError(
            f"{evaluated}. Only what is checked out can be scored again: git checkout or dvc exp "
            f"apply, then --base-model"
        )
    check_model_here(candidate[0])
    with tempfile.TemporaryDirectory(prefix="gate-") as folder:
        theirs = evaluate_base_here(base.commit, Path(folder))
        ours = evaluate_candidate_there(base.commit, Path(folder))
    yield (
        f"{base.name} (this evaluator)",
        [replace(theirs, duplicates=base.runs[0].duplicates)],
        candidate[:1],
    )
    yield (
        f"{base.name} (its evaluator)",
        base.runs[:1],
        [replace(ours, duplicates=candidate[0].duplicates)],
    )


def check_model_here(run: Run) -> None:
    """Raises `InputError` unless the model in this folder is the one that a run describes."""
    path = Path(MODEL, "model.json")
    if not path.is_file() or files.sha256(path) != run.scores.model:
        raise InputError(f"{MODEL} is not the model that {run.name} describes. Run: dvc checkout")


def differences(base: Base, candidate: list[Run], code: Tree | None) -> list[str]:
    """Return what differs between the two evaluations: files of the evaluator, the test set."""
    differing = evaluator_changes(Tree(base.commit), code) if base.commit and code else []
    if base.runs[0].scores.test_set != candidate[0].scores.test_set:
        differing.append("the test set")
    return differing


def evaluator_changes(before: Tree, after: Tree) -> list[str]:
    """Return the paths of the evaluator's files that differ between two trees."""
    old, new = evaluator_files(before), evaluator_files(after)
    return sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))


def evaluator_files(tree: Tree) -> dict[str, bytes]:
    """Return the files that determine the evaluator's results: the pins, and its code by import.

    dvc.yaml names whole folders of code; only the modules that the evaluator imports count.
    """
    stages = parse_yaml(tree.read("dvc.yaml") or b"{}", "dvc.yaml").get("stages", {})
    deps = stages.get("evaluate", {}).get("deps", [])
    pins = {path for path in deps if not path.startswith((MODEL, DATA, "digits/", "stages/"))}
    paths = pins | imports.reached("stages/evaluate.py", tree.read)
    return {path: tree.read(path) or b"" for path in paths}


def evaluate_base_here(commit: str, folder: Path) -> Run:
    fetch(commit, MODEL, folder / "model")
    run_evaluator(Path.cwd(), folder / "model", Path(DATA), folder / "here")
    return runs_in_folder(folder / "here")[0]


def evaluate_candidate_there(commit: str, folder: Path) -> Run:
    clone = folder / "clone"
    git.clone(commit, clone)
    fetch(commit, DATA, folder / "data")
    run_evaluator(clone, Path(MODEL), folder / "data", folder / "there")
    return runs_in_folder(folder / "there")[0]


def fetch(commit: str, path: str, target: Path) -> None:
    """Copy an output of a commit from .bases/, DVC's cache or the remote."""
    if (FETCHED / commit / path).exists():
        shutil.copytree(FETCHED / commit / path, target)
        return
    try:
        fetch_committed(commit, path, target)
    except InputError as error:
        raise InputError(
            f"{error}. Fetch or make it: digits evaluators --base {commit[:9]}"
        ) from None


def run_evaluator(code: Path, model: Path, data: Path, out: Path) -> None:
    words: list[str | Path] = [sys.executable, "-m", "stages.evaluate"]
    words += ["--model", model.resolve(), "--data", data.resolve()]
    words += ["--metrics", out / "evaluation.json", "--errors", out / "errors.csv"]
    words += ["--plots", out / "plots"]
    process = subprocess.run(words, cwd=code, capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"the evaluator in {code} failed: {process.stderr.strip()}")
