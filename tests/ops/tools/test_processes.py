"""A module that runs for an owner ends with it, and so does all that it has started."""

import subprocess
import sys
from pathlib import Path

import psutil

from ops.tools import processes
from tests.helpers.small import ROOT
from tests.helpers.wait import until

# Started by its name in place of dvc: it starts a process of its own, as dvc starts a stage.
MODULE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(sys.argv, child.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_owner_takes_the_whole_process_group_with_it(tmp_path: Path) -> None:
    (tmp_path / "stand_in.py").write_text(MODULE)
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    words = [sys.executable, "-m", "ops.tools.processes", str(owner.pid), "stand_in", "a", "b"]
    process = subprocess.Popen(
        words,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    arguments, child = process.stdout.readline().rsplit(maxsplit=1)
    assert arguments.endswith("'a', 'b']")
    grandchild = psutil.Process(int(child))
    assert process.poll() is None
    owner.kill()
    owner.wait()
    process.communicate(timeout=120)
    assert process.returncode < 0
    until(lambda: not processes.is_alive(grandchild))


def test_an_owner_that_has_ended_already_is_an_error() -> None:
    owner = subprocess.Popen(["true"])
    owner.wait()
    words = [sys.executable, "-m", "ops.tools.processes", str(owner.pid), "this"]
    assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == 1
