"""What a report tells: the gate's decision, and what lies beside it on both sides."""

import argparse
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from digits import comparison, data, gate
from digits.comparison import Answer, Figure
from digits.errors import InputError
from digits.params import parse_yaml
from digits.runs import Run
from ops import evaluators, evidence, git, pipeline
from ops.evidence import Reader, read_here
from ops.gate import Decision, decide
from ops.pipeline import Stage

Image = npt.NDArray[np.uint8]
Rows = list[dict[str, float]]


@dataclass(frozen=True)
class Model:
    """One of several, side by side: its figures against the base's, and the parameters it changes.

    `params` is None for the base, and where the base has none.
    """

    name: str
    run: Run
    figures: dict[str, Figure]
    params: Mapping[str, tuple[object, object]] | None


@dataclass(frozen=True)
class Findings:
    """Both sides, read once; `against` is the comparison that the details are about."""

    decision: Decision
    against: str | None  # a name in decision.judgements; None without a base
    base: list[Run]
    candidate: list[Run]
    params: Mapping[str, tuple[object, object]] | None  # changed ones; None: the base has none
    stages: list[Stage]
    tables: dict[str, tuple[Rows, Rows]]  # of plots/, by name: the base's, the candidate's
    images: dict[int, Image]  # misclassified on a side, by position among the test images
    no_images: str | None  # why there are none
    models: list[Model]  # the base, the candidate, and those that are to stand beside it

    @cached_property
    def figures(self) -> list[Figure]:
        overall = self.decision.judgements[self.against].overall if self.against else None
        return comparison.figures(self.base, self.candidate, overall)

    @cached_property
    def changed(self) -> tuple[list[Answer], list[Answer]]:
        """Images broken, and images fixed."""
        return comparison.changed_images(self.base, self.candidate) if self.base else ([], [])


def find(args: argparse.Namespace) -> Findings:
    """Judge, and gather; `args` are the gate's. Raises `InputError` where the gate does."""
    decision = decide(args)
    here, there = decision.code or read_here, reader(decision)
    against = next(iter(decision.pairs), None)
    base, candidate = decision.pairs[against] if against else ([], decision.candidate)
    models = find_models(args.beside, base, candidate, here, there)
    images, why = find_images(base + candidate + [model.run for model in models])
    before, params = document(there, evidence.PARAMS), document(here, evidence.PARAMS)
    return Findings(
        decision,
        against,
        base,
        candidate,
        params=_changes(before, params),
        stages=pipeline.stages(
            document(here, "dvc.yaml") or {"stages": {}},
            document(here, "dvc.lock"),
            params,
            document(there, "dvc.lock"),
            here,
        ),
        tables={
            name: (
                table(there, decision.bases[0].runs[0], name) if decision.bases else [],
                table(here, decision.candidate[0], name),
            )
            for name in ("training", "reliability")
        },
        images=images,
        no_images=why,
        models=models,
    )


def find_models(
    revs: Sequence[str], base: list[Run], candidate: list[Run], here: Reader, there: Reader
) -> list[Model]:
    """The base, the candidate and others, each by its first run; none where no other is named."""
    if not revs:
        return []
    before = document(there, evidence.PARAMS)
    sides = [(_name(candidate[0]), candidate[0], here)]
    for rev in revs:
        commit = git.commit(rev)
        run = evidence.runs_in_commit(commit, rev)[0]
        sides.append((rev, run, evidence.reader(commit, rev)))
    gate.check_comparable([run for _, run, _ in sides])
    found = [Model(_name(run), run, _by_name([], run), None) for run in base[:1]]
    for name, run, read in sides:
        params = _changes(before, document(read, evidence.PARAMS))
        found.append(Model(name, run, _by_name(base[:1], run), params))
    return found


def _name(run: Run) -> str:
    return run.name.removesuffix(f":{evidence.METRICS}")


def _by_name(base: list[Run], run: Run) -> dict[str, Figure]:
    overall = gate.difference(base, [run]) if base else None
    return {figure.name: figure for figure in comparison.figures(base, [run], overall)}


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Mapping[str, tuple[object, object]] | None:
    """Parameters that differ, but for the rules, which the decision compares."""
    if not before:
        return None
    one, two = ({k: v for k, v in side.items() if k != "gate"} for side in (before, after))
    return gate.changes(one, two)


def reader(decision: Decision) -> Reader:
    """Reads the first base's files: from Git's objects, or under the folder that it is."""
    if not decision.bases:
        return lambda path: None
    base = decision.bases[0]
    if base.commit is None:
        return lambda path: read_here(path) if Path(path).is_relative_to(base.name) else None
    return evidence.reader(base.commit, base.name)


def document(read: Reader, path: str) -> dict[str, Any]:
    content = read(path)
    return {} if content is None else parse_yaml(content, path)


def table(read: Reader, run: Run, name: str) -> Rows:
    """A run's plots/NAME.csv; no rows where there is none.

    Raises
    ------
    InputError
        If it is no table of finite numbers.
    """
    path = f"{run.name}/plots/{name}.csv"
    try:
        rows = list(csv.DictReader(io.StringIO((read(path) or b"").decode()), strict=True))
        found = [{key: float(value) for key, value in row.items()} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is no table of numbers: {error}. Run: dvc repro") from None
    if not all(math.isfinite(value) for row in found for value in row.values()):
        raise InputError(f"{path} holds a number that is not finite. Run: dvc repro")
    return found


def find_images(runs: list[Run]) -> tuple[dict[int, Image], str | None]:
    """The images that any run gets wrong; none, and why, where the test set is not at hand."""
    folder = Path(evaluators.DATA)
    if not (folder / "test-images.npy").exists():
        return {}, f"{folder}/test-images.npy is not here: dvc pull"
    test = data.load(folder, "test")
    if data.digest(test) != runs[0].scores.test_set:
        return {}, f"{folder} holds other test images than these metrics are about: dvc checkout"
    wrong = set().union(*(run.wrong() for run in runs))
    return {index: test.images[index] for index in sorted(wrong)}, None
