"""Outputs of a commit, in a project that is a subfolder of its repository."""

from pathlib import Path

import pytest

from digits.core.errors import InputError
from ops.tools import dvc, git
from tests.helpers.project import Project

pytestmark = pytest.mark.slow(8)

PIPELINE = """\
stages:
  train:
    cmd: mkdir -p models && echo 1 > models/weights
    outs: [models]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    folder = tmp_path / "repository" / "vision" / "digits"
    (folder / "data").mkdir(parents=True)
    project = Project(folder)
    project.run("git", "init", "--quiet", "--initial-branch=main", str(tmp_path / "repository"))
    project.identify()
    project.run("dvc", "init", "--quiet", "--subdir")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / "data" / "own").write_text("own")
    project.run("dvc", "add", "--quiet", "data/own")
    project.run("dvc", "repro", "--quiet")
    project.commit("one")
    (folder / "dvc.yaml").write_text(PIPELINE.replace("echo 1", "echo 2"))
    project.run("dvc", "repro", "--quiet")
    project.commit("two")
    monkeypatch.chdir(folder)
    return project


def test_outputs_of_a_commit_are_fetched(project: Project, tmp_path: Path) -> None:
    dvc.fetch_committed(git.commit("HEAD~1"), "models", tmp_path / "former")
    dvc.fetch_committed(git.commit("HEAD"), "models", tmp_path / "latter")
    assert (tmp_path / "former" / "weights").read_text() == "1\n"
    assert (tmp_path / "latter" / "weights").read_text() == "2\n"
    with pytest.raises(
        InputError, match=r"nothing of .* is not in the cache, and there is no DVC remote"
    ):
        dvc.fetch_committed(git.commit("HEAD"), "nothing", tmp_path / "none")


@pytest.mark.parametrize("config", ["--local", "--project"])
def test_what_only_the_remote_has_is_fetched_though_the_commit_names_no_remote(
    project: Project, tmp_path: Path, config: str
) -> None:
    project.run("dvc", "remote", "add", config, "--default", "storage", "../../../store")
    project.run("git", "checkout", "--quiet", "HEAD~1", "--", "dvc.lock")
    project.run("dvc", "push", "--quiet")
    assert (tmp_path / "store").is_dir()
    project.run("rm", "-r", ".dvc/cache")
    dvc.fetch_committed(git.commit("HEAD~1"), "models", tmp_path / "former")
    assert (tmp_path / "former" / "weights").read_text() == "1\n"


def test_a_clone_has_the_data_under_dvc(project: Project, tmp_path: Path) -> None:
    clone = dvc.clone_with_data(git.commit("HEAD"), tmp_path / "clone")
    assert (clone / "data" / "own").read_text() == "own"
    assert clone == tmp_path / "clone" / "vision" / "digits"
