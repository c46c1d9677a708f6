"""The content of a report: the gate's decision, and both sides' pipeline, plots and images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ParamSpec, TypeVar

from digits.core.arrays import UInt8Array
from digits.core.errors import UserError
from digits.core.params import changes
from digits.gate import diff, judge
from digits.gate.diff import Answer, Figure
from digits.gate.results import Run
from ops.gate.arguments import Question
from ops.gate.bases import find_base_commit
from ops.gate.decision import Decision, decide, without_verdict
from ops.gate.sentences import explain
from ops.report import data_changes, wrong_images
from ops.report.data_changes import DataChanges
from ops.tools import git, pipeline, revisions
from ops.tools.pipeline import Stage
from ops.tools.revisions import Rows
from ops.tools.tree import WORKING_TREE, Tree

Changes = Mapping[str, tuple[object, object]]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """One of several models side by side: its figures against the base's, its changed parameters.

    `params` is None for the base itself, and if the base has no parameters.
    """

    name: str
    run: Run
    figures: dict[str, Figure]
    params: Changes | None


@dataclass(frozen=True)
class Content:
    """Both sides, read once; the details are about the comparison `against`.

    There is always a report: without a verdict, it shows the candidate and what differs.
    """

    decision: Decision
    against: str | None  # a name in decision.judgements; None without a comparison
    base: list[Run]
    candidate: list[Run]  # empty if the metrics can't be read
    params: Changes | None  # those that differ; None if the base has no parameters
    data: DataChanges | None  # None if the data are the same
    stages: list[Stage]
    tables: dict[str, tuple[Rows, Rows]]  # tables of plots/, by name: the base's, the candidate's
    images: dict[int, UInt8Array]  # misclassified by any run, by index among the test images
    no_images: str | None  # why there are no images
    models: list[Model]  # side by side: the base, the candidate and others
    faults: list[str]  # of the files that could not be read, the verdict's first

    @cached_property
    def figures(self) -> list[Figure]:
        if not self.candidate:
            return []
        overall = self.decision.judgements[self.against].overall if self.against else None
        return diff.figures(self.base, self.candidate, overall)

    @cached_property
    def explanation(self) -> list[str]:
        return explain(self.decision)

    @property
    def unread(self) -> list[str]:
        """The faults of the files that only the report reads."""
        return [fault for fault in self.faults if fault != self.decision.failure]

    @property
    def looks_note(self) -> str:
        """How often this test set was used, and what follows from it; empty at the first use."""
        looks = self.decision.looks
        if looks == 1:
            return ""
        return f"This test set has been looked at {looks} times: better means p ≤ 0.05 / {looks}."

    @cached_property
    def changed(self) -> tuple[list[Answer], list[Answer]]:
        """Return the broken images and the fixed images."""
        return diff.changed_images(self.base, self.candidate) if self.base else ([], [])


def gather(question: Question, beside: Sequence[str]) -> Content:
    """Have the gate judge, and read the details; what can't be read becomes one of the `faults`.

    Parameters
    ----------
    question : the gate's arguments
    beside : revisions or experiments to show next to the candidate
    """
    faults: list[str] = []
    try:
        decision = decide(question)
    except UserError as error:
        faults.append(str(error))
        decision = without_verdict(question, str(error))
    here, there = decision.code or WORKING_TREE, base_tree(question)
    against = next(iter(decision.pairs), None)
    base, candidate = decision.pairs[against] if against else ([], decision.candidate)
    sides = (base, candidate, here, there)
    models = attempt(faults, find_models, beside, *sides) or [] if candidate else []
    runs = base + candidate + [model.run for model in models]
    images, why = attempt(faults, wrong_images.find, runs) or ({}, "they can't be read")
    base_plots = (there or WORKING_TREE, decision.bases[0].runs[0]) if against else None
    plots = (here, decision.candidate[0]) if candidate else None
    return Content(
        decision,
        against,
        base,
        candidate,
        params=attempt(faults, _changed_params, there, here),
        data=data_changes.read(here, there),
        stages=attempt(faults, pipeline.read, here, there) or [],
        tables={
            name: (
                attempt(faults, revisions.table, *base_plots, name) or [] if base_plots else [],
                attempt(faults, revisions.table, *plots, name) or [] if plots else [],
            )
            for name in ("training", "reliability")
        },
        images=images,
        no_images=why,
        models=models,
        faults=list(dict.fromkeys(faults)),
    )


def attempt(faults: list[str], read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Call a function that reads; if it fails, add its message to `faults` and return None."""
    try:
        return read(*args, **kwargs)
    except UserError as error:
        faults.append(str(error))
        return None


def base_tree(question: Question) -> Tree | None:
    """Return the tree of the base; None if there is no base, or it is a folder."""
    try:
        commit = question.base and find_base_commit(question.base)
    except UserError:  # the verdict's fault
        return None
    return Tree(commit) if commit else None


def find_models(
    revs: Sequence[str], base: list[Run], candidate: list[Run], here: Tree, there: Tree | None
) -> list[Model]:
    """Return the base, the candidate and others, by their first runs; [] if `revs` names none."""
    if not revs:
        return []
    sides = [(_name(candidate[0]), candidate[0], here)]
    for rev in revs:
        tree = Tree(git.commit(rev))
        sides.append((rev, revisions.runs_in_tree(tree, rev)[0], tree))
    judge.check_comparable([run for _, run, _ in sides])
    models = [Model(_name(run), run, _by_name([], run), None) for run in base[:1]]
    for name, run, tree in sides:
        models.append(Model(name, run, _by_name(base[:1], run), _changed_params(there, tree)))
    return models


def _name(run: Run) -> str:
    return run.name.removesuffix(f":{revisions.METRICS}")


def _by_name(base: list[Run], run: Run) -> dict[str, Figure]:
    overall = judge.difference(base, [run]) if base else None
    return {figure.name: figure for figure in diff.figures(base, [run], overall)}


def _changed_params(before: Tree | None, after: Tree) -> Changes | None:
    """Return the parameters that differ; None if the base has none.

    The gate's rules are left out: the decision compares them.
    """
    params = pipeline.parameters(before) if before else {}
    if not params:
        return None
    sides = (params, pipeline.parameters(after))
    old, new = ({k: v for k, v in side.items() if k != "gate"} for side in sides)
    return changes(old, new)
