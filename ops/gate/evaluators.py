"""Which runs can be compared: those of the same evaluator, on the same test set.

If the base was evaluated with different code, or on different images, both evaluators can score
both models. That requires the base's model and data, which `digits evaluators` fetches. If it is
unknown which code evaluated a side, only the caller can state that it was the same.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from digits.core import files
from digits.core.errors import InputError, first
from digits.gate.results import Run
from digits.imaging.preprocessing import Preprocessing
from ops.gate.bases import Base
from ops.tools import git, imports
from ops.tools.dvc import DATA, MODEL, fetch_committed
from ops.tools.dvc_files import Locked
from ops.tools.revisions import runs_in_folder
from ops.tools.tree import WORKING_TREE, Tree, kept

FETCHED = Path(".bases")  # models and data of bases, by commit
EVALUATOR = "stages/evaluate.py"
LAUNCHER = "ops/launch.py"
STAGE = "evaluate"


class Incomparable(InputError):
    """The models are for other images or classes, so no evaluator can score both."""


def comparable(
    base: Base,
    candidate: list[Run],
    *,
    code: Tree | None,
    cross: bool,
    same_evaluator: bool,
) -> Iterator[tuple[str, list[Run], list[Run]]]:
    """Yield comparable runs: (name of the comparison, the base's runs, the candidate's runs).

    Parameters
    ----------
    base, candidate : the runs of each side
    code : the code that made the candidate's runs; None if unknown
    cross : if the evaluators differ, score both models with both; else a difference is an error
    same_evaluator : the caller states that one evaluator made both; counts only where it is unknown

    Raises `InputError` if an evaluator is unknown and nobody states that both are the same, or if
    the evaluators differ, and both models can't be scored or `cross` is not set; `Incomparable` if
    one of them can't read the other's test images or has other classes.
    """
    differing = differences(base, candidate, code)
    unknown = unknown_evaluators(base, candidate, code)
    if unknown and not differing and not same_evaluator:
        raise InputError(
            f"it is unknown which code evaluated {' and '.join(unknown)}, so the metrics may not "
            f"be comparable. Compare revisions: --base REV, and --of REV in place of --metrics. If "
            f"you know that the same code, libraries and test images made both, state it: "
            f"--same-evaluator"
        )
    if not differing:
        yield base.name, base.runs, candidate
        return
    check_classes(base, candidate)
    evaluated = (
        f"{base.name} was evaluated with different code or data ({first(differing)}), so the "
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
    with tempfile.TemporaryDirectory(prefix="gate-") as temporary:
        folder = Path(temporary)
        fetch(base.commit, MODEL, folder / "model")
        check_equal(base, "images", *map(image_size, (folder / "model", Path(MODEL))))
        theirs = run_evaluator(Path.cwd(), folder / "model", Path(DATA), folder / "here")
        project = git.clone(base.commit, folder / "clone")
        fetch(base.commit, DATA, folder / "data")
        ours = run_evaluator(project, Path(MODEL), folder / "data", folder / "there")
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


def image_size(model: Path) -> list[str]:
    description = json.loads((model / "model.json").read_bytes())
    height, width = Preprocessing.parse(description["preprocessing"], "model.json").size
    return [f"{height} x {width} pixels"]


def check_classes(base: Base, candidate: list[Run]) -> None:
    """Raises `Incomparable` unless both models have the same classes."""
    check_equal(
        base, "classes", *(sorted(runs[0].scores.support) for runs in (base.runs, candidate))
    )


def check_equal(base: Base, quality: str, theirs: list[str], ours: list[str]) -> None:
    if theirs != ours:
        there, here = first(theirs, 10), first(ours, 10)
        raise Incomparable(
            f"the model of {base.name} has other {quality} ({there}; here {here}), so no evaluator "
            f"can score both. If the change is meant to bring other data, a reviewer can have it "
            f"judged by the limits alone: --override REASON (docs/how-to/judge.md)"
        )


def check_model_here(run: Run) -> None:
    """Raises `InputError` unless the model in this folder is the one that a run describes."""
    path = Path(MODEL, "model.json")
    if not path.is_file() or files.sha256(path) != run.scores.model:
        raise InputError(f"{MODEL} is not the model that {run.name} describes. Run: dvc checkout")


def differences(
    base: Base, candidate: list[Run], code: Tree | None, parts: Mapping[str, object] | None = None
) -> list[str]:
    """Return what is known to differ: files of the evaluator, the test set.

    `parts` are the `evaluator_parts` of `code`, if the caller has them.
    """
    differing = []
    if base.code and code:
        old, new = evaluator_parts(base.code), parts or evaluator_parts(code)
        names = old.keys() | new.keys()
        differing = sorted(name for name in names if old.get(name) != new.get(name))
    if base.runs[0].scores.test_set != candidate[0].scores.test_set:
        differing.append("the test set")
    return differing


def unknown_evaluators(base: Base, candidate: list[Run], code: Tree | None) -> list[str]:
    """Return the names of the sides of which it is unknown which code evaluated them.

    That is a side without a commit or a working tree, and one whose tree has no evaluator.
    """
    sides = ((base.name, base.code), (candidate[0].name, code))
    return [name for name, tree in sides if tree is None or not tree.has(EVALUATOR)]


def evaluator_parts(tree: Tree) -> dict[str, object]:
    """Return everything that determines the evaluator's results, by name.

    These are its code by import, and that of its launcher; the other files that its stage depends
    on, like the pins; the command and the parameters with which it ran. dvc.yaml names whole
    folders of code, of which only the modules that the evaluator imports count.
    """
    with kept(tree) as files:
        declared, ran = files.declared().get(STAGE), files.locked().get(STAGE, Locked())
        digests = {dep.path: dep.md5 for dep in ran.deps}
        parts: dict[str, object] = {**imports.reached(EVALUATOR, files.read)}
        if "ops.launch" in ran.cmd.split():  # then its code runs in the evaluator's process
            parts |= imports.reached(LAUNCHER, files.read)
        for dep in {*(declared.deps if declared else ()), *digests}:
            if not any(Path(dep).is_relative_to(judged) for judged in (MODEL, DATA)):
                contents = files.files(dep)
                parts |= {path: content for path, content in contents.items() if not is_code(path)}
                if not contents:  # it is under DVC
                    parts[dep] = files.digest(dep) or digests.get(dep)
    parts["the command in dvc.lock"] = ran.cmd.split()
    parts["the parameters in dvc.lock"] = ran.params
    return parts


def is_code(path: str) -> bool:
    """Whether a file is a module that counts only if the evaluator imports it."""
    return path.endswith(".py") and path.startswith(("digits/", "stages/"))


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


def run_evaluator(code: Path, model: Path, data: Path, out: Path) -> Run:
    words: list[str | Path] = [sys.executable, "-m", "stages.evaluate"]
    words += ["--model", model.resolve(), "--data", data.resolve()]
    words += ["--metrics", out / "evaluation.json", "--errors", out / "errors.csv"]
    words += ["--plots", out / "plots"]
    environment = git.clean_environment()
    process = subprocess.run(words, cwd=code, env=environment, capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"the evaluator in {code} failed: {process.stderr.strip()}")
    return runs_in_folder(out)[0]
