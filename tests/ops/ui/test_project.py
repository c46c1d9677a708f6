"""The moment of a repository whose names, links and dvc.yaml are chosen to do harm."""

import os
import subprocess
from pathlib import Path

import pytest

from digits.core import files
from digits.core.errors import InputError
from ops.ui import project
from ops.ui.pages import pipeline


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "start")


def git(*words: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *identity, *words], check=True)


def test_names_of_any_bytes_have_a_moment() -> None:
    before = project.read().moment
    git("update-ref", os.fsdecode(b"refs/heads/caf\xe9"), "HEAD")
    assert project.read().moment != before


@pytest.mark.parametrize(
    "path",
    [
        "dvc.yaml",
        "dvc.lock",
        "params.yaml",
        "metrics/seed-1/train.json",
        "data/corrections.csv",
        ".dvc/config",
        ".dvc/config.local",
        ".dvc/tmp/rwlock",
        ".ui/changed",
        ".ui/stages/train.json",
    ],
)
def test_what_the_pages_show_has_another_moment_when_it_changes(path: str) -> None:
    moments = [project.read().moment]
    for content in ("1", "23"):
        files.write(path, content)
        moments.append(project.read().moment)
    assert len(set(moments)) == 3


@pytest.mark.parametrize("path", ["..", "link", "{0}"])
def test_folders_of_others_are_not_walked(tmp_path: Path, path: str) -> None:
    other = tmp_path.parent / f"{tmp_path.name}-other"
    other.mkdir()
    Path("link").symlink_to(other)
    files.write("dvc.yaml", f"stages: {{a: {{deps: [{path.format(other)}, own]}}}}")
    files.write("own/a", "1")
    before = project.read().moment
    files.write(other / "deep" / "b", "1")
    found = project.read().moment
    (other / "deep" / "b").write_text("23")
    assert project.read().moment == found
    files.write("own/a", "12")
    assert project.read().moment not in (before, found)


@pytest.mark.parametrize("path", ["x" * 300, "own/a/b", "loop"])
def test_a_path_that_no_file_has_is_no_error(path: str) -> None:
    files.write("own/a", "1")
    Path("loop").symlink_to("loop")
    files.write("dvc.yaml", f"stages: {{a: {{deps: [{path}], outs: [{path}.png]}}}}")
    assert project.read() == project.read()
    assert "pipeline.html" in pipeline.resources(project.read())


@pytest.mark.parametrize("name", [".ui/jobs/a", ".UI/b"])
def test_a_branch_brings_nothing_into_the_folder_of_the_pages(name: str) -> None:
    files.write(".gitignore", "/.ui/\n")
    files.write(".ui/own", "1")
    project.check_folder()
    files.write(name, "1")
    git("add", "--force", name)
    for look in (project.check_folder, project.read):
        with pytest.raises(InputError, match=r"git rm -r \.ui"):
            look()


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    Path(".ui").symlink_to(tmp_path.parent)
    git("add", "--force", ".ui")
    with pytest.raises(InputError, match="Git tracks files"):
        project.check_folder()
