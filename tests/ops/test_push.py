"""digits push --commits; tests/end_to_end/test_remote.py pushes data."""

from pathlib import Path

import pytest
import yaml

from digits.core import files
from ops import push
from ops.tools import object_store
from tests.helpers.project import Project


def test_commits_go_to_the_git_server_if_there_is_one(tmp_path: Path) -> None:
    project = Project.scratch(tmp_path / "project")
    push = ("python", "-m", "ops.push", "--commits")
    assert "there is no Git server to push to" in project.run(*push, code=2)
    project.run("git", "init", "--quiet", "--bare", str(tmp_path / "server"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "server"))
    project.run(*push)
    head = project.run("git", "rev-parse", "HEAD")
    assert project.run("git", "ls-remote", "origin", "main").split()[0] == head.strip()
    project.run("git", "checkout", "--quiet", "--detach")
    said = project.run(*push, code=2)
    assert "HEAD is on no branch" in said
    assert "git push origin HEAD:refs/heads/BRANCH" in said
    project.run("git", "checkout", "--quiet", "main")
    (tmp_path / "server" / "HEAD").unlink()
    assert "git push origin HEAD failed" in project.run(*push, code=2)


def test_a_run_that_a_killed_dvc_left_incomplete_stops_no_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Project.scratch(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    part = Path(".dvc/cache/runs/ab") / ("a" * 64) / f"{'b' * 64}.Xy3.tmp"
    part.parent.mkdir(parents=True)
    part.with_name("b" * 64).write_text("cmd: python")
    part.write_text("cmd")
    part.with_name("c" * 64).touch()
    part.with_name("d" * 64).write_text("cmd: python\nouts: [{path: a, md5: none}]")
    with object_store.stores() as (cache, _):
        assert list(push.small_outputs(cache)) == []
    empty, other = capsys.readouterr().err.splitlines()
    assert f"passed over: {part.with_name('c' * 64).resolve()} holds NoneType" in empty
    assert f"{'d' * 64}: a has the md5 none; expected 32 hex digits. Delete the file" in other


def test_of_an_earlier_run_the_files_are_pushed_and_not_the_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.scratch(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    oids = {"metrics/train.json": "1" * 32, "models": f"{'2' * 32}.dir"}
    entry = {"cmd": "python", "outs": [{"path": path, "md5": oid} for path, oid in oids.items()]}
    files.write(Path(".dvc/cache/runs/ab", "a" * 64, "b" * 64), yaml.safe_dump(entry))
    with object_store.stores() as (cache, _):
        for oid in oids.values():
            files.write(Path(cache.oid_to_path(oid)), "content")
        assert [output.path for output in push.small_outputs(cache)] == ["metrics/train.json"]
