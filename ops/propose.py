"""Open a branch's pull request, or update the open one: digits propose BRANCH TITLE FILE

.github/workflows/retrain.yml runs it. The file, Markdown by `digits report --markdown`, becomes the
text of the pull request. The title is for a new one.
"""

import argparse
import os
from urllib.parse import quote

from digits.core import command_line, errors
from ops.tools.github import call, listed

BASE = "main"


def main() -> None:
    args = parse_args()
    body = args.file.read_text(encoding="utf-8")
    owner = os.environ["GITHUB_REPOSITORY"].partition("/")[0]
    head = quote(f"{owner}:{args.branch}", safe="")
    if found := next(listed(f"pulls?state=open&base={BASE}&head={head}"), None):
        made = call("PATCH", f"pulls/{found['number']}", {"body": body})
    else:
        content = {"title": args.title, "head": args.branch, "base": BASE, "body": body}
        made = call("POST", "pulls", content)
    print(made["html_url"])


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.propose", __doc__)
    parser.add_argument("branch", metavar="BRANCH", help="which the server has already")
    parser.add_argument("title", metavar="TITLE", help="where none is open yet")
    parser.add_argument("file", metavar="FILE", type=command_line.path, help="Markdown")
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
