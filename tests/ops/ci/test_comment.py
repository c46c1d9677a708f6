"""Against a server that answers as GitHub's API does."""

import json
from pathlib import Path
from typing import Any

import pytest

from digits.core.errors import InputError
from ops.ci import comment
from ops.ci import github as on_github
from ops.ci.comment import LIMIT
from ops.ci.github import BOT
from ops.ci.host import MARKER
from ops.tools import git
from tests.helpers.git_hosts import GitHub

SHA = "c0ffee" + "0" * 34
RUN = {
    "head_sha": SHA,
    "head_branch": "wider & better",
    "head_repository": {"id": 7, "owner": {"login": "stranger"}},
    "conclusion": "failure",
    "html_url": "https://github.example/runs/1",
}


@pytest.fixture(autouse=True)
def _event(github: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(json.dumps({"workflow_run": RUN}))
    (tmp_path / "comment.md").write_text("BLOCKED: 12 broken\n")
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    github.at("pulls").append({"number": 3, "head": {"sha": SHA, "repo": {"id": 7}}})
    github.at("pulls/3/files").append({"filename": "params.yaml"})


def post(folder: Path) -> None:
    comment.comment(on_github, folder / "comment.md")


def test_a_comment_is_made_once_and_then_updated(github: GitHub, tmp_path: Path) -> None:
    post(tmp_path)
    (tmp_path / "comment.md").write_text("PASS")
    post(tmp_path)
    [body] = github.bodies("issues/3/comments")
    assert body.startswith(f"{MARKER}\nComparison of c0ffee000 **did not pass**: [run](https")
    assert body.endswith("\nPASS")
    assert github.heads == ["stranger:wider & better"] * 2


def test_someone_elses_comment_with_the_marker_stays(github: GitHub, tmp_path: Path) -> None:
    theirs = {"id": 1, "user": {"login": "stranger"}, "body": f"{MARKER} fine"}
    other = {"id": 2, "user": {"login": BOT}, "body": "of another workflow"}
    found = github.at("issues/3/comments")
    found += [theirs, *([other] * 150)]
    post(tmp_path)
    assert len(found) == 152
    assert found[0]["body"] == f"{MARKER} fine"


@pytest.mark.parametrize(
    "head",
    [
        {"sha": "0" * 40, "repo": {"id": 7}},
        {"sha": SHA, "repo": {"id": 8}},
        {"sha": SHA, "repo": None},
    ],
)
def test_nothing_is_said_to_a_pull_request_with_another_head(
    github: GitHub, tmp_path: Path, head: dict[str, Any]
) -> None:
    github.at("pulls")[:] = [{"number": 3, "head": head}]
    post(tmp_path)
    assert github.bodies("issues/3/comments") == []


def test_a_strangers_text_is_cut_and_calls_nobody(github: GitHub, tmp_path: Path) -> None:
    for text in (b"@everyone \xff" + b"x" * LIMIT, b"@" * LIMIT, "\U0001f600".encode() * LIMIT):
        (tmp_path / "comment.md").write_bytes(text)
        post(tmp_path)
        [body] = github.bodies("issues/3/comments")
        assert "@everyone" not in body
        assert body.endswith("(cut here)")
        assert len(body.encode("utf-16-le")) / 2 < 65_536


def test_an_earlier_verdict_does_not_outlive_a_post_that_fails(
    github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "comment.md").write_text("PASS: fine")
    post(tmp_path)

    def fail(*_: object) -> None:
        raise InputError("refused")

    monkeypatch.setattr(comment, "read_report", fail)
    with pytest.raises(InputError, match="refused"):
        post(tmp_path)
    [body] = github.bodies("issues/3/comments")
    assert "is outdated" in body
    assert "PASS" not in body


def test_a_link_is_not_followed(github: GitHub, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "comment.md").unlink()
    (tmp_path / "comment.md").symlink_to(tmp_path / "secret")
    post(tmp_path)
    [body] = github.bodies("issues/3/comments")
    assert "secret" not in body
    assert "ended before its report" in body


def test_a_change_of_the_judge_is_named(github: GitHub, tmp_path: Path) -> None:
    files = github.at("pulls/3/files")
    files += [
        {"filename": "docs/x.py", "previous_filename": "ops/gate/__main__.py", "status": "renamed"},
        {"filename": "serving/app.py"},
    ]
    post(tmp_path)
    [body] = github.bodies("issues/3/comments")
    assert "touches the code that judges it. Read that first: `ops/gate/__main__.py`\n" in body


def test_in_a_larger_repository_a_change_of_the_judge_is_named_too(
    github: GitHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vision" / "digits").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    git.run("init", "--quiet")
    monkeypatch.chdir(tmp_path / "vision" / "digits")
    for name in ("ops/gate/__main__.py", "digits/training/loop.py", "constraints.txt"):
        github.at("pulls/3/files").append({"filename": f"vision/digits/{name}"})
    post(tmp_path)
    [body] = github.bodies("issues/3/comments")
    named = "`vision/digits/constraints.txt`, `vision/digits/ops/gate/__main__.py`\n"
    assert f"Read that first: {named}" in body


@pytest.mark.parametrize(
    ("name", "flagged"),
    [
        ("digits/core/errors.py", True),  # exit codes
        ("digits/core/params.py", True),
        ("digits/gate/results.py", True),
        ("ops/tools/git.py", True),
        ("digits/core/__init__.py", True),
        ("json.py", True),  # would be imported in place of Python's
        ("argparse/__init__.py", True),
        ("constraints.txt", True),
        ("requirements-compute.txt", True),
        ("dvc.yaml", True),
        (".github/workflows/ci.yml", True),
        (".gitlab-ci.yml", True),
        ("ops/ci/compare.py", True),
        ("ops/experiment.py", True),
        ("params.yaml", False),
        ("digits/training/loop.py", False),
        ("README.md", False),
    ],
)
def test_what_decides_is_found_by_the_imports_of_what_judges(name: str, flagged: bool) -> None:
    assert comment.decides(name, comment.judging_code()) == flagged
