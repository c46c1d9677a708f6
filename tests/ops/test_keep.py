"""Results become a commit of the branch, and those that would not be true are refused: real Git."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.model_project import Models
from tests.helpers.small import ROOT

pytestmark = pytest.mark.slow(20)

PIPELINE = """\
stages:
  evaluate:
    cmd: sh make.sh
    deps: [make.sh]
    params: [train.seed]
    outs:
      - models/digit-classifier
    metrics:
      - metrics/evaluation.json: {cache: false}
"""
SCRIPT = """\
mkdir -p models/digit-classifier metrics
sed -n 's/^  seed: //p' params.yaml | tee metrics/evaluation.json > models/digit-classifier/seed
"""
MODEL = "models/digit-classifier/seed"
RESULTS = ["dvc.lock", "metrics/evaluation.json", "params.yaml"]


class Kept(Models):
    def keep(self, *words: str, code: int = 0) -> str:
        said = self.run("python", "-m", "ops.keep", *words, code=code, PYTHONPATH=str(ROOT))
        assert "fault of the program" not in said
        return said

    def state(self) -> tuple[str, ...]:
        """The last commit, the branch, the index and the working tree."""
        status = self.run("git", "status", "--porcelain=v2", "--branch", "--untracked-files=all")
        return status, self.run("git", "diff", "HEAD"), (self.folder / MODEL).read_text()

    def files_of_head(self) -> list[str]:
        return self.run("git", "show", "--format=", "--name-only").split()

    def write(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Results are committed; of their commit are the experiments five and six."""
    folder = tmp_path_factory.mktemp("keep")
    kept = Kept(Models.create(folder / "project", server=None, storage=None).folder)
    kept.write("dvc.yaml", PIPELINE)
    kept.write("make.sh", SCRIPT)
    kept.write("params.yaml", "train:\n  seed: 1\n")
    kept.commit("code")
    kept.run("dvc", "repro", "--quiet")
    kept.commit("results")
    for name, seed in (("five", 5), ("six", 6)):
        kept.run("dvc", "exp", "run", "--temp", "-q", "-n", name, "-S", f"train.seed={seed}")
    return kept


@pytest.fixture
def project(start: Kept, tmp_path: Path) -> Kept:
    shutil.copytree(start.folder, tmp_path / "project", symlinks=True)
    return Kept(tmp_path / "project")


def rerun(project: Kept, seed: int = 2) -> None:
    project.set_params({"train.seed": seed})
    project.run("dvc", "repro", "--quiet")


def test_results_here_are_committed_and_other_changes_are_left(project: Kept) -> None:
    rerun(project)
    project.write("notes.txt", "mine")
    project.write("data.csv", "not under data/")
    said = project.keep("--message", "a second seed\n\nand why")
    assert project.files_of_head() == RESULTS
    assert project.run("git", "log", "-1", "--format=%B").strip() == "a second seed\n\nand why"
    assert "with dvc.lock, metrics/evaluation.json, params.yaml" in said
    assert "Not committed: data.csv, notes.txt" in said
    assert project.run("git", "status", "--porcelain").split() == [
        "??",
        "data.csv",
        "??",
        "notes.txt",
    ]


def test_new_removed_and_staged_results_are_committed_too(project: Kept) -> None:
    for path in ("metrics/seed-1/train.json", "data/own/train.dvc", "data/own/.gitignore"):
        (project.folder / path).parent.mkdir(parents=True, exist_ok=True)
        project.write(path, "{}")
    project.write("data/own/1.png", "an image")
    project.run("git", "add", "metrics")
    project.keep("--message=more")
    files = ["data/own/.gitignore", "data/own/train.dvc", "metrics/seed-1/train.json"]
    assert project.files_of_head() == files
    (project.folder / files[2]).unlink()
    project.keep("--message=less")
    assert project.files_of_head() == files[2:]
    assert project.run("git", "status", "--porcelain") == "?? data/own/1.png\n"


def stage_a_file(project: Kept) -> None:
    rerun(project)
    project.write("notes.txt", "mine")
    project.run("git", "add", "notes.txt")


def change_a_parameter(project: Kept) -> None:
    project.set_params({"train.seed": 2})


def change_the_code(project: Kept) -> None:
    project.write("make.sh", SCRIPT + "# other\n")
    rerun(project)


def edit_metrics(project: Kept) -> None:
    project.write("metrics/evaluation.json", "0\n")


def add_metrics(project: Kept) -> None:
    project.write("metrics/errors.csv", "index,label\n")


def detach(project: Kept) -> None:
    rerun(project)
    project.run("git", "checkout", "--quiet", "--detach")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda _: None, "the results here are those of the last commit. Run: dvc repro"),
        (stage_a_file, "staged for the next commit: notes.txt. Commit them: git commit"),
        (change_a_parameter, "evaluate is out of date (train.seed: 1 -> 2). Run: dvc repro"),
        (change_the_code, "the stage evaluate is out of date (make.sh changed)"),
        (edit_metrics, "evaluate is out of date (metrics/evaluation.json was changed after the"),
        (add_metrics, "metrics/errors.csv is not the file that dvc.lock names"),
        (detach, "HEAD is on no branch"),
    ],
)
def test_what_would_not_be_true_is_refused_and_nothing_changes(
    project: Kept, prepare: Callable[[Kept], None], message: str
) -> None:
    prepare(project)
    before = project.state()
    said = project.keep("--message", "x", code=2)
    assert message in said
    assert project.state() == before


def stage_a_result(project: Kept) -> None:
    """As a person does who then changes the parameter once more."""
    rerun(project)
    project.run("git", "add", "params.yaml")
    rerun(project, seed=3)


@pytest.mark.parametrize("prepare", [rerun, stage_a_result])
@pytest.mark.parametrize(
    ("said_by_hook", "message"),
    [
        ("no, says the hook", "no, says the hook"),
        ("", "exit code 1, without a message. Did a hook"),
    ],
)
def test_a_hook_that_refuses_results_leaves_the_index(
    project: Kept, prepare: Callable[[Kept], None], said_by_hook: str, message: str
) -> None:
    prepare(project)
    hook(project, said_by_hook)
    before = project.state()
    assert message in project.keep("--message", "x", code=2)
    assert project.state() == before


def test_a_commit_without_a_message_is_refused(project: Kept) -> None:
    assert "--message" in project.keep("five", code=2)
    assert "is empty" in project.keep("five", "--message", " ", code=2)


def test_an_experiment_is_committed_and_its_model_is_here(project: Kept) -> None:
    project.write("README.md", "changed since the experiment")
    project.commit("words")
    project.write("README.md", "not committed")
    project.write("notes.txt", "mine")
    project.run("git", "remote", "add", "origin", "nowhere")
    said = project.keep("five", "--message", "five")
    assert project.files_of_head() == RESULTS
    assert (project.folder / MODEL).read_text() == "5\n"
    assert "Not committed: README.md, notes.txt\nNext: git push && dvc push && digits reg" in said
    assert project.run("git", "status", "--porcelain") == " M README.md\n?? notes.txt\n"
    assert "Data and pipelines are up to date" in project.run("dvc", "status")
    before = project.state()
    assert "have changed here since: dvc.lock, metrics/" in project.keep(
        "six", "--message=x", code=2
    )
    assert "has the results of the last commit" in project.keep("five", "--message=x", code=2)
    assert project.state() == before
    project.run("dvc", "exp", "run", "--temp", "-q", "-n", "six", "-S", "train.seed=6")
    said = project.keep("six", "--message=x", code=2)  # it was started with this README.md
    assert "would be overwritten: README.md" in said
    project.run("git", "stash", "--quiet")
    project.keep("six", "--message", "again, from here")
    assert project.files_of_head() == ["README.md", *RESULTS]
    assert (project.folder / MODEL).read_text() == "6\n"


def test_an_experiment_that_changed_nothing_has_not_the_results_of_a_later_commit(
    project: Kept,
) -> None:
    project.run("dvc", "exp", "run", "--temp", "--quiet", "--name", "default")
    assert "has the results of the last commit" in project.keep("default", "--message=x", code=2)
    base = project.run("git", "rev-parse", "HEAD")[:9]
    project.keep("five", "--message", "five")
    said = project.keep("default", "--message=x", code=2)
    assert "default has nothing to commit: where its results differ from those of the last" in said
    assert f"({', '.join(RESULTS)}), they are those of {base}, which it was started from" in said


def test_an_experiment_whose_results_are_here_already_is_committed(project: Kept) -> None:
    project.run("dvc", "exp", "run", "-q", "-n", "seven", "-S", "train.seed=7")
    project.write("notes.txt", "mine")
    hook(project)
    before = project.state()
    assert "no, says the hook" in project.keep("seven", "--message", "x", code=2)
    assert project.state() == before
    (project.folder / ".git" / "hooks" / "pre-commit").unlink()
    project.write("params.yaml", "train:\n  seed: 7  # edited since\n")
    assert "overwritten: dvc.lock, metrics/eva" in project.keep("seven", "--message=x", code=2)
    project.write("params.yaml", "train:\n  seed: 7\n")
    project.keep("seven", "--message", "seven")
    assert project.files_of_head() == RESULTS
    assert project.run("git", "status", "--porcelain") == "?? notes.txt\n"
    assert (project.folder / MODEL).read_text() == "7\n"


def test_an_experiment_is_named_by_seven_digits_of_its_commit_or_more(project: Kept) -> None:
    [commit] = project.run("git", "rev-parse", "--glob=refs/exps/*/five").split()
    said = project.keep(commit[0], "--message=x", code=2)
    assert f"there is no experiment '{commit[0]}'; there are: six, five" in said
    project.keep(commit[:7], "--message", "five")
    assert (project.folder / MODEL).read_text() == "5\n"


def other_code(project: Kept) -> None:
    project.write("make.sh", SCRIPT + "# other\n")
    project.commit("other code")


def results_here(project: Kept) -> None:
    rerun(project)


def hook(project: Kept, says: str = "no, says the hook") -> None:
    path = project.folder / ".git" / "hooks" / "pre-commit"
    path.write_text(f"#!/bin/sh\nprintf '{says}'; exit 1\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "prepare", "message"),
    [
        ("nine", lambda _: None, "there is no experiment 'nine'; there are: six, five"),
        ("main", lambda _: None, "there is no experiment 'main'"),
        ("five", stage_a_file, "staged for the next commit: notes.txt"),
        ("five", results_here, "overwritten: dvc.lock, metrics/evaluation.json, params.yaml"),
        ("five", other_code, "five is not the result of this code: the stage evaluate is out of"),
        ("five", detach, "HEAD is on no branch"),
        ("five", hook, "no, says the hook"),
    ],
)
def test_an_experiment_that_cannot_be_kept_changes_nothing(
    project: Kept, name: str, prepare: Callable[[Kept], None], message: str
) -> None:
    prepare(project)
    before = project.state()
    assert message in project.keep(name, "--message", "x", code=2)
    assert project.state() == before
