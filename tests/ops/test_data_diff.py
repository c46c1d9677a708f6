"""What changed in the data between two revisions, in a real repository with DVC's cache."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.data_project import data_project
from tests.helpers.project import Project

pytestmark = pytest.mark.slow(8)

DATA_DIFF = ("python", "-m", "ops.data_diff")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return data_project(tmp_path_factory.mktemp("data-diff") / "project")


def test_a_revision_against_the_working_tree_and_another_one(project: Project) -> None:
    said = project.run(*DATA_DIFF, "HEAD~2")
    assert "1 image added, 1 removed, 1 relabelled, 1 moved to another split" in said
    table = [line.split("  ") for line in said.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in table]
    assert ["class", "train", "val", "test"] in cells
    assert ["<b>nought", "11 (+1)", "2", "3"] in cells
    assert ["one", "8 (-2)", "3 (+1)", "3"] in cells
    assert ["relabelled", "train", "one → <b>nought", "1"] in cells
    assert ["moved", "train → val", "one", "1"] in cells
    back = project.run(*DATA_DIFF, "HEAD", "HEAD~1")
    assert "1 image added, 1 removed, 1 relabelled, 1 moved to another split" in back
    assert "val → train" in back


def test_equal_digests_need_no_images(project: Project, tmp_path: Path) -> None:
    bare = clone(project, tmp_path)
    assert "the same data" in bare.run(*DATA_DIFF, "HEAD~1", "HEAD~2")
    assert "the same data" in bare.run(*DATA_DIFF, "HEAD")


def test_data_of_an_earlier_run_are_not_taken_for_what_is_here(
    project: Project, tmp_path: Path
) -> None:
    bare = clone(project, tmp_path)
    pipeline = bare.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("cmd: echo", "cmd: echo other"))
    said = bare.run(*DATA_DIFF, "HEAD")
    assert "so data/prepared is of an earlier run. First: dvc repro prepare" in said


def test_images_come_from_the_remote_or_a_message_says_how_to_get_them(
    project: Project, tmp_path: Path
) -> None:
    bare = clone(project, tmp_path)
    said = bare.run(*DATA_DIFF, "HEAD~2", code=2)
    assert "is not in the cache, and there is no DVC remote (.dvc/config has at most a" in said
    assert "dvc fetch --all-commits data/prepared" in said
    shutil.copytree(project.folder / ".dvc" / "cache", tmp_path / "storage")
    remote = ("dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "storage"))
    bare.run(*remote)
    assert "1 image added" in bare.run(*DATA_DIFF, "HEAD~2")
    bare.run("dvc", "fetch", "--quiet", "--all-commits", "data/prepared")  # the way out
    bare.run("dvc", "remote", "remove", "--local", "store")
    assert "1 image added" in bare.run(*DATA_DIFF, "HEAD~2")


def test_what_is_no_revision_or_has_no_data(project: Project) -> None:
    assert "'nowhere' is not a revision" in project.run(*DATA_DIFF, "nowhere", code=2)
    said = project.run(*DATA_DIFF, "HEAD~3", code=2)
    assert "dvc.lock of HEAD~3 names no data/prepared" in said
    assert "--help" in project.run(*DATA_DIFF, "--help")


def clone(project: Project, folder: Path) -> Project:
    """A clone that has none of DVC's data."""
    made = Project(folder / "clone")
    project.run("git", "clone", "--quiet", str(project.folder), str(made.folder))
    return made
