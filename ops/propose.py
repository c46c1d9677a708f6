"""Open a branch's pull request, or update the open one: digits propose BRANCH TITLE FILE

.github/workflows/retrain.yml runs it. FILE, written by `digits report --markdown`, becomes the text
of the pull request. Only a new pull request gets the title.
"""

import argparse
import os
from urllib.parse import quote

from digits.core import command_line, errors
from ops.tools.github import call, list_all

BASE = "main"


def main() -> None:
    args = parse_args()
    body = args.file.read_text(encoding="utf-8")
    owner = os.environ["GITHUB_REPOSITORY"].partition("/")[0]
    head = quote(f"{owner}:{args.branch}", safe="")
    if pull := next(list_all(f"pulls?state=open&base={BASE}&head={head}"), None):
        pull = call("PATCH", f"pulls/{pull['number']}", {"body": body})
    else:
        content = {"title": args.title, "head": args.branch, "base": BASE, "body": body}
        pull = call("POST", "pulls", content)
    print(pull["html_url"])


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.propose", __doc__)
    parser.add_argument("branch", metavar="BRANCH", help="a branch that is on the server")
    parser.add_argument("title", metavar="TITLE", help="title of a new pull request")
    parser.add_argument("file", metavar="FILE", type=command_line.path, help="text, as Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
