"""GitHub, as a job of its Actions sees it.

GITHUB_API_URL, GITHUB_REPOSITORY and GITHUB_TOKEN name the server, the repository and the account;
GITHUB_EVENT_PATH is the file that describes the event.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from digits.core.errors import InputError
from ops.ci.host import MARKER, OVERRIDE, THREE_SEEDS, Change, Comment, FinishedRun, override_reason
from ops.ci.http import pages, parse, send, token, variable

BOT = "github-actions[bot]"


def fetch_base() -> None:
    """Fetch nothing: actions/checkout has fetched all branches."""


def change() -> Change:
    """The pull request of the event.

    An override is for the commit that the reviewer saw. So it is valid only in the run that starts
    when the label is set, not after a push or a later edit.
    """
    described = event()
    pull = described["pull_request"]
    labels = {label["name"] for label in pull["labels"]}
    overrides = described["action"] == "labeled" and described["label"]["name"] == OVERRIDE
    return Change(
        base=f"origin/{pull['base']['ref']}",
        seeds=3 if THREE_SEEDS in labels else None,
        override=override_reason(pull["body"] or "", described["sender"]["login"])
        if overrides
        else None,
    )


def branch() -> str:
    return variable("GITHUB_REF_NAME")


def finished_runs(report: Path | None) -> Iterator[FinishedRun]:
    """The run of the event, if its commit is still the head of one open pull request."""
    if report is None:
        raise InputError("on GitHub, the report is a file: digits ci comment FILE")
    run = event()["workflow_run"]
    source = run["head_repository"]
    head = quote(f"{source['owner']['login']}:{run['head_branch']}", safe="")
    numbers = [
        pull["number"]
        for pull in list_all(f"pulls?state=open&head={head}")
        if pull["head"]["sha"] == run["head_sha"]
        and (pull["head"]["repo"] or {}).get("id") == source["id"]
    ]
    if len(numbers) == 1:
        yield FinishedRun(
            number=numbers[0],
            commit=run["head_sha"],
            url=run["html_url"],
            passed=run["conclusion"] == "success",
            report=lambda limit: read_file(report, limit),
        )


def read_file(path: Path, limit: int) -> bytes | None:
    """The beginning of a file; links are not followed."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(limit)


def own_comment(number: int) -> Comment | None:
    found = find_own(f"issues/{number}/comments", MARKER)
    return Comment(found["id"], found["body"]) if found else None


def write_comment(number: int, previous: Comment | None, body: str) -> str:
    if previous:
        written = call("PATCH", f"issues/comments/{previous.number}", {"body": body})
    else:
        written = call("POST", f"issues/{number}/comments", {"body": body})
    return str(written["html_url"])


def changed_files(number: int) -> set[str]:
    files = list_all(f"pulls/{number}/files")
    keys = ("filename", "previous_filename")
    return {file[key] for file in files for key in keys if key in file}


def propose(branch: str, base: str, title: str, body: str) -> str:
    owner = variable("GITHUB_REPOSITORY").partition("/")[0]
    head = quote(f"{owner}:{branch}", safe="")
    opened = f"pulls?state=open&base={quote(base, safe='')}&head={head}"
    if pull := next(list_all(opened), None):
        pull = call("PATCH", f"pulls/{pull['number']}", {"body": body})
    else:
        pull = call("POST", "pulls", {"title": title, "head": branch, "base": base, "body": body})
    return str(pull["html_url"])


def event() -> dict[str, Any]:
    """The event that started this job."""
    described: dict[str, Any] = json.loads(Path(variable("GITHUB_EVENT_PATH")).read_bytes())
    return described


def call(method: str, path: str, content: Mapping[str, str] | None = None) -> Any:
    """Call the API for a path in the repository. Returns its answer; raises `InputError`."""
    url = f"{variable('GITHUB_API_URL')}/repos/{variable('GITHUB_REPOSITORY')}/{path}"
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {token('GITHUB_TOKEN')}",
    }
    name = f"{method} {url}"
    return parse(name, send(name, method, url, content, headers))


def list_all(path: str) -> Iterator[dict[str, Any]]:
    return pages(lambda page: call("GET", page), path)


def find_own(path: str, marker: str) -> dict[str, Any] | None:
    """The first item of a list that a workflow wrote and whose text starts with the marker."""
    for item in list_all(path):
        if item["user"]["login"] == BOT and (item["body"] or "").startswith(marker):
            return item
    return None
