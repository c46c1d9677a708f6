"""Post a comparison's report as a comment on its pull request: digits comment FILE

.github/workflows/comment.yml runs it, with the right to write, with the event that GitHub describes
in GITHUB_EVENT_PATH. If the comment exists, it is updated. The pull request's own code wrote FILE,
so its text is cut to a size and can mention nobody. GitHub says which pull request it belongs to,
not the file.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from digits.core import command_line, errors
from ops.tools.github import call, find_own, list_all

MARKER = "<!-- compare -->"
LIMIT = 60_000  # bytes of FILE; GitHub accepts 65,536 characters in a comment
# A change of these files changes how the change itself is judged.
JUDGE = (".github/", "Makefile", "ops/", "digits/gate/")


def main() -> None:
    args = parse_args()
    run = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_bytes())["workflow_run"]
    number = find_pull_request(run)
    if number is None:
        print(f"{run['head_sha'][:9]} is not the head of one open pull request: nothing to post")
        return
    body = compose(run, read_report(args.file), changes_of_judge(number))
    print(post(number, body))


def find_pull_request(run: dict[str, Any]) -> int | None:
    """Return the open pull request whose head is the run's commit; None if it has moved on."""
    source = run["head_repository"]
    head = quote(f"{source['owner']['login']}:{run['head_branch']}", safe="")
    numbers = [
        pull["number"]
        for pull in list_all(f"pulls?state=open&head={head}")
        if pull["head"]["sha"] == run["head_sha"]
        and (pull["head"]["repo"] or {}).get("id") == source["id"]
    ]
    return numbers[0] if len(numbers) == 1 else None


def changes_of_judge(number: int) -> list[str]:
    """Return the files of `JUDGE` that a pull request changes."""
    files = list_all(f"pulls/{number}/files?")
    names = {file.get(key, "") for file in files for key in ("filename", "previous_filename")}
    return sorted(name for name in names if name.startswith(JUDGE))


def read_report(path: Path) -> str | None:
    """Read a file without following links; None if there is none."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        content = file.read(LIMIT + 1)
    text = content[:LIMIT].decode(errors="replace").replace("@", "@\u200b")
    return text if len(content) <= LIMIT else f"{text}\n\n(cut here)"


def compose(run: dict[str, Any], report: str | None, judge: list[str]) -> str:
    """Return the comment: first what GitHub says, then what the pull request's code says."""
    outcome = "passed" if run["conclusion"] == "success" else "**did not pass**"
    lines = [MARKER, f"Comparison of {run['head_sha'][:9]} {outcome}: [run]({run['html_url']})", ""]
    if judge:
        lines += [
            "This pull request changes the code that judges it. Read that first: "
            + ", ".join(f"`{name}`" for name in judge[:20])
            + (f" and {len(judge) - 20} more" if len(judge) > 20 else ""),
            "",
        ]
    return "\n".join([*lines, report or "The run ended before its report. Its log says why."])


def post(number: int, body: str) -> str:
    """Update this workflow's comment, or make it, and return its URL."""
    comments = f"issues/{number}/comments"
    if comment := find_own(f"{comments}?", MARKER):
        comment = call("PATCH", f"issues/comments/{comment['id']}", {"body": body})
    else:
        comment = call("POST", comments, {"body": body})
    return str(comment["html_url"])


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.comment", __doc__)
    parser.add_argument(
        "file", metavar="FILE", type=command_line.path, help="Markdown; the file may be missing"
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
