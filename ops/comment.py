"""Post a comparison's report as a comment on its pull request: digits comment FILE

.github/workflows/comment.yml runs it, with the right to write, with the event that GitHub describes
in GITHUB_EVENT_PATH. If the comment exists, it is marked as outdated and then updated, so that an
earlier verdict does not outlive a post that fails. The pull request's own code wrote FILE, so its
text is cut to a size and can mention nobody. GitHub says which pull request it belongs to, not the
file.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from digits.core import command_line, errors
from digits.core.errors import first
from ops.tools import imports
from ops.tools.github import call, find_own, list_all

MARKER = "<!-- compare -->"
LIMIT = 60_000  # characters of FILE in a comment, of which GitHub accepts 65,536
CUT = "\n\n(cut here)"
ROOT = Path(__file__).parents[1]
# A change of what these import changes how the change itself is judged.
JUDGES = ("gate/__main__", "report/__main__", "verify", "evaluators", "comment", "launch")
PINS = ("constraints.txt", "dvc.yaml", "Makefile", "requirements")


def main() -> None:
    args = parse_args()
    run = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_bytes())["workflow_run"]
    number = find_pull_request(run)
    if number is None:
        print(f"{run['head_sha'][:9]} is not the head of one open pull request: nothing to post")
        return
    previous = find_own(f"issues/{number}/comments?", MARKER)
    if previous:
        update(previous, compose(run, "A newer report is on its way.", [], outcome="is outdated"))
    body = compose(run, read_report(args.file), changes_of_judge(number))
    print(update(previous, body) if previous else create(number, body))


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
    """Return the files that decide how a pull request is judged, and that it changes."""
    files = list_all(f"pulls/{number}/files?")
    names = {file.get(key) for file in files for key in ("filename", "previous_filename")}
    code = {path for name in JUDGES for path in imports.reached(f"ops/{name}.py")}
    return sorted(name for name in names if name and decides(name, code))


def decides(name: str, code: set[str]) -> bool:
    """Whether a file is a judge's code, a pin or a workflow, or could be imported in place of one.

    Python looks for a module in the root folder first, and runs a package's `__init__.py`.
    """
    folder, _, rest = name.partition("/")
    shadows = name.endswith(".py") and (not rest or not (ROOT / folder).is_dir())
    is_package = name.endswith("/__init__.py") and folder in imports.PACKAGES
    return name in code or name.startswith((".github/", *PINS)) or shadows or is_package


def read_report(path: Path) -> str | None:
    """Read a file without following links, cut to the size of a comment; None if there is none."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        content = file.read(4 * LIMIT + 1)  # of UTF-8, 4 bytes a character at most
    text = content.decode(errors="replace").replace("@", "@\u200b")
    units = text.encode("utf-16-le")  # what GitHub may count as characters
    if len(units) <= 2 * LIMIT and len(content) <= 4 * LIMIT:
        return text
    return units[: 2 * LIMIT].decode("utf-16-le", errors="ignore") + CUT


def compose(
    run: dict[str, Any], report: str | None, judge: list[str], outcome: str | None = None
) -> str:
    """Return the comment: first what GitHub says, then what the pull request's code says."""
    outcome = outcome or ("passed" if run["conclusion"] == "success" else "**did not pass**")
    lines = [MARKER, f"Comparison of {run['head_sha'][:9]} {outcome}: [run]({run['html_url']})", ""]
    if judge:
        lines += [
            "This pull request changes the code that judges it. Read that first: "
            + first([f"`{name}`" for name in judge], 20),
            "",
        ]
    return "\n".join([*lines, report or "The run ended before its report. Its log says why."])


def update(comment: dict[str, Any], body: str) -> str:
    """Replace a comment's text, and return its URL."""
    return str(call("PATCH", f"issues/comments/{comment['id']}", {"body": body})["html_url"])


def create(number: int, body: str) -> str:
    """Make a comment, and return its URL."""
    return str(call("POST", f"issues/{number}/comments", {"body": body})["html_url"])


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("ops.comment", __doc__)
    parser.add_argument(
        "file", metavar="FILE", type=command_line.path, help="Markdown; the file may be missing"
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
