"""Of runs that failed, to a server that answers as GitHub's API and Slack do."""

import json
import os
from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.ci.notify import notify
from tests.helpers.git_hosts import GitHub

TEXT = "on `main` at c0ffee000, attempt 1: https://github.example/runs/1"


@pytest.fixture(autouse=True)
def _event(github: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "")  # as where the secret is not set


def fail(workflow: str) -> None:
    run = {
        "head_branch": "main",
        "head_sha": "c0ffee" + "0" * 34,
        "run_attempt": 1,
        "html_url": "https://github.example/runs/1",
    }
    event = {"workflow": {"name": workflow}, "workflow_run": run}
    Path(os.environ["GITHUB_EVENT_PATH"]).write_text(json.dumps(event))
    notify()


def test_a_workflow_has_one_issue_while_it_is_open(github: GitHub) -> None:
    fail("Promote")
    fail("Deploy")
    fail("Promote")
    first, second = github.at("issues")
    assert first["title"] == "Promote fails"
    assert f"Promote failed {TEXT}" in first["body"]
    assert second["title"] == "Deploy fails"
    assert github.bodies(f"issues/{first['number']}/comments") == [f"Promote failed {TEXT}"]
    assert github.at(f"issues/{second['number']}/comments") == []
    first["state"] = "closed"
    fail("Promote")
    assert [item["title"] for item in github.at("issues")].count("Promote fails") == 2


def test_someone_elses_issue_with_the_marker_is_left_alone(github: GitHub) -> None:
    fail("Promote")
    [issue] = github.at("issues")
    issue["user"] = {"login": "stranger"}
    github.at("issues").append({"number": 7, "user": {"login": "stranger"}, "body": None})
    fail("Promote")
    assert len(github.at("issues")) == 3
    assert github.at(f"issues/{issue['number']}/comments") == []


def test_a_webhook_gets_the_same_text(github: GitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", f"{github.url}/hook/secret")
    fail("Promote")
    fail("Promote")
    texts = [message["text"] for message in github.lists["/hook/secret"]]
    assert texts == [f"Promote failed {TEXT}"] * 2


@pytest.mark.parametrize("refused", ["/hook/secret", "/repos/o/r/issues"])
def test_where_one_is_refused_the_other_is_told(
    github: GitHub, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", f"{github.url}/hook/secret")
    github.refused.add(refused)
    with pytest.raises(InputError, match=r"410: Gone: .*disabled") as error:
        fail("Promote")
    assert "secret" not in str(error.value)
    assert bool(github.at("issues")) == (refused == "/hook/secret")
    assert ("/hook/secret" in github.lists) == (refused != "/hook/secret")
