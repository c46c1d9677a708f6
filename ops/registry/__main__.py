"""Promote a model, roll back, and list what was in production and why: digits registry COMMAND

    promote [--version X.Y.Z] [--stage STAGE] [--force --reason TEXT]
    rollback [--to X.Y.Z] [--stage STAGE] --reason TEXT
    history [--stage STAGE] [--json]

A version, and its assignment to a GTO stage (production or staging), are Git tags in GTO's format.
The messages of the tags hold the evidence.

`promote` takes HEAD, or the version that --version names if it exists. The gate compares it with
the version that holds the stage, by the rules of that version. A commit without a version gets one:
--version, else the next minor version. `rollback` returns to the version that the present one
replaced, or to any version that held the stage before; the gate is not asked.

One atomic push publishes both tags, or neither. If the command is killed, run it again to complete
it. Without a Git remote the tags stay in this repository.

Exit code 0: done, now or before. 1: the gate blocks. 2: refused, or there is no verdict.
"""

import argparse
import json
import sys

from digits.core import command_line, errors
from digits.core.errors import InputError
from digits.storage.model_store import ENVIRONMENTS
from ops.registry import history, promotion, rollback
from ops.tools import registry_events, tags


def main() -> None:
    args = parse_args()
    match args.command:
        case "promote":
            if args.force and not args.reason:
                raise InputError("--force requires --reason TEXT")
            promoted = promotion.promote(
                args.stage,
                args.version,
                force=args.force,
                reason=args.reason or "",
                base_model=args.base_model,
            )
            sys.exit(0 if promoted else 1)
        case "rollback":
            rollback.roll_back(args.stage, args.to, force=args.force, reason=args.reason)
        case "history":
            known = tags.read()
            if args.json:
                events = registry_events.read(known, args.stage)
                print(json.dumps([history.as_json(event) for event in events], indent=2))
            else:
                print(history.render(known, args.stage))


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.registry", __doc__)
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    forward = subcommands.add_parser("promote", help="judge a model and assign it to a stage")
    forward.add_argument("--version", metavar="X.Y.Z", help="one that exists, or a name for HEAD")
    add_stage(forward, default=ENVIRONMENTS[0])
    forward.add_argument(
        "--force", action="store_true", help="promote although the gate blocks; requires --reason"
    )
    forward.add_argument("--reason", metavar="TEXT", type=str.strip, help="written into the tag")
    forward.add_argument(
        "--base-model",
        action="store_true",
        help="if the evaluator or the test set has changed, score both models with both",
    )

    back = subcommands.add_parser("rollback", help="return to a version that held a stage before")
    back.add_argument("--to", metavar="X.Y.Z", help="a version that held the stage before")
    add_stage(back, default=ENVIRONMENTS[0])
    back.add_argument(
        "--force", action="store_true", help="roll back although the model can't be checked"
    )
    back.add_argument(
        "--reason", metavar="TEXT", type=reason, required=True, help="written into the tag"
    )

    past = subcommands.add_parser("history", help="list which version held a stage when, and why")
    add_stage(past, default=None)
    past.add_argument(
        "--json", action="store_true", help="print JSON, with model, test set, commit and tag"
    )
    return parser.parse_args()


def add_stage(parser: argparse.ArgumentParser, default: str | None) -> None:
    note = f"the GTO stage ({default or 'all'})"
    parser.add_argument("--stage", choices=ENVIRONMENTS, default=default, help=note)


def reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty")
    return " ".join(text.split())


if __name__ == "__main__":
    errors.run(main, failure=2)
