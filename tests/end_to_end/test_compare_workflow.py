"""What CI runs on a change: compare.yml's steps, and those of GitLab's job, as they stand there.

The changes are branches of a scratch repository, whose main branch has another name.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import gitlab_jobs, workflows
from tests.helpers.git_hosts import TOKEN, GitLab
from tests.helpers.project import Project
from tests.helpers.workflows import GOOD, Runner, repro

pytestmark = pytest.mark.slow(60)

# What GitHub's expressions are for a pull request from a fork: no secret, no variable.
EXPRESSIONS = {
    "secrets.DVC_AWS_ACCESS_KEY_ID": "",
    "secrets.DVC_AWS_SECRET_ACCESS_KEY": "",
    "vars.DVC_AWS_ENDPOINT_URL": "",
    "vars.DVC_AWS_REGION || 'us-east-1'": "us-east-1",
}
PULL = {"body": "Trains for longer.", "labels": [], "base": {"ref": "trunk"}}
EVENT = {"action": "synchronize", "pull_request": PULL, "sender": {"login": "octocat"}}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Branch trunk with a good model; branch bad with one that was hardly trained."""
    project = Project.scratch(tmp_path_factory.mktemp("origin") / "project")
    project.run("git", "branch", "--move", "trunk")
    repro(project, GOOD)
    project.run("git", "checkout", "--quiet", "-b", "bad")
    repro(project, {"train.epochs": 1, "train.optimizer.lr": 0.0001})
    return project


def branch(origin: Project, name: str, start: str = "trunk") -> None:
    origin.run("git", "checkout", "--quiet", "-b", name, start)
    origin.run("dvc", "checkout", "--quiet", "--force")


@pytest.fixture
def check_out(origin: Project, tmp_path: Path) -> Callable[[str], Runner]:
    """A checkout on GitHub, of the merge with the base."""

    def clone(name: str) -> Runner:
        project = Project(tmp_path / "checkout")
        subprocess.run(["git", "clone", "--quiet", origin.folder, project.folder], check=True)
        project.identify()
        project.run("git", "checkout", "--quiet", "--detach", "origin/trunk")
        project.run("git", "merge", "--quiet", "--no-ff", "--message=merged", f"origin/{name}")
        event = tmp_path / "event.json"
        event.write_text(json.dumps(EVENT))
        there = {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": str(event)}
        return Runner(workflows.job("compare"), project, tmp_path / "temp", EXPRESSIONS, there)

    return clone


def comment(project: Project) -> str:
    return (project.folder / "comparison" / "comment.md").read_text()


def append(project: Project, name: str, text: str) -> None:
    with (project.folder / name).open("a") as file:
        file.write(f"\n{text}\n")


def test_a_good_change_of_the_evaluator_passes_and_the_base_is_scored_with_it(
    origin: Project, check_out: Callable[[str], Runner]
) -> None:
    branch(origin, "good")
    append(origin, "digits/evaluation/metrics.py", "# Measures as before.")
    repro(origin, {"model.channels": [8, 24, 24]})
    runner = check_out("good")
    assert runner.run() == {"Compare": "success"}, runner.log
    assert "identical: all 17 outputs have the same bytes" in runner.log
    assert "the evaluator of origin/trunk differs in digits/evaluation/metrics.py" in runner.log
    assert "Running the pipeline of " in runner.log
    assert "against origin/trunk (its evaluator)" in runner.log
    text = comment(runner.project)
    assert text == (runner.temp / "summary.md").read_text()
    assert "PASS" in text
    assert "identical: all 17 outputs" in text
    assert runner.project.run("git", "status", "--porcelain") == ""


def test_forged_metrics_are_caught(origin: Project, check_out: Callable[[str], Runner]) -> None:
    branch(origin, "forged", "bad")
    origin.run("git", "checkout", "--quiet", "trunk", "--", "metrics")
    origin.forge_lock(*origin.run("git", "ls-files", "metrics").splitlines())
    origin.commit("forged")
    runner = check_out("forged")
    assert runner.run() == {"Compare": "failure"}
    assert "different: " in runner.log
    assert "BEYOND 0.0015" in runner.log
    assert "BLOCKED" in comment(runner.project)
    assert "the evaluator of origin/trunk is the same" in runner.log
    assert not (runner.project.folder / ".bases").exists()


def test_a_stale_lock_blocks_and_seeds_that_a_change_brings_are_trained_not_believed(
    origin: Project, check_out: Callable[[str], Runner]
) -> None:
    branch(origin, "stale", "bad")  # which trains for one epoch
    append(origin, "digits/training/loop.py", "# Changes no byte of the results.")
    metrics = origin.folder / "metrics"
    (metrics / "seed-9").mkdir()
    for name in ("evaluation.json", "errors.csv", "data.json", "train.json"):
        (metrics / "seed-9" / name).write_bytes((metrics / name).read_bytes())
    origin.commit("stale, with forged seeds")
    runner = check_out("stale")
    assert runner.run() == {"Compare": "failure"}
    text = comment(runner.project)
    assert "train: different digits/training\n" in text
    assert "Run dvc repro, and commit dvc.lock and metrics/" in text
    assert "seeds 0, 1, one after another" in runner.log
    trained = runner.project.folder / "metrics"
    assert {path.parent.name for path in trained.glob("*/errors.csv")} == {"seed-1"}


def variables_of(origin: Project, checkout: Project, fork: bool = False) -> dict[str, str]:
    """The variables of a merge request's job; the project's URL is origin's."""
    url = origin.folder.parent / "on-gitlab.git"
    if not url.exists():
        url.symlink_to(origin.folder / ".git")
    return {
        "GITLAB_CI": "true",
        "CI_PROJECT_ID": "8" if fork else "7",
        "CI_MERGE_REQUEST_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_PROJECT_URL": f"file://{url.with_suffix('')}",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "trunk",
        "CI_COMMIT_SHA": checkout.run("git", "rev-parse", "HEAD").strip(),
        "GITLAB_USER_LOGIN": "tanuki",
    }


def test_on_gitlab_a_bad_model_is_blocked_unless_a_reviewer_says_why_not(
    origin: Project, tmp_path: Path, gitlab: GitLab
) -> None:
    """The base has gone on since, so the job merges; another job comments."""
    origin.run("git", "checkout", "--quiet", "trunk")
    append(origin, "README.md", "A line.")
    origin.commit("goes on")
    checkout = Project(tmp_path / "checkout")
    subprocess.run(["git", "clone", "--quiet", origin.folder, checkout.folder], check=True)
    checkout.run("git", "checkout", "--quiet", "--detach", "origin/bad")
    variables = variables_of(origin, checkout)
    text = "Why `$(touch pwned)`:\r\n\r\nGate-override: a first, small model\r\nmore"
    label = {"CI_MERGE_REQUEST_LABELS": f"x,gate-override {variables['CI_COMMIT_SHA'][:9]}"}
    there = {**variables, **label, "CI_MERGE_REQUEST_DESCRIPTION": text}
    done = gitlab_jobs.run_gitlab_job("compare", checkout.folder, checkout.environment | there)
    assert done.returncode == 0, done.stdout
    assert f"{variables['CI_COMMIT_SHA'][:9]} is merged into target/trunk" in done.stdout
    assert "A line." in (checkout.folder / "README.md").read_text()
    assert "OVERRIDDEN by a reviewer (a first, small model (tanuki))" in done.stdout
    assert "against target/trunk" in done.stdout
    assert not (checkout.folder / "pwned").exists()
    for path in gitlab_jobs.gitlab_job("compare")["artifacts"]["paths"]:
        assert (checkout.folder / path).exists()

    head = variables["CI_COMMIT_SHA"]
    gitlab.at("merge_requests").append({"iid": 3, "sha": head})
    pipeline = {"id": 1, "project_id": 7, "sha": head, "ref": "refs/merge-requests/3/head"}
    gitlab.at("merge_requests/3/pipelines").append(pipeline | {"source": "merge_request_event"})
    job = {"id": 2, "name": "compare", "status": "success", "web_url": "https://gitlab.example/2"}
    gitlab.at("pipelines/1/jobs").append(job)
    gitlab.files["/projects/7/jobs/2/artifacts/comparison/comment.md"] = comment(checkout).encode()
    there = checkout.environment | gitlab.environment
    posted = gitlab_jobs.run_gitlab_job("comment", checkout.folder, there)
    assert posted.returncode == 0, posted.stdout
    assert TOKEN not in posted.stdout
    [note] = gitlab.bodies("merge_requests/3/notes")
    assert f"Comparison of {head[:9]} passed" in note
    assert "OVERRIDDEN" in note

    words = ("python", "-m", "ops.ci", "compare")
    said = checkout.run(*words, code=2, **variables, **label)
    assert "requires a line in the description" in said
    (checkout.folder / ".git" / "shallow").write_text(variables["CI_COMMIT_SHA"] + "\n")
    said = checkout.run(*words, "--base", "origin/trunk", code=2)
    assert "Running stage" not in said
    assert "git fetch --unshallow" in said


def test_in_a_fork_on_gitlab_the_base_is_the_projects_own_and_a_pipeline_that_fails_judges_nothing(
    origin: Project, tmp_path: Path
) -> None:
    branch(origin, "broken")
    (origin.folder / "stages" / "prepare.py").write_text("raise SystemExit('broken')\n")
    origin.commit("broken")
    fork = tmp_path / "fork"
    subprocess.run(["git", "clone", "--quiet", origin.folder, fork], check=True)
    subprocess.run(["git", "branch", "--force", "trunk", "origin/trunk~1"], cwd=fork, check=True)
    checkout = Project(tmp_path / "checkout")
    subprocess.run(["git", "clone", "--quiet", fork, checkout.folder], check=True)
    checkout.run("git", "checkout", "--quiet", "--detach", "origin/broken")
    there = checkout.environment | variables_of(origin, checkout, fork=True)
    done = gitlab_jobs.run_gitlab_job("compare", checkout.folder, there)
    assert done.returncode == 2, done.stdout
    merged = checkout.run("git", "merge-base", "HEAD", "target/trunk")
    assert merged == origin.run("git", "rev-parse", "trunk")
    assert "There is nothing to judge" in done.stdout
    assert os.listdir(checkout.folder / "comparison") == []
