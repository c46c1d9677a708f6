"""A rehearsal of production: pipeline, SeaweedFS, Git server, promotion, serving, rollback."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from ops import rehearsal
from ops.rehearsal import SCENES
from tests.helpers import warm_python
from tests.helpers.project import Project
from tests.helpers.wait import until
from tests.helpers.workflows import GOOD

pytestmark = pytest.mark.slow(60)

WORDS = ("python", "-m", "ops.rehearsal")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """With a user whose settings would spoil a rehearsal that followed them."""
    project = Project.scratch(tmp_path / "project")
    (project.folder / "presets" / "demo.yaml").write_text(f"# Small.\n{yaml.safe_dump(GOOD)}")
    project.commit("small")
    (tmp_path / "home" / ".gitconfig").write_text("[tag]\n\tgpgSign = true\n")
    (tmp_path / "temporary").mkdir()
    project.environment |= {
        "TMPDIR": str(tmp_path / "temporary"),
        "AWS_PROFILE": "mine",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "DIGITS_COMPUTE_BACKEND": "sagemaker",
    }
    return project


def state(project: Project) -> list[str]:
    words = ("status --porcelain --ignored", "for-each-ref", "remote", "config --list --local")
    return [project.run("git", *each.split()) for each in words]


def processes(folder: Path) -> list[str]:
    """Folder and command line of the processes that run in a folder or name it."""
    found = (each.info for each in psutil.process_iter(["cwd", "cmdline"]))
    lines = [(each["cwd"] or "", *(each["cmdline"] or ())) for each in found]
    return [line for line in map(" ".join, lines) if str(folder) in line]


def test_a_model_goes_through_its_life_and_nothing_stays(project: Project) -> None:
    before = state(project)
    said = project.run(*WORDS)
    for words in (
        "  ok       conditional writes  for digits deploy",
        "refs/tags/digit-classifier#production#1",
        "BLOCKED: ",
        "production is v1.1.0 now",
        "rollback  v1.1.0  v1.0.0",
        "That was all",
    ):
        assert words in said
    port = int(re.search(r"--port (\d+)", said)[1])  # type: ignore[index]
    _, *commands = re.findall(r"^\$ (.*)$", said, re.MULTILINE)  # the first one is `export`
    shown = [line for scene in SCENES for line in rehearsal.shown(scene, port)]
    assert commands == [line.partition("  # ")[0] for line in shown]  # those of the tutorial
    assert said.count('{"version": "v1.0.0"') == 2
    assert said.count('{"version": "v1.1.0"') == 1
    temporary = project.folder.parent / "temporary"
    assert os.listdir(temporary) == []
    assert processes(temporary) == []
    assert state(project) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_cleans_up(project: Project, number: signal.Signals) -> None:
    temporary, log = project.folder.parent / "temporary", project.folder.parent / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *WORDS[1:]],
            cwd=project.folder,
            env={**project.environment, "PATH": warm_python.REAL_PATH},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    until(lambda: "$ digits remote" in log.read_text())
    process.send_signal(number)
    assert process.wait(120) == 130
    assert processes(temporary) == []
    assert os.listdir(temporary) == []
