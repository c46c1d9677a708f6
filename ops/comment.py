"""Post what a comparison found on its pull request, or update it: digits comment FILE

.github/workflows/comment.yml runs it, with the right to write, on the event that GitHub describes
in GITHUB_EVENT_PATH. The file was written by the pull request's own code: text of a stranger, cut
to a size, in which no one is called by name. Which pull request it is about is asked of GitHub.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from digits.core import command_line, errors
from ops.tools.github import call, find_own, listed

MARKER = "<!-- compare -->"
LIMIT = 60_000  # bytes; GitHub takes 65,536 characters, header and all
# Who changes these, changes the judge of the change.
JUDGE = (".github/", "Makefile", "ops/", "digits/gate/")


def main() -> None:
    args = parse_args()
    run = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_bytes())["workflow_run"]
    number = find_pull_request(run)
    if number is None:
        print(f"{run['head_sha'][:9]} is not the head of one open pull request: nothing to say")
        return
    body = compose(run, read_report(args.file), changes_of_judge(number))
    print(post(number, body))


def find_pull_request(run: dict[str, Any]) -> int | None:
    """The open pull request that the run's commit is the head of; None where it has moved on."""
    source = run["head_repository"]
    head = quote(f"{source['owner']['login']}:{run['head_branch']}", safe="")
    found = [
        pull["number"]
        for pull in listed(f"pulls?state=open&head={head}")
        if pull["head"]["sha"] == run["head_sha"]
        and (pull["head"]["repo"] or {}).get("id") == source["id"]
    ]
    return found[0] if len(found) == 1 else None


def changes_of_judge(number: int) -> list[str]:
    files = listed(f"pulls/{number}/files?")
    names = {file.get(key, "") for file in files for key in ("filename", "previous_filename")}
    return sorted(name for name in names if name.startswith(JUDGE))


def read_report(path: Path) -> str | None:
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        content = file.read(LIMIT + 1)
    text = content[:LIMIT].decode(errors="replace").replace("@", "@\u200b")
    return text if len(content) <= LIMIT else f"{text}\n\n(cut here)"


def compose(run: dict[str, Any], report: str | None, judge: list[str]) -> str:
    """The comment: what GitHub says first, then what the pull request's code says."""
    outcome = "passed" if run["conclusion"] == "success" else "**did not pass**"
    lines = [MARKER, f"Comparison of {run['head_sha'][:9]} {outcome}: [run]({run['html_url']})", ""]
    if judge:
        lines += [
            "This pull request changes what judges it, so read that first: "
            + ", ".join(f"`{name}`" for name in judge[:20])
            + (f" and {len(judge) - 20} more" if len(judge) > 20 else ""),
            "",
        ]
    return "\n".join([*lines, report or "It ended before its report; the run says where."])


def post(number: int, body: str) -> str:
    """Update this workflow's comment, or make it; the comment's address."""
    comments = f"issues/{number}/comments"
    if found := find_own(f"{comments}?", MARKER):
        made = call("PATCH", f"issues/comments/{found['id']}", {"body": body})
    else:
        made = call("POST", comments, {"body": body})
    return str(made["html_url"])


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.comment", __doc__)
    parser.add_argument(
        "file", metavar="FILE", type=command_line.path, help="Markdown; it may be missing"
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
