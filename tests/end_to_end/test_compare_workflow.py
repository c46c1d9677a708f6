"""The steps of compare.yml as they stand there, on pull requests against a scratch repository."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import workflows
from tests.helpers.project import Project
from tests.helpers.workflows import GOOD, Runner, repro

pytestmark = pytest.mark.slow(80)

OVERRIDE = "github.event.action == 'labeled' && github.event.label.name == 'gate-override'"
LABEL = "contains(github.event.pull_request.labels.*.name, 'three-seeds')"
# What GitHub's expressions are for a pull request from a fork: no secret, no variable.
EXPRESSIONS = {
    "github.base_ref": "main",
    "github.event.pull_request.body": "Trains for longer.",
    "github.event.sender.login": "octocat",
    OVERRIDE: "false",
    LABEL: "false",
    "secrets.DVC_AWS_ACCESS_KEY_ID": "",
    "secrets.DVC_AWS_SECRET_ACCESS_KEY": "",
    "vars.DVC_AWS_ENDPOINT_URL": "",
    "vars.DVC_AWS_REGION || 'us-east-1'": "us-east-1",
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Branch main with a good model; branch bad with one that was hardly trained."""
    project = Project.scratch(tmp_path_factory.mktemp("origin") / "project")
    repro(project, GOOD)
    project.run("git", "checkout", "--quiet", "-b", "bad")
    repro(project, {"train.epochs": 1, "train.optimizer.lr": 0.0001})
    return project


def branch(origin: Project, name: str, start: str = "main") -> None:
    origin.run("git", "checkout", "--quiet", "-b", name, start)
    origin.run("dvc", "checkout", "--quiet", "--force")


@pytest.fixture
def check_out(origin: Project, tmp_path: Path) -> Callable[[str], Runner]:
    def clone(name: str) -> Runner:
        project = Project(tmp_path / "checkout")
        subprocess.run(["git", "clone", "--quiet", origin.folder, project.folder], check=True)
        project.identify()
        project.run("git", "checkout", "--quiet", "--detach", "origin/main")
        project.run("git", "merge", "--quiet", "--no-ff", "--message=merged", f"origin/{name}")
        return Runner(workflows.job("compare"), project, tmp_path / "temp", EXPRESSIONS)

    return clone


def test_a_good_change_passes(origin: Project, check_out: Callable[[str], Runner]) -> None:
    branch(origin, "good")
    repro(origin, {"train.early_stopping.patience": 4})
    runner = check_out("good")
    assert set(runner.run().values()) == {"success"}, runner.log
    assert "identical: all 16 outputs have the same bytes" in runner.log
    assert "the evaluator of origin/main is the same" in runner.log
    assert not (runner.project.folder / ".bases").exists()
    comment = (runner.temp / "comment.md").read_text()
    assert comment == (runner.temp / "summary.md").read_text()
    assert "PASS" in comment
    assert "identical: all 16 outputs" in comment


def test_a_bad_model_is_blocked_unless_a_reviewer_says_why_not(
    check_out: Callable[[str], Runner],
) -> None:
    runner = check_out("bad")
    outcomes = runner.run()
    assert outcomes.pop("Judge") == "failure"
    assert set(outcomes.values()) == {"success"}, runner.log
    assert "BLOCKED" in (runner.temp / "comment.md").read_text()

    text = "Why `$(touch pwned)`:\r\n\r\nGate-override: a first, small model\r\nmore"
    labelled = {OVERRIDE: "true", "github.event.pull_request.body": text}
    assert runner.run("Judge", **labelled) == {"Judge": "success"}, runner.log
    assert "OVERRIDDEN by a reviewer (a first, small model (octocat))" in runner.log
    assert not (runner.project.folder / "pwned").exists()

    assert runner.run("Judge", **{OVERRIDE: "true"}) == {"Judge": "failure"}
    assert "gate-override requires a line in the pull request" in runner.log


def test_a_stale_lock_blocks(origin: Project, check_out: Callable[[str], Runner]) -> None:
    branch(origin, "stale")
    module = origin.folder / "digits" / "training" / "loop.py"
    module.write_text(f"{module.read_text()}\n# Changes no byte of the results.\n")
    origin.commit("stale")
    runner = check_out("stale")
    outcomes = runner.run()
    assert outcomes.pop("Compare with what was committed") == "failure"
    assert set(outcomes.values()) == {"success"}, runner.log
    comment = (runner.temp / "comment.md").read_text()
    assert "train: different digits/training\n" in comment
    assert "Run dvc repro, and commit dvc.lock and metrics/" in comment


def test_forged_metrics_are_caught(origin: Project, check_out: Callable[[str], Runner]) -> None:
    branch(origin, "forged", "bad")
    origin.run("git", "checkout", "--quiet", "main", "--", "metrics")
    origin.forge_lock(*origin.run("git", "ls-files", "metrics").splitlines())
    origin.commit("forged")
    runner = check_out("forged")
    outcomes = runner.run()
    assert outcomes["Compare with what was committed"] == "failure"
    assert "different: " in runner.log
    assert "BEYOND 0.0015" in runner.log
    assert outcomes["Judge"] == "failure"
    assert "BLOCKED" in (runner.temp / "comment.md").read_text()


def test_a_changed_evaluator_scores_the_base_too(
    origin: Project, check_out: Callable[[str], Runner]
) -> None:
    branch(origin, "evaluator")
    module = origin.folder / "digits" / "evaluation" / "metrics.py"
    module.write_text(f"{module.read_text()}\n# Measures as before.\n")
    repro(origin, {"model.channels": [8, 24, 24]})
    runner = check_out("evaluator")
    assert set(runner.run().values()) == {"success"}, runner.log
    assert "the evaluator of origin/main differs in digits/evaluation/metrics.py" in runner.log
    assert "Running the pipeline of " in runner.log
    assert "against origin/main (its evaluator)" in runner.log


def test_without_a_verdict_there_is_a_report(check_out: Callable[[str], Runner]) -> None:
    runner = check_out("bad")
    first = runner.project.run("git", "rev-list", "--max-parents=0", "HEAD")
    (runner.project.folder / ".git" / "shallow").write_text(first)
    runner.temp.mkdir()
    (runner.temp / "verify.txt").write_text("identical\n")
    assert runner.run("Judge") == {"Judge": "failure"}
    comment = (runner.temp / "comment.md").read_text()
    assert comment.startswith("### NO VERDICT: this clone is shallow")
    assert "Next: git fetch --unshallow" in comment
    assert "| errors |" in comment
    assert "No verdict" in (runner.temp / "report.html").read_text()


def test_seeds_that_a_change_brings_or_a_label_asks_for_are_trained_not_believed(
    origin: Project, check_out: Callable[[str], Runner]
) -> None:
    branch(origin, "seeds", "bad")  # which trains for one epoch
    metrics = origin.folder / "metrics"
    (metrics / "seed-9").mkdir()
    for name in ("evaluation.json", "errors.csv", "data.json", "train.json"):
        (metrics / "seed-9" / name).write_bytes((metrics / name).read_bytes())
    origin.commit("forged seeds")
    runner = check_out("seeds")
    outcomes = runner.run()
    assert outcomes["Train further seeds"] == "success", runner.log
    assert "seeds 0, 1, one after another" in runner.log
    trained = runner.project.folder / "metrics"
    assert {path.parent.name for path in trained.glob("*/errors.csv")} == {"seed-1"}

    labelled = {LABEL: "true"}
    step = "Train further seeds"
    assert runner.run(step, **labelled) == {step: "success"}, runner.log
    assert "seeds 0, 1, 2, one after another. Training takes about " in runner.log
    assert {path.parent.name for path in trained.glob("*/errors.csv")} == {"seed-1", "seed-2"}


def test_a_pipeline_that_fails_judges_nothing(
    origin: Project, check_out: Callable[[str], Runner]
) -> None:
    branch(origin, "broken")
    (origin.folder / "stages" / "prepare.py").write_text("raise SystemExit('broken')\n")
    origin.commit("broken")
    runner = check_out("broken")
    outcomes = runner.run()
    assert outcomes["reproduce"] == "failure"
    assert outcomes["Judge"] == "skipped"
    assert not (runner.temp / "comment.md").exists()
