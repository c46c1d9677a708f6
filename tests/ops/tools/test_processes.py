"""A module that runs for an owner ends with it, and so does all that it has started."""

import os
import subprocess
import sys
import time
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


def test_a_process_that_nobody_has_waited_for_is_not_alive() -> None:
    with subprocess.Popen(["true"]) as ended:
        process = psutil.Process(ended.pid)
        until(lambda: process.status() == psutil.STATUS_ZOMBIE)
        assert not processes.is_alive(process)
    assert processes.is_alive(psutil.Process())


def test_a_process_that_has_got_the_number_of_another_one_was_not_running_then() -> None:
    started = psutil.Process().create_time()
    assert processes.was_running(os.getpid(), started + 1)
    assert not processes.was_running(os.getpid(), started - 10)
    with subprocess.Popen(["true"]) as ended:
        pass
    assert not processes.was_running(ended.pid, time.time())
