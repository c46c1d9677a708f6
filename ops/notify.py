"""Tell of a workflow's run that failed: digits notify

.github/workflows/notify.yml runs it, on the event that GitHub describes in GITHUB_EVENT_PATH. Each
workflow has one issue: while that is open, a further failure is a comment there. Where
SLACK_WEBHOOK_URL is set, that address gets the same text, as Slack and its like take it.
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
    for tell in (tell_by_issue, tell_by_webhook):
        try:
            tell(workflow, text)
        except InputError as error:  # the other one is to know all the same
            failures.append(str(error))
    if failures:
        raise InputError("\n".join(failures))


def tell_by_issue(workflow: str, text: str) -> None:
    marker = f"<!-- {workflow} failed -->"
    if found := find_own("issues?state=open", marker):
        made = call("POST", f"issues/{found['number']}/comments", {"body": text})
    else:
        body = f"{marker}\n{text}\n\nFurther failures are told below. Mended? Close this issue."
        made = call("POST", "issues", {"title": f"{workflow} fails", "body": body})
    print(made["html_url"])


def tell_by_webhook(workflow: str, text: str) -> None:
    if url := os.environ.get("SLACK_WEBHOOK_URL"):
        send("SLACK_WEBHOOK_URL", "POST", url, {"text": text})


if __name__ == "__main__":
    errors.run(main)
