"""Compare a change with its base and decide whether it may be merged: digits gate --base REV|DIR

Compares the metrics in metrics/ with those of a base, image by image, by the base's own rules
(params.yaml: gate), and prints why the change passes or why it is blocked. A revision is a branch,
a tag, a commit or the name of a DVC experiment. If a model is in production (a tag
`digit-classifier#production#N`), the change is compared with that model, too.

Exit code 0: pass. 1: blocked. 2: something is missing or broken, so there is no verdict.
"""

import argparse
import sys

from digits.core import command_line, errors, files
from ops.gate import text
from ops.gate.arguments import add_arguments, question
from ops.gate.decision import decide


def main() -> None:
    args = parse_args()
    decision = decide(question(args))
    document = files.canonical_json(text.as_json(decision))
    print(document if args.json else f"{text.render(decision)}\n", end="")
    if args.out:
        files.write(args.out, document)
    sys.exit(0 if decision.passes else 1)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.gate", __doc__)
    add_arguments(parser)
    parser.add_argument(
        "--out", metavar="FILE", type=command_line.path, help="write the verdict as JSON"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
