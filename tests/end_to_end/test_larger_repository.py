"""The project as a subfolder of a larger repository, its commands run from a hook of Git."""

import pytest
import yaml

from tests.helpers.project import Project
from tests.helpers.small import SMALL

pytestmark = pytest.mark.slow(60)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    larger = tmp_path_factory.mktemp("scratch") / "larger"
    project = Project.scratch(larger / "vision" / "digits", repository=larger)
    project.set_params(SMALL)
    (project.folder / "small.yaml").write_text(yaml.safe_dump({"seeds": 1}))
    project.commit("a sweep")
    data = larger / ".git"
    project.environment |= {
        "GIT_DIR": str(data),
        "GIT_WORK_TREE": str(larger),
        "GIT_INDEX_FILE": str(data / "index"),
        "GIT_OBJECT_DIRECTORY": str(data / "objects"),
        "GIT_COMMON_DIR": str(data),
        "GIT_PREFIX": "vision/digits/",
    }
    return project


def state(project: Project) -> list[str]:
    """What no command may change: HEAD, its commit, the index and the working tree."""
    return [
        (project.folder.parents[1] / ".git" / "HEAD").read_text(),
        project.run("git", "rev-parse", "HEAD"),
        project.run("git", "ls-files", "--stage"),
        project.run("git", "status", "--porcelain"),
    ]


def test_a_pipeline_is_run_again_in_a_clone(project: Project) -> None:
    before = state(project)
    output = project.run("python", "-m", "ops.verify", "--data", "uci")
    assert "identical: all " in output
    assert state(project) == before


def test_a_sweep_runs_in_clones_and_leaves_an_experiment(project: Project) -> None:
    before = state(project)
    project.run("python", "-m", "ops.sweep", "small.yaml")
    assert "small-default-seed0" in project.run("dvc", "exp", "list", "--name-only")
    assert state(project) == before
    assert "1 of them already complete" in project.run("python", "-m", "ops.sweep", "small.yaml")
