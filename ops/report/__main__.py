"""Report the differences from a base, as Markdown or an HTML page: digits report --base REV|DIR

Takes the arguments of `digits gate`, judges as it does, and shows the details: figures, parameters,
pipeline, and pictures of the digits that were fixed and broken. The Markdown fits into a comment on
a pull request; the HTML page needs no network. Without --markdown and --html, the Markdown is
printed.

    digits report --base main --of lr-default-seed0 --beside lr-lr=0.2_ema=0.99-seed0

There is always a report: if nothing can be compared, it shows the candidate, what differs, why it
can't be compared, and what to do.

Exit code 0: there is a verdict, whatever it is. 2: something is missing or broken; the report says
what.
"""

import argparse

from digits.core import command_line, errors, files
from digits.core.errors import InputError
from ops.gate.arguments import add_arguments, question
from ops.report import content, html, markdown


def main() -> None:
    args = parse_args()
    report = content.gather(question(args), args.beside)
    if args.markdown:
        files.write(args.markdown, markdown.render(report))
    if args.html:
        files.write(args.html, html.render(report))
    if not (args.markdown or args.html):
        print(markdown.render(report), end="")
    if report.faults:
        written = [str(path) for path in (args.markdown, args.html) if path]
        where = f"\n  The report was written: {', '.join(written)}" if written else ""
        raise InputError(f"{report.faults[0]}{where}")


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.report", __doc__)
    add_arguments(parser)
    parser.add_argument(
        "--beside",
        metavar="REV",
        action="append",
        default=[],
        help="show another revision or experiment next to the judged one",
    )
    parser.add_argument(
        "--markdown",
        metavar="FILE",
        type=command_line.path,
        help="write Markdown to a file",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        type=command_line.path,
        help="write an HTML page to a file",
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
