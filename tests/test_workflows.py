"""The steps of compare.yml as they stand there, on pull requests against a scratch repository."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, SMALL
from tests.project import Project

pytestmark = pytest.mark.slow

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "compare.yml").read_text())
JOB = WORKFLOW["jobs"]["compare"]
# Trained well enough to be within the gate's limits.
GOOD = SMALL | {
    "model.channels": [8, 16, 32],
    "train.epochs": 12,
    "train.batch_size": 32,
    "train.ema": 0.95,
}
SETUP = "install"  # this environment is installed already
OVERRIDE = "github.event.action == 'labeled' && github.event.label.name == 'gate-override'"
# What GitHub's expressions are for a pull request from a fork: no secret, no variable.
EXPRESSIONS = {
    "github.base_ref": "main",
    "github.event.pull_request.body": "Trains for longer.",
    "github.event.sender.login": "octocat",
    OVERRIDE: "false",
    "secrets.DVC_AWS_ACCESS_KEY_ID": "",
    "secrets.DVC_AWS_SECRET_ACCESS_KEY": "",
    "vars.DVC_AWS_ENDPOINT_URL": "",
    "vars.DVC_AWS_REGION || 'us-east-1'": "us-east-1",
}
CONDITIONS: dict[str | None, Callable[[dict[str, str]], bool]] = {
    None: lambda outcomes: "failure" not in outcomes.values(),
    "${{ !cancelled() && steps.reproduce.outcome == 'success' }}": (
        lambda outcomes: outcomes.get("reproduce") == "success"
    ),
}


@dataclass
class Runner:
    """A machine that has checked a pull request out, merged, as actions/checkout does."""

    project: Project
    temp: Path

    def run(self, *only: str, **expressions: str) -> dict[str, str]:
        """Run the steps, or those named; each one's outcome, by id or name."""
        outcomes: dict[str, str] = {}
        for step in JOB["steps"]:
            name = step.get("id", step.get("name"))
            if "uses" in step or name == SETUP or (only and name not in only):
                continue
            if only or CONDITIONS[step.get("if")](outcomes):
                outcomes[name] = self.step(step, EXPRESSIONS | expressions)
            else:
                outcomes[name] = "skipped"
        return outcomes

    def step(self, step: dict[str, Any], expressions: dict[str, str]) -> str:
        assert "${{" not in step["run"], "GitHub would paste a stranger's text into the script"
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        environment = {
            key: expressions[value.removeprefix("${{ ").removesuffix(" }}")]
            for key, value in (JOB["env"] | step.get("env", {})).items()
        }
        files = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "out", "GITHUB_ENV": "env"}
        found = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.project.folder,
            env=self.project.environment
            | environment
            | {name: str(self.temp / file) for name, file in files.items()}
            | {"RUNNER_TEMP": str(self.temp)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with (self.temp / "log").open("a") as log:
            log.write(found.stdout)
        return "failure" if found.returncode else "success"

    @property
    def log(self) -> str:
        return (self.temp / "log").read_text()


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Branch main with a good model; branch bad with one that was hardly trained."""
    project = Project.scratch(tmp_path_factory.mktemp("origin") / "project")
    repro(project, GOOD)
    project.run("git", "checkout", "--quiet", "-b", "bad")
    repro(project, {"train.epochs": 1, "train.optimizer.lr": 0.0001})
    return project


def repro(project: Project, settings: dict[str, Any]) -> None:
    words = [f"--set-param={key}={json.dumps(value)}" for key, value in settings.items()]
    project.run("dvc", "exp", "run", *words)
    project.commit("reproduced")


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
        (tmp_path / "temp").mkdir()
        return Runner(project, tmp_path / "temp")

    return clone


def test_the_shell_is_the_one_that_the_steps_are_tried_in() -> None:
    assert WORKFLOW["defaults"] == {"run": {"shell": "bash"}}


def test_a_good_change_passes(origin: Project, check_out: Callable[[str], Runner]) -> None:
    branch(origin, "good")
    repro(origin, {"train.early_stopping.patience": 4})
    runner = check_out("good")
    assert set(runner.run().values()) == {"success"}, runner.log
    assert "identical: all 15 outputs have the same bytes" in runner.log
    assert "how origin/main was evaluated: the same" in runner.log
    assert not (runner.project.folder / ".bases").exists()
    comment = (runner.temp / "comment.md").read_text()
    assert comment == (runner.temp / "summary.md").read_text()
    assert "PASS" in comment
    assert "identical: all 15 outputs" in comment


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
    assert "gate-override wants a line in the pull request" in runner.log


def test_a_stale_lock_blocks(origin: Project, check_out: Callable[[str], Runner]) -> None:
    branch(origin, "stale")
    module = origin.folder / "digits" / "engine.py"
    module.write_text(f"{module.read_text()}\n# Changes no byte of the results.\n")
    origin.commit("stale")
    runner = check_out("stale")
    outcomes = runner.run()
    assert outcomes.pop("Compare with what was committed") == "failure"
    assert set(outcomes.values()) == {"success"}, runner.log
    comment = (runner.temp / "comment.md").read_text()
    assert "train: other digits/engine.py\n" in comment
    assert "The way out: dvc repro, and commit dvc.lock and metrics/" in comment


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
    module = origin.folder / "digits" / "metrics.py"
    module.write_text(f"{module.read_text()}\n# Measures as before.\n")
    repro(origin, {"train.optimizer.lr": 0.201})
    runner = check_out("evaluator")
    assert set(runner.run().values()) == {"success"}, runner.log
    assert "how origin/main was evaluated: other in digits/metrics.py" in runner.log
    assert "Running the pipeline of " in runner.log
    assert "against origin/main (its evaluator)" in runner.log


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
