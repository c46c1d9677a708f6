"""Read the candidate, its bases and the rules, and decide whether it passes."""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from digits.core.errors import InputError, UserError
from digits.gate import judge as judging
from digits.gate.judge import Judgement
from digits.gate.results import Run
from digits.gate.rules import Limit, Rules, check_limits, check_seeds
from ops.gate import bases as gate_bases
from ops.gate.arguments import Question
from ops.gate.bases import Base
from ops.gate.best_version import BestVersion, find_best
from ops.gate.evaluators import Incomparable, comparable, differences, unknown_evaluators
from ops.tools import git, pipeline
from ops.tools.revisions import (
    check_further_runs,
    check_lock,
    check_same_inputs,
    count_looks,
    runs_here,
    runs_in_folder,
    runs_in_tree,
)
from ops.tools.tree import WORKING_TREE, Tree

Verdict = Literal["pass", "blocked", "overridden", "none"]


@dataclass(frozen=True)
class Decision:
    """The gate's findings. A candidate passes if there is no reason to block, or by an override."""

    candidate: list[Run]
    bases: list[Base]
    rules: Rules | None  # None only if there is no verdict
    rules_from: str
    code: Tree | None  # the code that made the candidate's metrics; None if unknown
    limits: list[Limit]
    pairs: dict[str, tuple[list[Run], list[Run]]] = field(default_factory=dict)  # runs, by base
    judgements: dict[str, Judgement] = field(default_factory=dict)  # by base
    not_compared: Mapping[str, str] = field(default_factory=dict)  # bases, and why; by an override
    changed_rules: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    looks: int = 1
    override: str | None = None
    stated: bool = False  # the caller states that one evaluator made both sides; nobody can check
    best: BestVersion | None = None  # for information; None if no version can be compared
    failure: str | None = None  # why there is no verdict: the error's message
    differing: tuple[str, ...] = ()  # without a verdict: what differs between the evaluations

    @property
    def beyond(self) -> list[Limit]:
        """The limits that are not held."""
        return [limit for limit in self.limits if not limit.held]

    @property
    def reasons(self) -> list[str]:
        """The reasons to block, limits first."""
        not_compared = [
            f"it was not compared with {name}, since {why}"
            for name, why in self.not_compared.items()
        ]
        beyond = [
            f"{limit.name} is {limit.value:g}; allowed is at "
            f"{'least' if limit.at_least else 'most'} {limit.limit:g}"
            for limit in self.beyond
        ]
        against = [
            f"against {name}, {reason.text}"
            for name, judgement in self.judgements.items()
            for reason in judgement.reasons
        ]
        return beyond + not_compared + against

    @property
    def further_reasons(self) -> list[str]:
        """The reasons that are not in the headline; none where a failure left nothing decided."""
        return [] if self.failure is not None else self.reasons[1:]

    @property
    def verdict(self) -> Verdict:
        if self.failure is not None:
            return "none"
        if not self.reasons:
            return "pass"
        return "blocked" if self.override is None else "overridden"

    @property
    def passes(self) -> bool:
        return self.verdict in ("pass", "overridden")

    @property
    def title(self) -> str:
        """The verdict in words."""
        return "no verdict" if self.verdict == "none" else self.verdict

    @property
    def explanation(self) -> str:
        """The reason for the verdict, in one line."""
        match self.verdict:
            case "none":
                return parts_of(self.failure or "")[0]
            case "overridden":
                return f"by a reviewer ({self.override}), in spite of: {self.reasons[0]}"
            case "blocked":
                return self.reasons[0]
        if not self.judgements:
            return "within all limits; there is no base to compare with"
        return ", ".join(f"{claim(judged)} {name}" for name, judged in self.judgements.items())

    @property
    def headline(self) -> str:
        """The verdict and its explanation, in one line."""
        stated = " (the caller states that one evaluator made both)" if self.stated else ""
        separator = " " if self.verdict == "overridden" else ": "
        return f"{self.title.upper()}{stated}{separator}{self.explanation}"


def claim(judgement: Judgement) -> str:
    """What a comparison that passes shows of the candidate."""
    if judgement.better:
        return "better than"
    return "no loss shown against" if judgement.excused else "no worse than"


def parts_of(message: str) -> tuple[str, str]:
    """Split an error's message, of several lines maybe, into what happened and what to do."""
    in_one_line = re.sub(r"(?<=[^:;])\n", "; ", message)
    happened, _, remedy = " ".join(in_one_line.split()).partition(". ")
    return happened, remedy


def decide(question: Question) -> Decision:
    """Read both sides and the rules, and judge; raises `InputError` if it can't be judged."""
    candidate, code = find_candidate(question)
    if code == WORKING_TREE:
        check_is_reproduced()
    bases = [] if question.base is None else gate_bases.find_bases(question.base)
    rules, rules_from = gate_bases.find_rules(question.rules, bases)
    latest = git.commit(question.revisions[0] if question.revisions else "HEAD")
    in_git = bool(bases) and bases[0].commit is not None
    decision = judge(
        candidate,
        bases,
        rules,
        rules_from,
        code=code,
        cross=question.base_model,
        same_evaluator=question.same_evaluator,
        looks=count_looks(candidate[0].scores.test_set, latest, here=code == WORKING_TREE)
        if in_git
        else 1,
        override=question.override,
    )
    if bases and not question.rules:
        changed = gate_bases.changed_rules(rules, code or WORKING_TREE)
        decision = replace(decision, changed_rules=changed)
    best = find_best(candidate, code, latest, stated=decision.stated) if in_git else None
    return replace(decision, best=best)


def without_verdict(question: Question, failure: str) -> Decision:
    """Collect for a report what can be read, although `decide` ended with an error."""
    d = Decision([], [], None, "", None, [], failure=failure)
    with suppress(UserError):
        candidate, code = find_candidate(question)
        d = replace(d, candidate=candidate, code=code)
    with suppress(UserError):
        if question.base is not None:
            d = replace(d, bases=[gate_bases.find_base(question.base)])
        rules, rules_from = gate_bases.find_rules(question.rules, d.bases)
        d = replace(d, rules=rules, rules_from=rules_from)
    with suppress(UserError):
        if d.candidate and d.rules:
            d = replace(d, limits=check_limits(d.candidate, d.rules))
    with suppress(UserError):
        if d.candidate and d.bases:
            d = replace(d, differing=tuple(differences(d.bases[0], d.candidate, d.code)))
    return d


def find_candidate(question: Question) -> tuple[list[Run], Tree | None]:
    """Return the runs to judge, and the code that made them if it is known."""
    if question.metrics:
        return [run for folder in question.metrics for run in runs_in_folder(folder)], None
    if not question.revisions:
        return runs_here(), WORKING_TREE
    experiments = {each.name for each in git.all_experiments()}
    runs: list[Run] = []
    trees: list[Tree] = []
    for rev in question.revisions:
        tree = Tree(git.commit(rev))
        check_lock(tree)
        if trees:
            check_same_inputs(trees[0], tree, rev)
        trees.append(tree)
        if rev not in experiments:  # which have the further runs of the commit before them
            check_further_runs(tree)
        runs += runs_in_tree(tree, rev)
    models = [run.scores.model for run in runs]
    if len(trees) > 1 and (copies := [r.name for r in runs if models.count(r.scores.model) > 1]):
        raise InputError(f"{', '.join(copies)} describe the same model. Name each run once")
    return runs, trees[0]


def check_is_reproduced() -> None:
    """Raises `InputError` unless the metrics here are those of the code and the parameters here."""
    if stale := pipeline.find_stale(pipeline.read(WORKING_TREE)):
        raise InputError(
            f"{stale.sentence}, so the metrics are not those of the code and the parameters here. "
            f"Run: dvc repro"
        )


def judge(
    candidate: list[Run],
    bases: list[Base],
    rules: Rules,
    rules_from: str,
    *,
    code: Tree | None,
    cross: bool = False,
    same_evaluator: bool = False,
    looks: int = 1,
    override: str | None = None,
) -> Decision:
    """Judge a candidate by the limits and its bases; the other arguments are as in `comparable`.

    Raises `Incomparable` for a base of other images or classes, unless a reviewer overrides.
    """
    check_seeds(candidate, rules)
    pairs: dict[str, tuple[list[Run], list[Run]]] = {}
    not_compared: dict[str, str] = {}
    for base in bases:
        sides = comparable(base, candidate, code=code, cross=cross, same_evaluator=same_evaluator)
        try:
            pairs |= {name: (theirs, ours) for name, theirs, ours in sides}
        except Incomparable as error:
            if override is None:
                raise
            not_compared[base.name], _ = parts_of(str(error))
    bases = [base for base in bases if base.name not in not_compared]
    return Decision(
        candidate,
        bases,
        rules,
        rules_from,
        code,
        check_limits(candidate, rules),
        pairs,
        {name: judging.judge(*sides, rules, looks) for name, sides in pairs.items()},
        not_compared,
        looks=looks,
        override=override,
        stated=any(unknown_evaluators(base, candidate, code) for base in bases),
    )
