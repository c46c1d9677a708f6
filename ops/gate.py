"""Is this change fit to be merged? python -m ops.gate --base REV|DIR

Compares the metrics in metrics/ with those of a base, image by image, under the base's own rules
(params.yaml: gate), and prints why it passes or not. Where a model is in production (a tag
`digit-classifier#production#N`), it is a second base. A revision is a branch, a tag, a commit or
the name of a DVC experiment.

Exit code 0: pass. 1: blocked. 2: something is missing or broken, so that nothing can be said.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from digits import commands, errors, files, gate
from digits.errors import InputError
from digits.gate import Difference, Judgement, Limit, Rules
from digits.runs import Run
from ops import evidence, git
from ops.evaluators import comparable
from ops.evidence import Base, Reader, read_here


@dataclass(frozen=True)
class Decision:
    """All that a gate found. It passes with no reason to block, or in spite of them."""

    candidate: list[Run]
    bases: list[Base]
    rules: Rules
    rules_from: str
    changed_rules: Mapping[str, tuple[object, object]]
    looks: int
    override: str | None
    limits: list[Limit]
    pairs: dict[str, tuple[list[Run], list[Run]]]  # by the base's name: its runs, the candidate's
    judgements: dict[str, Judgement]  # by the base's name
    code: Reader | None  # of the candidate: this working tree's, a commit's, or not known

    @property
    def reasons(self) -> list[str]:
        beyond = [
            f"{limit.name} is {limit.value:g}; allowed is at "
            f"{'least' if limit.at_least else 'most'} {limit.limit:g}"
            for limit in self.limits
            if not limit.held
        ]
        return beyond + [
            f"against {name}, {reason}"
            for name, judgement in self.judgements.items()
            for reason in judgement.reasons
        ]

    @property
    def passes(self) -> bool:
        return not self.reasons or self.override is not None

    @property
    def headline(self) -> str:
        if self.override is not None and self.reasons:
            return f"OVERRIDDEN by a reviewer ({self.override}), in spite of: {self.reasons[0]}"
        if self.reasons:
            return f"BLOCKED: {self.reasons[0]}"
        if not self.judgements:
            return "PASS: within all limits; there is no base to compare with"
        claims = [
            f"{'better than' if judgement.better else 'no worse than'} {name}"
            for name, judgement in self.judgements.items()
        ]
        return f"PASS: {', '.join(claims)}"


def main() -> None:
    args = parse_args()
    decision = decide(args)
    document = files.canonical_json(as_json(decision))
    print(document if args.json else f"{text(decision)}\n", end="")
    if args.out:
        files.write(args.out, document)
    sys.exit(0 if decision.passes else 1)


def decide(args: argparse.Namespace) -> Decision:
    """Read both sides and the rules, and judge."""
    if args.override is not None and not args.override.strip():
        raise InputError("--override wants a reason")
    candidate, code = find_candidate(args)
    bases = [] if args.first else evidence.find_bases(args.base)
    rules, rules_from = evidence.find_rules(args.rules, bases)
    return judge(
        candidate,
        bases,
        rules,
        rules_from,
        code=code,
        cross=args.base_model,
        changed_rules=evidence.changed_rules(rules, code or read_here)
        if bases and not args.rules
        else {},
        looks=evidence.count_looks(
            candidate[0].scores.test_set, git.commit(args.of[0] if args.of else "HEAD")
        )
        if bases and bases[0].commit
        else 1,
        override=args.override,
    )


def find_candidate(args: argparse.Namespace) -> tuple[list[Run], Reader | None]:
    """The runs to judge, and what reads the code that made them, where it is known."""
    if args.metrics:
        return [run for folder in args.metrics for run in evidence.runs_in_folder(folder)], None
    if not args.of:
        evidence.check_lock(read_here)
        return evidence.runs_in_folder(Path(evidence.METRICS)), read_here
    runs, readers = [], []
    for rev in args.of:
        commit = git.commit(rev)
        readers.append(evidence.reader(commit, rev))
        evidence.check_lock(readers[-1])
        runs += evidence.runs_in_commit(commit, rev)
    return runs, readers[0]


def judge(
    candidate: list[Run],
    bases: list[Base],
    rules: Rules,
    rules_from: str,
    *,
    code: Reader | None,
    cross: bool = False,
    changed_rules: Mapping[str, tuple[object, object]] | None = None,
    looks: int = 1,
    override: str | None = None,
) -> Decision:
    """Hold a candidate against the limits and its bases; `code` and `cross` as in `comparable`."""
    gate.check_seeds(candidate, rules)
    for base in bases:
        check_all_anew(candidate, base)
    pairs = {
        name: (theirs, ours)
        for base in bases
        for name, theirs, ours in comparable(base, candidate, code=code, cross=cross)
    }
    return Decision(
        candidate,
        bases,
        rules,
        rules_from,
        changed_rules=changed_rules or {},
        looks=looks,
        override=override,
        limits=gate.check_limits(candidate, rules),
        pairs=pairs,
        judgements={
            name: gate.judge(theirs, ours, rules, looks) for name, (theirs, ours) in pairs.items()
        },
        code=code,
    )


def check_all_anew(candidate: list[Run], base: Base) -> None:
    """Raises `InputError` where a further seed's run is the base's, left from before a change."""
    before = {run.scores.model for run in base.runs}
    left = [run.name for run in candidate[1:] if run.scores.model in before]
    if left and candidate[0].scores.model not in before:
        raise InputError(
            f"{', '.join(left)} is of a model of {base.name}, from before this change. Run that "
            f"seed anew, or remove it: git rm -r {left[0]}"
        )


def text(decision: Decision) -> str:
    """The decision for a terminal, headline first."""
    d = decision
    lines = [d.headline, *(f"  and {reason}" for reason in d.reasons[1:])]
    longest = max(6, *(len(label) for label in d.candidate[0].scores.support))
    for name, judgement in d.judgements.items():
        counts = judgement.errors
        lines += [
            "",
            f"against {name}",
            f"  errors       {counts_of(counts['base'])} -> {counts_of(counts['candidate'])}, "
            f"of {judgement.overall.images} images a run",
            f"  all          {describe(judgement.overall)}",
            *(
                f"  class {label:<{longest}} {describe(found)}"
                for label, found in judgement.by_class.items()
                if found.broken or found.fixed
            ),
            *(f"  note: {note}" for note in judgement.notes),
        ]
    width = max(len(limit.name) for limit in d.limits)
    lines += ["", "limits"]
    lines += [
        f"  {limit.name:<{width}}  {limit.value:>12,.7g}  {'>=' if limit.at_least else '<='} "
        f"{limit.limit:<12,.7g}{'' if limit.held else 'BEYOND'}".rstrip()
        for limit in d.limits
    ]
    lines += ["", f"rules: {d.rules_from}"]
    lines += [
        f"  changed here, not applied: gate.{name} {before} -> {after}"
        for name, (before, after) in d.changed_rules.items()
    ]
    if d.looks > 1:
        lines.append(f"looks at this test set: {d.looks}; better means p <= 0.05 / {d.looks}")
    return "\n".join(lines)


def counts_of(errors: list[int]) -> str:
    return ", ".join(map(str, errors))


def describe(found: Difference) -> str:
    return (
        f"{found.broken} broken, {found.fixed} fixed, p = {found.p:.2g}, loss at most "
        f"{found.bound:.1f} per 10,000"
    )


def as_json(decision: Decision) -> dict[str, Any]:
    d = decision
    return {
        "verdict": "pass" if d.passes else "blocked",
        "headline": d.headline,
        "override": d.override,
        "reasons": d.reasons,
        "candidate": [run.name for run in d.candidate],
        "bases": {base.name: base.commit for base in d.bases},
        "against": {name: asdict(judgement) for name, judgement in d.judgements.items()},
        "limits": [asdict(limit) | {"held": limit.held} for limit in d.limits],
        "rules": d.rules.model_dump(),
        "rules_from": d.rules_from,
        "changed_rules": {name: list(pair) for name, pair in d.changed_rules.items()},
        "looks": d.looks,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the gate and the report that explains it both take."""
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument("--base", metavar="REV|DIR", help="what to compare with")
    against.add_argument("--first", action="store_true", help="there is no base yet: limits only")
    candidate = parser.add_mutually_exclusive_group()
    candidate.add_argument(
        "--of",
        metavar="REV",
        action="append",
        help="judge a revision or an experiment, in place of metrics/; once for each seed",
    )
    candidate.add_argument(
        "--metrics",
        metavar="DIR",
        type=Path,
        action="append",
        help="a folder of metrics, in place of metrics/; once for each seed",
    )
    parser.add_argument("--rules", metavar="FILE", type=Path, help="in place of the base's rules")
    parser.add_argument(
        "--base-model",
        action="store_true",
        help="if the evaluator or the test set has changed, score both models with both",
    )
    parser.add_argument("--override", metavar="REASON", help="pass in spite of what is found")


def parse_args() -> argparse.Namespace:
    parser = commands.parser("ops.gate", __doc__)
    add_arguments(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the verdict as JSON")
    parser.add_argument("--json", action="store_true", help="the verdict for a machine")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
