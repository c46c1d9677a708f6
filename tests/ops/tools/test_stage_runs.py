import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from digits.core import files
from ops.tools import disk, stage_runs
from tests.helpers import warm_python
from tests.helpers.small import ROOT
from tests.helpers.wait import until

START = """\
import os, sys
from digits.core import errors
from ops.tools import stage_runs

def main():
    {code}

with stage_runs.recorded():
    errors.run(main)
"""
PIPELINE = "stages: {train: {cmd: x, outs: [weights, absent]}}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    files.write("dvc.yaml", PIPELINE)
    return tmp_path


def run(code: str, stage: str | None = "train", **environment: str) -> "subprocess.Popen[bytes]":
    variables = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **environment}
    return subprocess.Popen(
        [warm_python.python(), "-c", START.format(code=code)],
        env=variables | ({"DVC_STAGE": stage} if stage else {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def output(process: "subprocess.Popen[bytes]") -> str:
    return process.communicate()[0].decode()


def test_a_run_leaves_its_times_its_exit_code_its_outputs_and_what_it_printed() -> None:
    process = run("open('weights', 'w').write('w'); print('on', 1); print('off', file=sys.stderr)")
    assert sorted(output(process).split("\n")) == ["", "off", "on 1"]
    found = stage_runs.read("train")
    assert found is not None
    assert (found.exit_code, found.has_failed, found.is_running) == (0, False, False)
    assert found.seconds is not None
    assert found.outputs == {"weights": disk.digest("weights")}
    assert sorted(stage_runs.read_log("train").split("\n")) == ["off", "on 1"]


@pytest.mark.parametrize(
    ("code", "exit_code", "log"),
    [
        ("sys.exit(3)", 3, ""),
        ("open('weights', 'w').close(); sys.exit('a reason')", 1, "a reason"),
        ("raise errors.InputError('lr is 0')", 1, "error: lr is 0"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("[][0]", 1, "IndexError: list index out of range"),
    ],
)
def test_a_run_that_fails_has_its_exit_code_and_its_message(
    code: str, exit_code: int, log: str
) -> None:
    process = run(code)
    shown = output(process).strip()
    assert process.returncode == exit_code
    found = stage_runs.read("train")
    assert found is not None
    assert (found.exit_code, found.has_failed, found.outputs) == (exit_code, True, {})
    assert stage_runs.read_log("train") == shown
    assert shown.endswith(log)


def test_a_run_that_is_killed_ran_until_then_and_has_failed() -> None:
    process = run("print('ready', flush=True); import time; time.sleep(600)")
    until(lambda: "ready" in stage_runs.read_log("train"))
    found = stage_runs.read("train")
    assert found is not None
    assert found.is_running
    assert not found.has_failed
    process.kill()
    process.communicate()
    until(lambda: not found.is_running)
    assert found.has_failed
    assert found.ending == "its last run was killed"


def test_what_dvc_did_not_start_is_not_recorded(folder: Path) -> None:
    assert output(run("print(1)", stage=None)) == "1\n"
    assert [path.name for path in folder.iterdir()] == ["dvc.yaml"]


def test_processes_of_torchrun_add_to_the_log_of_their_launcher() -> None:
    output(run("print('the run before')"))
    output(run("print('launcher')"))
    before = stage_runs.read("train")
    output(run("print('worker')", TORCHELASTIC_RUN_ID="1"))
    assert stage_runs.read_log("train") == "launcher\nworker"
    assert stage_runs.read("train") == before


def test_a_record_that_cannot_be_written_stops_no_stage(folder: Path) -> None:
    files.write(folder / ".ui", "a file in the place of the folder")
    process = run("print(1)")
    assert output(process) == "1\n"
    assert process.returncode == 0


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends: of whom looks at it, and of the program."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_a_terminal_is_a_terminal_as_before(terminal: tuple[int, int]) -> None:
    outside, inside = terminal
    code = "print(sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(1).columns >= 0)"
    words = [sys.executable, "-c", START.format(code=code)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "DVC_STAGE": "train"}
    subprocess.run(words, env=environment, stdout=inside, stderr=inside, check=True)
    assert os.read(outside, 100).decode().split() == ["True", "True", "True"]
    assert stage_runs.read_log("train") == "True True True"


def test_a_log_is_what_a_progress_bar_leaves_on_a_terminal() -> None:
    content = b"  0%|   |\r 50%|#  |\r          \repoch 1\n\x1b[32m100%|###|\x1b[0m\r\n\xff\n"
    files.write(stage_runs.FOLDER / "logs" / "train.log", content)
    assert stage_runs.read_log("train") == "epoch 1\n100%|###|\n\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"started": "x", "pid": 1})])
def test_a_record_that_is_broken_is_none(content: str) -> None:
    files.write(stage_runs.FOLDER / "stages" / "train.json", content)
    assert stage_runs.read("train") is None


def test_a_name_stays_in_the_folder(folder: Path) -> None:
    output(run("print(1)", stage="../../x/y"))
    assert {path.name for path in folder.iterdir()} == {"dvc.yaml", ".ui"}
    assert stage_runs.read_log("../../x/y") == "1"
