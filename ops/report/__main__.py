"""What has changed, for people: digits report --base REV|DIR

Judges as digits gate does, from the same arguments, and tells the whole story: figures, parameters,
pipeline, and the digits that were fixed and broken, as pictures. Markdown fits into a pull
request's comment; the HTML page opens anywhere, offline. With neither file named, it prints
Markdown.

    digits report --base main --of lr-default-seed0 --beside lr-lr=0.2_ema=0.99-seed0

Exit code 0: a report was written, whatever the verdict. 2: nothing can be said.
"""

import argparse

from digits.core import command_line, errors, files
from ops.gate.arguments import add_arguments, question
from ops.report import content, html, markdown


def main() -> None:
    args = parse_args()
    found = content.gather(question(args), args.beside)
    if args.markdown:
        files.write(args.markdown, markdown.render(found))
    if args.html:
        files.write(args.html, html.render(found))
    if not (args.markdown or args.html):
        print(markdown.render(found), end="")


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.report", __doc__)
    add_arguments(parser)
    parser.add_argument(
        "--beside",
        metavar="REV",
        action="append",
        default=[],
        help="another revision or experiment, shown beside the one that is judged",
    )
    parser.add_argument(
        "--markdown", metavar="FILE", type=command_line.path, help="for a pull request"
    )
    parser.add_argument(
        "--html", metavar="FILE", type=command_line.path, help="a page that needs no network"
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main, failure=2)
