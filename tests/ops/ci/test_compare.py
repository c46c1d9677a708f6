"""A change merged into its base, and what the steps of a job get; compare itself: end_to_end."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from digits.core import command_line
from digits.core.errors import InputError
from ops.ci import compare, steps
from ops.ci.host import Change
from ops.tools import git
from tests.helpers import warm_python
from tests.helpers.project import Project
from tests.helpers.small import ROOT


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Branch change, checked out, and branch trunk, which has gone on since."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")  # nobody has said who commits
    git.run("init", "--quiet", "--initial-branch=trunk")
    commit(a="1", b="1")
    git.run("checkout", "--quiet", "-b", "change")
    commit(a="2")
    git.run("checkout", "--quiet", "trunk")
    commit(b="2")
    git.run("checkout", "--quiet", "change")
    return tmp_path


def commit(**contents: str) -> None:
    for name, content in contents.items():
        Path(name).write_text(content)
    git.run("add", "--all")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    git.run(*author, "commit", "--quiet", "--message=x")


@pytest.mark.usefixtures("repository")
def test_a_change_is_merged_into_its_base_once(capsys: pytest.CaptureFixture[str]) -> None:
    change, base = git.commit("change"), git.commit("trunk")
    compare.merge("trunk")
    assert (Path("a").read_text(), Path("b").read_text()) == ("2", "2")
    assert git.run("rev-list", "--parents", "-1", "HEAD").split()[1:] == [base, change]
    assert git.commit("trunk") == base
    merged = git.commit("HEAD")
    compare.merge("trunk")
    assert git.commit("HEAD") == merged
    assert "has all of trunk" in capsys.readouterr().err


@pytest.mark.usefixtures("repository")
def test_a_python_without_packages_can_merge() -> None:
    """As a job does before it sets up the environment, which the merge may change."""
    words = [sys.executable, "-S", "-m", "ops.ci", "merge", "--base", "trunk"]
    subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert (Path("a").read_text(), Path("b").read_text()) == ("2", "2")


@pytest.mark.usefixtures("repository")
def test_a_conflict_leaves_the_change_checked_out() -> None:
    commit(b="3")
    head = git.commit("HEAD")
    with pytest.raises(
        InputError, match=r"can't be merged into trunk. Merge trunk into your branch"
    ):
        compare.merge("trunk")
    assert git.commit("HEAD") == head
    assert git.run("status", "--porcelain") == ""


@pytest.mark.usefixtures("repository")
def test_work_that_is_not_committed_is_not_lost() -> None:
    head = git.commit("HEAD")
    Path("b").write_text("mine")
    with pytest.raises(InputError, match=r"not committed: b\. Commit or stash this first"):
        compare.merge("trunk")
    assert (git.commit("HEAD"), Path("b").read_text()) == (head, "mine")


def test_a_shallow_clone_is_refused(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path_factory.mktemp("clone")
    url = f"file://{repository}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", url, clone], check=True)
    monkeypatch.chdir(clone)
    for step in (lambda: compare.merge("HEAD"), lambda: compare.compare(compare.Change("HEAD"))):
        with pytest.raises(InputError, match="git fetch --unshallow"):
            step()


def test_a_step_that_was_killed_passes_nothing() -> None:
    assert compare.worst(0, 0) == 0
    assert compare.worst(0, 1) == 1
    for code in (-9, 2, 255):
        assert compare.worst(0, 1, code) == 2


STEPS = [
    "pull data/raw, with credentials",
    "repro --no-run-cache fetch",
    "repro --no-run-cache --force --downstream prepare",
    "--here",
    "--rules trunk --seeds 3",
    "--base trunk, with credentials",
    "--base trunk --base-model --override because --markdown=comparison/report.md "
    "--html=comparison/report.html",
    "--base trunk --base-model --override because",
]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("failing", "code", "expected"),
    [
        ("none", 0, 0),
        ("ops.verify", 1, 1),
        ("ops.experiment", 1, 2),  # a seed that was not trained proves nothing
        ("ops.evaluators", 2, 2),
        ("ops.report", 2, 0),
        ("ops.gate", 1, 1),
        ("ops.gate", 2, 2),
    ],
)
def test_each_step_counts_and_only_those_that_need_the_remote_get_its_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failing: str, code: int, expected: int
) -> None:
    program, steps_file = tmp_path / ".git" / "python", tmp_path / ".git" / "steps"
    program.write_text(
        f"""#!/bin/sh
module=$2; shift 2
echo "$*${{AWS_SECRET_ACCESS_KEY:+, with credentials}}" >> {steps_file}
[ "$module" != {failing} ] || exit {code}
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert compare.compare(Change("trunk", seeds=3, override="because")) == expected
    assert steps_file.read_text().splitlines() == STEPS


PIPELINE = """\
stages:
  fetch:
    cmd: mkdir -p data/raw && echo raw > data/raw/images
    outs:
      - data/raw
"""


@pytest.mark.slow(4)
def test_all_data_of_a_commit_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.scratch(tmp_path / "project")
    data = project.folder / "data"
    parts = ("own/test", "own/train")
    for part in parts:
        (data / part).mkdir(parents=True)
        (data / part / "file").write_text(part)
    (project.folder / "dvc.yaml").write_text(PIPELINE)
    project.run("dvc", "add", "--quiet", *(f"data/{part}" for part in parts))
    project.run("dvc", "repro", "--quiet")
    project.run("dvc", "remote", "add", "--quiet", "--default", "here", str(tmp_path / "remote"))
    project.run("dvc", "push", "--quiet")
    project.commit("own images")
    shutil.rmtree(data / "raw")
    for part in parts:
        shutil.rmtree(data / part)
    shutil.rmtree(project.folder / ".dvc" / "cache")

    monkeypatch.chdir(project.folder)
    monkeypatch.setattr(sys, "executable", str(warm_python.python()))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    compare.fetch_data()
    assert [(data / part / "file").read_text() for part in parts] == list(parts)
    assert (data / "raw" / "images").exists()


def test_only_steps_that_need_the_remote_get_its_credentials(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    for name in secrets:
        monkeypatch.setenv(name, "secret-key")
    for credentials in (False, True):
        steps.python("os", credentials=credentials)  # a module that ends at once
        variables = steps.environment(credentials=credentials)
        assert secrets & variables.keys() == (secrets if credentials else set())
    assert "secret-key" not in "".join(capfd.readouterr())


def test_the_paths_of_a_step_are_of_the_root_although_the_user_is_in_a_subfolder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(command_line.STARTED_IN, "/project/docs")
    assert command_line.STARTED_IN not in steps.environment(credentials=True)
