"""What is in production, why, and how to go back: digits registry COMMAND

    promote [--version X.Y.Z] [--stage STAGE] [--force --reason TEXT]
    rollback [--to X.Y.Z] [--stage STAGE] --reason TEXT
    history [--stage STAGE] [--json]

A version, and its assignment to a stage (production or staging), are Git tags in GTO's format. The
messages of the tags hold the evidence.

`promote` takes HEAD, or the version that --version names if it exists. The gate judges it against
the version that holds the stage now, by the rules of that version. A commit without a version gets
one: --version, else the next minor version. `rollback` returns to the version that the present one
replaced, or to any that held the stage before; the gate is not asked.

Both tags are published by one atomic push, or not at all. If the command is killed, run it again
to do what is missing. Without a Git remote the tags stay in this repository.

Exit code 0: done, or done before. 1: the gate blocks. 2: refused, or there is no verdict.
"""

import argparse
import json
import sys

from digits.core import command_line, errors
from digits.core.errors import InputError
from digits.storage.model_store import STAGES
from ops.registry import history, promotion, rollback


def main() -> None:
    args = parse_args()
    sys.exit(args.command(args))


def run_promote(args: argparse.Namespace) -> int:
    if args.force and not args.reason:
        raise InputError("--force requires --reason TEXT")
    promoted = promotion.promote(
        args.stage,
        args.version,
        force=args.force,
        reason=args.reason or "",
        base_model=args.base_model,
    )
    return 0 if promoted else 1


def run_rollback(args: argparse.Namespace) -> int:
    rollback.roll_back(args.stage, args.to, force=args.force, reason=args.reason)
    return 0


def run_history(args: argparse.Namespace) -> int:
    events = history.read(args.stage)
    print(json.dumps(events, indent=2) if args.json else history.render(args.stage, events))
    return 0


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.registry", __doc__)
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")

    forward = subcommands.add_parser("promote", help="judge a model, and assign it to a stage")
    forward.set_defaults(command=run_promote)
    forward.add_argument("--version", metavar="X.Y.Z", help="one that exists, or a name for HEAD")
    forward.add_argument("--stage", choices=STAGES, default=STAGES[0])
    forward.add_argument(
        "--force", action="store_true", help="promote whatever the gate says; requires --reason"
    )
    forward.add_argument("--reason", metavar="TEXT", type=str.strip, help="goes into the tag")
    forward.add_argument(
        "--base-model",
        action="store_true",
        help="if the evaluator or the test set has changed, score both models with both",
    )

    back = subcommands.add_parser("rollback", help="return to the version that held a stage before")
    back.set_defaults(command=run_rollback)
    back.add_argument("--to", metavar="X.Y.Z", help="a version that held the stage once")
    back.add_argument("--stage", choices=STAGES, default=STAGES[0])
    back.add_argument("--force", action="store_true", help="even if the model can't be checked")
    back.add_argument("--reason", metavar="TEXT", type=reason, required=True, help="why")

    past = subcommands.add_parser("history", help="which version held a stage when, and why")
    past.set_defaults(command=run_history)
    past.add_argument("--stage", choices=STAGES)
    past.add_argument("--json", action="store_true", help="with model, test set, commit and tag")
    return parser.parse_args()


def reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty")
    return " ".join(text.split())


if __name__ == "__main__":
    errors.run(main, failure=2)
