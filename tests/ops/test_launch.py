import subprocess
from pathlib import Path

import pytest

from ops import launch as launcher
from tests.helpers import warm_python
from tests.helpers.small import ROOT, small_params


def launch(folder: Path, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [warm_python.python(), "-m", "ops.launch", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("words", [[], ["ops.demo"], ["--version"]])
def test_only_stages_are_launched(tmp_path: Path, words: list[str]) -> None:
    found = launch(tmp_path, words)
    assert found.returncode == 1
    assert found.stderr.startswith("error: arguments are")


def test_the_stage_gets_its_arguments_and_the_exit_code_comes_back(tmp_path: Path) -> None:
    small_params(tmp_path)
    found = launch(tmp_path, ["stages.fetch", "--out", "raw"])
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "raw" / "source.json").exists()
    assert launch(tmp_path, ["stages.fetch"]).returncode == 2


@pytest.mark.parametrize(
    ("folder", "said"),
    [(".", launcher.GO_ON), (".dvc/tmp/exps/standalone/tmp1/digits", launcher.AGAIN)],
)
def test_after_ctrl_c_the_way_on_is_that_of_the_folder(
    tmp_path: Path, folder: str, said: str
) -> None:
    project = tmp_path / folder
    (project / "stages").mkdir(parents=True)
    (project / "stages" / "__init__.py").touch()
    (project / "stages" / "stopped.py").write_text("raise SystemExit(130)")
    small_params(project)
    found = launch(project, ["stages.stopped"])
    assert found.returncode == 130
    assert said in found.stderr
    assert launch(project, ["stages.stopped"], RANK="1").stderr == ""  # the first process says it


@pytest.mark.parametrize(
    ("changes", "environment", "message"),
    [
        ({"compute.workers": 0}, {}, "compute.workers is 0; expected 'auto' or greater than or"),
        ({"compute": 2}, {}, "compute is 2; expected keys and values"),
        ({"compute": None}, {}, "compute.workers is missing"),
        ({}, {"DIGITS_COMPUTE_PROCESSES": "0"}, "compute.processes is 0; expected greater than"),
        ({}, {"DIGITS_COMPUTE_WORKERS": "many"}, "compute.workers is 'many'; expected 'auto' or"),
    ],
)
def test_a_bad_number_of_workers_is_named(
    tmp_path: Path,
    prepared: Path,
    changes: dict[str, object],
    environment: dict[str, str],
    message: str,
) -> None:
    small_params(tmp_path, changes)
    words = ["stages.train", "--data", str(prepared), "--weights", "w", "--metrics", "m"]
    found = launch(tmp_path, [*words, "--curve", "c", "--resume", ".resume"], **environment)
    assert found.returncode == 1
    assert message in found.stderr
    assert "Traceback" not in found.stderr
