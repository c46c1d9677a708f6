"""Report a workflow's failed run in an issue, and to Slack: digits notify

.github/workflows/notify.yml runs it, with the event that GitHub describes in GITHUB_EVENT_PATH.
Each workflow has one issue; while it is open, a further failure becomes a comment there. If
SLACK_WEBHOOK_URL is set, that address gets the same text, in the format of Slack's webhooks.
"""

import json
import os
from pathlib import Path

from digits.core import command_line, errors
from digits.core.errors import InputError
from ops.tools.github import call, find_own, send


def main() -> None:
    command_line.parser("ops.notify", __doc__).parse_args()
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_bytes())
    workflow, run = event["workflow"]["name"], event["workflow_run"]
    text = (
        f"{workflow} failed on `{run['head_branch']}` at {run['head_sha'][:9]}, "
        f"attempt {run['run_attempt']}: {run['html_url']}"
    )
    failures = []
    for report in (report_by_issue, report_by_webhook):
        try:
            report(workflow, text)
        except InputError as error:  # the other one must still be tried
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


if __name__ == "__main__":
    errors.run(main)
