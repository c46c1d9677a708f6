"""GitLab, as a job of its CI sees it.

The variables CI_... that GitLab sets name the server and the project. GITLAB_TOKEN is a token of
the project with the scope `api`: CI_JOB_TOKEN may not write notes. The job that judges a merge
request needs no token.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from digits.core.command_line import say
from digits.core.errors import InputError
from ops.ci.host import MARKER, OVERRIDE, THREE_SEEDS, Change, Comment, FinishedRun, override_reason
from ops.ci.http import Refused, pages, parse, send, token, variable
from ops.tools import git

JOB = "compare"
REPORT = "comparison/comment.md"


def fetch_base() -> None:
    """Fetch the target branch and the tags from the merge request's project.

    The pipeline of a fork runs in the fork, whose own branches and tags may be old.
    """
    target = variable("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
    same = variable("CI_MERGE_REQUEST_PROJECT_ID") == variable("CI_PROJECT_ID")
    place = "origin" if same else f"{variable('CI_MERGE_REQUEST_PROJECT_URL')}.git"
    branch = f"+refs/heads/{target}:refs/remotes/target/{target}"
    git.run("fetch", "--quiet", "--no-tags", place, branch, "+refs/tags/*:refs/tags/*")


def change() -> Change:
    """The merge request of this pipeline.

    An override is for the commit that the reviewer saw. GitLab starts no pipeline when a label is
    set, so the label names the commit: `gate-override c0ffee123`.
    """
    labels = os.environ.get("CI_MERGE_REQUEST_LABELS", "").split(",")
    head = os.environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or variable("CI_COMMIT_SHA")
    override = None
    if any(names_commit(label, head) for label in labels):
        description = os.environ.get("CI_MERGE_REQUEST_DESCRIPTION", "")
        override = override_reason(description, variable("GITLAB_USER_LOGIN"))
    return Change(
        base=f"target/{variable('CI_MERGE_REQUEST_TARGET_BRANCH_NAME')}",
        seeds=3 if THREE_SEEDS in labels else None,
        override=override,
    )


def names_commit(label: str, commit: str) -> bool:
    match = re.fullmatch(rf"{OVERRIDE} ([0-9a-f]{{8,}})", label.strip())
    return match is not None and commit.startswith(match[1])


def branch() -> str:
    return variable("CI_COMMIT_BRANCH")


def finished_runs(report: Path | None) -> Iterator[FinishedRun]:
    """The newest run of each open merge request, if it has ended and is not commented on yet."""
    if report is not None:
        raise InputError("on GitLab, the reports are artifacts: digits ci comment")
    for request in list_all("merge_requests?state=opened"):
        try:
            run = newest_run(request)
            previous = own_comment(request["iid"]) if run else None
        except InputError as error:  # as of a private fork; the others still get a comment
            say(f"!{request['iid']}: {error}")
            continue
        if run and not (previous and previous.is_about(run)):
            yield run


def newest_run(request: dict[str, Any]) -> FinishedRun | None:
    """The job `compare` of a merge request's newest pipeline; None if it has not ended."""
    number = request["iid"]
    pipelines = list_all(f"merge_requests/{number}/pipelines")  # the newest first
    pipeline = next((p for p in pipelines if p["source"] == "merge_request_event"), None)
    if pipeline is None:
        return None
    # A merged results pipeline runs on a temporary commit, the merge with the target branch.
    is_merged = pipeline["ref"].endswith("/merge")
    if not is_merged and pipeline["sha"] != request["sha"]:
        return None
    project = pipeline["project_id"]
    jobs = list_all(f"pipelines/{pipeline['id']}/jobs", project)
    job = next((job for job in jobs if job["name"] == JOB), None)
    if job is None or job["status"] not in ("success", "failed"):
        return None
    in_fork = str(project) != variable("CI_PROJECT_ID")
    return FinishedRun(
        number=number,
        commit=request["sha"],
        url=job["web_url"],
        passed=job["status"] == "success",
        report=lambda limit: artifact(project, job["id"], limit),
        caution="It ran in the fork, whose owner decides what runs there. Before you merge, run it "
        "in this project: Pipelines, Run pipeline."
        if in_fork
        else "",
    )


def artifact(project: int, job: int, limit: int) -> bytes | None:
    """The beginning of a job's report; None if it has none."""
    path = quote((git.project_in_repository() / REPORT).as_posix())
    try:
        return request_api("GET", f"projects/{project}/jobs/{job}/artifacts/{path}", limit=limit)
    except Refused as error:
        if error.status == 404:
            return None
        raise


def own_comment(number: int) -> Comment | None:
    me = call_api("GET", "user")["id"]
    for note in list_all(f"merge_requests/{number}/notes"):
        if note["author"]["id"] == me and note["body"].startswith(MARKER):
            return Comment(note["id"], note["body"])
    return None


def write_comment(number: int, previous: Comment | None, body: str) -> str:
    notes = f"merge_requests/{number}/notes"
    content = {"body": without_commands(body)}
    if previous:
        note = call("PUT", f"{notes}/{previous.number}", content)
    else:
        note = call("POST", notes, content)
    project = variable("CI_PROJECT_URL")
    return f"{project}/-/merge_requests/{number}#note_{note['id']}"


def changed_files(number: int) -> set[str]:
    files = list_all(f"merge_requests/{number}/diffs")
    return {file[key] for file in files for key in ("old_path", "new_path")}


def propose(branch: str, base: str, title: str, body: str) -> str:
    names = f"source_branch={quote(branch, safe='')}&target_branch={quote(base, safe='')}"
    opened = list_all(f"merge_requests?state=opened&{names}")
    own = (r for r in opened if str(r["source_project_id"]) == variable("CI_PROJECT_ID"))
    text = without_commands(body)
    if request := next(own, None):
        request = call("PUT", f"merge_requests/{request['iid']}", {"description": text})
    else:
        content = {"title": title, "source_branch": branch, "target_branch": base}
        request = call("POST", "merge_requests", content | {"description": text})
    return str(request["web_url"])


def without_commands(text: str) -> str:
    """Break lines such as `/merge`, which GitLab would carry out for the author of the note."""
    lines = text.splitlines(keepends=True)
    return "".join(
        line.replace("/", "\u200b/", 1) if line.lstrip().startswith("/") else line for line in lines
    )


def call(method: str, path: str, content: Mapping[str, str]) -> Any:
    """Call the API for a path in the project. Returns its answer; raises `InputError`."""
    return call_api(method, f"projects/{variable('CI_PROJECT_ID')}/{path}", content)


def list_all(path: str, project: int | None = None) -> Iterator[dict[str, Any]]:
    """All items of a list in a project, by default this one."""
    place = f"projects/{project or variable('CI_PROJECT_ID')}"
    return pages(lambda page: call_api("GET", page), f"{place}/{path}")


def call_api(method: str, path: str, content: Mapping[str, str] | None = None) -> Any:
    return parse(f"{method} {path}", request_api(method, path, content))


def request_api(
    method: str, path: str, content: Mapping[str, str] | None = None, limit: int | None = None
) -> bytes:
    url = f"{variable('CI_API_V4_URL')}/{path}"
    headers = {"PRIVATE-TOKEN": token("GITLAB_TOKEN")}
    return send(f"{method} {url}", method, url, content, headers, limit)
