"""Against a server that answers as GitHub's API does."""

import json
from pathlib import Path
from typing import Any

import pytest

from digits.core.errors import InputError
from ops.ci import github as on_github
from ops.ci.host import Change
from tests.helpers.git_hosts import GitHub

DESCRIPTION = "Why:\r\n\r\nGate-override: a small model\r\nmore"


def described(folder: Path, monkeypatch: pytest.MonkeyPatch, *labels: str, **event: Any) -> Change:
    pull = {
        "body": DESCRIPTION,
        "base": {"ref": "trunk"},
        "labels": [{"name": name} for name in labels],
    }
    content = {"pull_request": pull, "sender": {"login": "octocat"}, **event}
    (folder / "event.json").write_text(json.dumps(content))
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(folder / "event.json"))
    return on_github.change()


def test_an_answer_that_is_not_json_is_shown(github: GitHub) -> None:
    github.files["/repos/o/r/pulls/3/files"] = b"<html>Sign in to the proxy"
    with pytest.raises(InputError, match=r"pulls/3/files.*: the answer is not JSON: b'<html"):
        on_github.changed_files(3)


def test_labels_say_how_a_change_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = described(tmp_path, monkeypatch, "bug", action="opened")
    assert plain == Change("origin/trunk")
    three = described(tmp_path, monkeypatch, "three-seeds", action="synchronize")
    assert three == Change("origin/trunk", seeds=3)


def test_an_override_is_valid_in_the_run_that_its_label_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = {"label": {"name": "gate-override"}}
    set_now = described(tmp_path, monkeypatch, "gate-override", action="labeled", **label)
    assert set_now.override == "a small model (octocat)"
    pushed = described(tmp_path, monkeypatch, "gate-override", action="synchronize")
    assert pushed.override is None
    other = {"label": {"name": "bug"}}
    assert not described(tmp_path, monkeypatch, action="labeled", **other).override
    monkeypatch.setattr(f"{__name__}.DESCRIPTION", None)
    with pytest.raises(InputError, match="requires a line in the description"):
        described(tmp_path, monkeypatch, action="labeled", **label)


def test_a_branch_has_one_pull_request_while_it_is_open(github: GitHub) -> None:
    for text in ("first", "second"):
        on_github.propose("retrain", "trunk", "Retrained", text)
    assert github.bodies("pulls") == ["second"]
    assert github.heads == ["o:retrain"] * 2
    assert github.at("pulls")[0]["base"] == "trunk"
