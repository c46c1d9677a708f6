"""Runs that one evaluator made, where a base's evaluator or test set is another one.

As a command, `python -m ops.evaluators --base REV` makes ready what `ops.gate --base REV
--base-model` needs: where the base was evaluated otherwise, its model and its data, from DVC's
cache or the remote, else by running its pipeline anew. They lie in .bases/, by commit.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from digits import commands, compute, errors, files
from digits.errors import InputError
from digits.params import parse_yaml
from digits.runs import Run
from ops import git
from ops.evidence import METRICS, Base, Reader, find_bases, read_here, runs_in_folder

MODEL = "models/digit-classifier"
DATA = "data/prepared"
BASES = Path(".bases")


def main() -> None:
    args = parse_args()
    candidate = runs_in_folder(Path(METRICS))
    for base in find_bases(args.base):
        differing = differences(base, candidate, read_here)
        what = f"other in {', '.join(differing)}" if differing else "the same"
        print(f"how {base.name} was evaluated: {what}", flush=True)
        if base.commit and differing:
            make_ready(base.commit)


def comparable(
    base: Base, candidate: list[Run], *, code: Reader | None, cross: bool
) -> Iterator[tuple[str, list[Run], list[Run]]]:
    """Pairs of runs that one evaluator made: (name, base's, candidate's).

    Parameters
    ----------
    base, candidate : each side's runs
    code : reads the files that made the candidate; None where they are not known
    cross : where the evaluators differ, have each score both models; otherwise an `InputError`
    """
    differing = differences(base, candidate, code)
    if not differing:
        yield base.name, base.runs, candidate
    elif base.commit is None or code is None:
        raise InputError(
            f"{base.name} was evaluated otherwise (other: {', '.join(differing)}), and a folder of "
            f"metrics has no model to score anew. Compare revisions: --base REV, and no --metrics"
        )
    elif not cross:
        raise InputError(
            f"{base.name} was evaluated otherwise (other: {', '.join(differing)}), so its figures "
            f"say nothing beside these. Score both models with both evaluators: --base-model"
        )
    elif code is not read_here:
        raise InputError(
            f"{base.name} was evaluated otherwise (other: {', '.join(differing)}), and only what "
            f"is checked out can be scored anew: git checkout, or dvc exp apply; then --base-model"
        )
    else:
        check_model_here(candidate[0])
        with tempfile.TemporaryDirectory(prefix="gate-") as folder:
            theirs = evaluate_base_here(base.commit, Path(folder))
            ours = evaluate_candidate_there(base.commit, Path(folder))
        duplicates = base.runs[0].duplicates
        yield (
            f"{base.name} (this evaluator)",
            [replace(theirs, duplicates=duplicates)],
            candidate[:1],
        )
        yield (
            f"{base.name} (its evaluator)",
            base.runs[:1],
            [replace(ours, duplicates=candidate[0].duplicates)],
        )


def check_model_here(run: Run) -> None:
    """Raises `InputError` unless the model that lies here is the one that a run is of."""
    path = Path(MODEL, "model.json")
    if not path.is_file() or files.sha256(path) != run.scores.model:
        raise InputError(f"{MODEL} is not the model that {run.name} is of. Bring it: dvc checkout")


def differences(base: Base, candidate: list[Run], code: Reader | None) -> list[str]:
    """Why the figures of the two say nothing beside each other: other code, another test set."""
    found = evaluator_changes(base.commit, code) if base.commit and code else []
    if base.runs[0].scores.test_set != candidate[0].scores.test_set:
        found.append("the test set")
    return found


def evaluator_changes(commit: str, read: Reader) -> list[str]:
    """Files that decide what the evaluator says and are other ones than `read` gives."""
    then = evaluator_files(git.read(commit, "dvc.yaml"))
    now = evaluator_files(read("dvc.yaml"))
    return sorted(path for path in then | now if git.read(commit, path) != read(path))


def evaluator_files(pipeline: bytes | None) -> set[str]:
    """What `evaluate` depends on, but for what other stages make."""
    stages = parse_yaml(pipeline or b"{}", "dvc.yaml").get("stages", {})
    deps = stages.get("evaluate", {}).get("deps", [])
    return {path for path in deps if not path.startswith((MODEL, DATA))}


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


def make_ready(commit: str) -> None:
    """Bring a commit's model and data to .bases/, or run its pipeline there."""
    from ops.verify import checkout, reproduce  # imports torch

    with files.new_directory(BASES / commit) as folder:
        try:
            for path in (MODEL, DATA):
                fetch(commit, path, folder / path)
        except InputError as error:
            print(f"{error}\nRunning the pipeline of {commit[:9]}", flush=True)
            with tempfile.TemporaryDirectory(prefix="base-") as clone:
                checkout(commit, Path(clone))
                reproduce(Path(clone), compute.workers())
                for path in (MODEL, DATA):
                    shutil.copytree(Path(clone, path), folder / path, dirs_exist_ok=True)


def fetch(commit: str, path: str, target: Path) -> None:
    """Bring an output of a commit from .bases/, from DVC's cache, or from the remote."""
    if (BASES / commit / path).exists():
        shutil.copytree(BASES / commit / path, target)
        return
    try:
        fetch_committed(commit, path, target)
    except InputError as error:
        raise InputError(
            f"{error}. Bring or make it: python -m ops.evaluators --base {commit[:9]}"
        ) from None


def fetch_committed(commit: str, path: str, target: Path) -> None:
    """Bring an output of a commit from DVC's cache, or from the remote that this clone has."""
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.index import DataIndexError

    try:
        with Repo() as repo:
            remote = repo.config["core"].get("remote")  # the commit may have had none yet
        DVCFileSystem(rev=commit, remote=remote).get(path, str(target), recursive=True)
    except (DvcException, DataIndexError, OSError) as error:
        raise InputError(
            f"{path} of {commit[:9]} is neither in the cache nor in the remote "
            f"({error.__cause__ or error})"
        ) from None


def run_evaluator(code: Path, model: Path, data: Path, out: Path) -> None:
    words: list[str | Path] = [sys.executable, "-m", "stages.evaluate"]
    words += ["--model", model.resolve(), "--data", data.resolve()]
    words += ["--metrics", out / "evaluation.json", "--errors", out / "errors.csv"]
    words += ["--plots", out / "plots"]
    found = subprocess.run(words, cwd=code, capture_output=True, text=True)
    if found.returncode:
        raise InputError(f"the evaluator in {code} failed: {found.stderr.strip()}")


def parse_args() -> argparse.Namespace:
    parser = commands.parser("ops.evaluators", __doc__)
    parser.add_argument("--base", metavar="REV", required=True, help="what to compare with")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
