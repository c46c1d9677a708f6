"""The project as a subfolder of a larger repository, its commands run from a hook of Git.

Its path is not ASCII, its default branch is trunk, and its Git remote is upstream.
"""

import pytest
import yaml

from tests.helpers.project import Project
from tests.helpers.small import SMALL

pytestmark = pytest.mark.slow(60)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    larger = tmp_path_factory.mktemp("scratch") / "Größe und Form"
    project = Project.scratch(larger / "vision" / "digits ö", repository=larger)
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
        "GIT_PREFIX": "vision/digits ö/",
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


@pytest.fixture(scope="module")
def clone(project: Project) -> Project:
    """A clone of what is on the branch trunk of the server, by somebody whom Git gives CRLF."""
    larger = project.folder.parents[1]
    (project.folder / "metrics").mkdir(exist_ok=True)
    (project.folder / "metrics" / "evaluation.json").write_text("{}\n")
    project.commit("metrics")
    project.run("git", "branch", "--move", "trunk")
    words = ("-c", "core.autocrlf=true", "--origin", "upstream")
    outside = Project(larger.parent)  # without the hook's variables
    outside.run("git", "clone", "--quiet", *words, str(larger), "a clone")
    clone = Project(larger.parent / "a clone" / "vision" / "digits ö")
    clone.identify()
    return clone


def test_files_have_the_bytes_that_dvc_hashed(clone: Project) -> None:
    assert "w/lf" in clone.run("git", "ls-files", "--eol")
    assert "w/crlf" not in clone.run("git", "ls-files", "--eol")
    assert not clone.run("git", "status", "--porcelain")


def test_a_report_compares_with_the_servers_branch(clone: Project) -> None:
    assert "--base 'upstream/trunk' " in clone.run(
        "make", "--just-print", "--old-file=.venv/run", "report"
    )


def test_a_temporary_experiment_runs_below_any_path(clone: Project) -> None:
    clone.run("python", "-m", "ops.tools.any_path", "exp", "run", "--temp", "--name=one", "fetch")
    assert "one" in clone.run("dvc", "exp", "list", "--name-only")


def test_a_detached_head_is_told_how_to_get_on_a_branch(clone: Project) -> None:
    clone.run("git", "checkout", "--quiet", "--detach")
    clone.run("git", "commit", "--quiet", "--allow-empty", "--message=detached")
    for words in (("push", "--commits"), ("registry", "promote")):
        said = clone.run("python", "-m", f"ops.{words[0]}", *words[1:], code=2)
        assert "git push upstream HEAD:refs/heads/BRANCH" in said
