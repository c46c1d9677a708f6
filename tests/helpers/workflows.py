"""Workflow files, and a machine that runs a job's steps as they stand there, as GitHub's does.

Example:

    runner = Runner(job("retrain"), project, tmp_path / "temp", {"github.token": "the-token"})
    assert runner.run()["Retrain"] == "success", runner.log
"""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.project import Project
from tests.helpers.small import ROOT, SMALL

FOLDER = ROOT / ".github" / "workflows"
SETUP = "install"  # this environment is installed already
FILES = {"GITHUB_STEP_SUMMARY": "summary.md", "GITHUB_OUTPUT": "out", "GITHUB_ENV": "env"}
# Trained well enough to be within the gate's limits, in less than a second.
GOOD = SMALL | {
    "model.channels": [8, 16, 16],
    "model.convolutions": [1, 1, 2],
    "train.epochs": 4,
    "train.batch_size": 48,
    "train.shards": 1,
    "train.ema": 0.8,
    "train.optimizer.lr": 0.4,
    "train.augmentation.rotation": 0.0,
    "train.augmentation.translation": 1.0,
    "train.augmentation.scale": 0.0,
    "train.augmentation.shear": 0.0,
}
Outcomes = dict[str, str]


def repro(project: Project, settings: Mapping[str, Any]) -> None:
    """Run the pipeline with other parameters, and commit what came of it."""
    project.set_params(settings)
    project.run("dvc", "repro")
    project.commit("reproduced")


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def job(name: str) -> dict[str, Any]:
    """The job that a workflow is named after."""
    found: dict[str, Any] = load(f"{name}.yml")["jobs"][name]
    return found


@dataclass
class Runner:
    """A machine with a checkout; what GitHub's expressions are is given."""

    job: Mapping[str, Any]
    project: Project
    temp: Path
    expressions: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, **expressions: str) -> Outcomes:
        """Run the steps, up to one that fails; each one's outcome, by id or name."""
        self.temp.mkdir(exist_ok=True)
        outcomes: Outcomes = {}
        for step in self.job["steps"]:
            name = step.get("id", step.get("name"))
            if "uses" in step or name == SETUP:
                continue
            assert "if" not in step, "this machine knows no conditions"
            if "failure" in outcomes.values():
                outcomes[name] = "skipped"
            else:
                outcomes[name] = self.step(step, {**self.expressions, **expressions})
        return outcomes

    def step(self, step: Mapping[str, Any], expressions: Mapping[str, str]) -> str:
        assert "${{" not in step["run"], "GitHub would paste a stranger's text into the script"
        script = self.temp / "step.sh"
        script.write_text(step["run"])
        environment = {
            key: resolve(value, expressions)
            for key, value in (self.job.get("env", {}) | step.get("env", {})).items()
        }
        found = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
            cwd=self.project.folder,
            env={
                **self.project.environment,
                **self.environment,
                **environment,
                **{name: str(self.temp / file) for name, file in FILES.items()},
                "RUNNER_TEMP": str(self.temp),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with (self.temp / "log").open("a") as log:
            log.write(found.stdout)
        return "failure" if found.returncode else "success"

    def read(self, file: str) -> str:
        path = self.temp / file
        return path.read_text() if path.exists() else ""

    @property
    def log(self) -> str:
        return self.read("log")


def resolve(value: str, expressions: Mapping[str, str]) -> str:
    """A value of `env` with what its expressions are; there is one at most."""
    before, found, rest = value.partition("${{ ")
    if not found:
        return value
    expression, _, after = rest.partition(" }}")
    return before + expressions[expression] + after
