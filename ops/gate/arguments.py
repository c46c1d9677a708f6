"""The arguments of the gate, which the report takes too."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from digits.core.command_line import path, path_or_name
from digits.core.errors import InputError


@dataclass(frozen=True)
class Question:
    """Which candidate to judge, against which base, by which rules.

    `base` is None if there is no base yet. `revisions`, or the folders in `metrics`, name the
    candidate's runs, one for each seed; with neither, metrics/ in the working tree is judged.
    """

    base: str | None
    revisions: tuple[str, ...] = ()
    metrics: tuple[Path, ...] = ()
    rules: Path | None = None
    base_model: bool = False  # if the evaluators differ, score both models with both
    same_evaluator: bool = False  # the caller's claim, which counts where the code is unknown
    override: str | None = None  # the reason to pass although the gate blocks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    against = parser.add_mutually_exclusive_group(required=True)
    against.add_argument(
        "--base", metavar="REV|DIR", type=path_or_name, help="what to compare with"
    )
    against.add_argument(
        "--first", action="store_true", help="there is no base yet; check the limits only"
    )
    candidate = parser.add_mutually_exclusive_group()
    candidate.add_argument(
        "--of",
        metavar="REV",
        action="append",
        default=[],
        help="judge a revision or an experiment instead of metrics/; give it once for each seed",
    )
    candidate.add_argument(
        "--metrics",
        metavar="DIR",
        type=path,
        action="append",
        default=[],
        help="judge a folder of metrics instead of metrics/; give it once for each seed",
    )
    parser.add_argument(
        "--rules",
        metavar="FILE",
        type=path,
        help="params.yaml with the rules to apply instead of the base's",
    )
    parser.add_argument(
        "--base-model",
        action="store_true",
        help="if the evaluator or the test set has changed, score both models with both",
    )
    parser.add_argument(
        "--same-evaluator",
        action="store_true",
        help="state that one evaluator made both sides; required to compare folders, whose code is "
        "unknown. The verdict repeats the statement",
    )
    parser.add_argument("--override", metavar="REASON", help="pass although the gate blocks")


def question(args: argparse.Namespace) -> Question:
    """Return the arguments as a value; raises `InputError` if an override has no reason."""
    if args.override is not None and not args.override.strip():
        raise InputError("--override requires a reason")
    return Question(
        base=None if args.first else args.base,
        revisions=tuple(args.of),
        metrics=tuple(args.metrics),
        rules=args.rules,
        base_model=args.base_model,
        same_evaluator=args.same_evaluator,
        override=args.override,
    )
