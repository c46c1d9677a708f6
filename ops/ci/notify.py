"""Report a workflow's failed run in an issue of GitHub, and to Slack.

Each workflow has one issue; while it is open, a further failure becomes a comment there. If
SLACK_WEBHOOK_URL is set, that address gets the same text, in the format of Slack's webhooks.
"""

import os

from digits.core.errors import InputError
from ops.ci.github import call, event, find_own
from ops.ci.http import send


def notify() -> None:
    """Report the run that has started this job. Raises `InputError` if a report fails."""
    described = event()
    workflow, run = described["workflow"]["name"], described["workflow_run"]
    text = (
        f"{workflow} failed on `{run['head_branch']}` at {run['head_sha'][:9]}, "
        f"attempt {run['run_attempt']}: {run['html_url']}"
    )
    failures = []
    for report in (report_by_issue, report_by_webhook):
        try:
            report(workflow, text)
        except InputError as error:  # the other way is still tried
            failures.append(str(error))
    if failures:
        raise InputError("\n".join(failures))


def report_by_issue(workflow: str, text: str) -> None:
    marker = f"<!-- {workflow} failed -->"
    if issue := find_own("issues?state=open", marker):
        post = call("POST", f"issues/{issue['number']}/comments", {"body": text})
    else:
        note = "Further failures are reported as comments. When it works again, close this issue."
        body = f"{marker}\n{text}\n\n{note}"
        post = call("POST", "issues", {"title": f"{workflow} fails", "body": body})
    print(post["html_url"])


def report_by_webhook(workflow: str, text: str) -> None:
    if url := os.environ.get("SLACK_WEBHOOK_URL"):
        send("SLACK_WEBHOOK_URL", "POST", url, {"text": text})
