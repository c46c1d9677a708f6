"""One command at a time, in a process group of its own; what became of it stays on the disk."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from digits.core.errors import InputError
from digits.training.progress import PROGRESS
from ops.ui.facts import jobs
from ops.ui.facts.jobs import Job
from ops.ui.live import runner
from ops.ui.live.runner import Runner
from tests.helpers.small import ROOT
from tests.helpers.wait import until

# Waits for a file `go`; its child does the same, as a stage does under dvc.
WAITS = """\
import os, subprocess, sys, time
print("started", flush=True)
child = subprocess.Popen(["sh", "-c", "while true; do sleep 0.05; done"])
print(child.pid, flush=True)
try:
    while not os.path.exists("go"):
        time.sleep(0.01)
except KeyboardInterrupt:
    child.wait()
    print("interrupted", flush=True)
    sys.exit(130)
child.kill()
"""
DEAF = "import signal, time; signal.signal(2, signal.SIG_IGN); print('deaf'); time.sleep(600)"
SAYS = """\
import os, sys
print(sys.argv[1:], os.environ.get("DIGITS_STARTED_IN"), os.environ["%s"])
sys.exit(3)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    for name, text in {"waits": WAITS, "deaf": DEAF, "says": SAYS % PROGRESS}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    monkeypatch.setenv("DIGITS_STARTED_IN", str(tmp_path / "docs"))  # not for a job's paths
    monkeypatch.chdir(tmp_path)
    made = Runner()
    with made.open():
        yield made
        (tmp_path / "go").touch()


def state(job: Job) -> str | None:
    found = jobs.read(job.id)
    return found and found.state


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def start(run: Runner) -> tuple[Job, int]:
    """A job that runs, and the process that it started."""
    job = run.add("waits", ["waits"], "action=sweep")
    lines = until(
        lambda: (
            len(found := job.log.read_text().split()) > 1 and found if job.log.exists() else None
        )
    )
    return job, int(lines[1])


def test_a_second_command_waits_for_the_first(run: Runner) -> None:
    first, _ = start(run)
    second = run.add("says", ["says", "a b", "$(id)"], "action=sweep")
    third = run.add("says", ["says"], "action=sweep")
    assert [state(job) for job in (first, second, third)] == ["running", "waiting", "waiting"]
    run.stop(third.id)
    assert jobs.read(third.id) is None
    Path("go").touch()
    until(lambda: state(second) == "failed")
    assert state(first) == "done"
    ended = jobs.read(second.id)
    assert ended
    assert ended.code == 3
    assert ended.started >= jobs.read(first.id).ended  # type: ignore[operator, union-attr]
    assert second.log.read_text().startswith("['a b', '$(id)'] None ")
    assert second.log.read_text().strip().endswith(str(second.progress))
    assert [job.id for job in jobs.every()] == [second.id, first.id]


def test_a_stop_is_ctrl_c_for_the_command_and_all_that_it_started(run: Runner) -> None:
    job, child = start(run)
    run.stop(job.id)
    assert state(job) in ("stopping", "stopped")
    until(lambda: state(job) == "stopped")
    assert "interrupted" in job.log.read_text()
    assert not is_alive(child)


def test_a_second_stop_kills_a_command_that_does_not_hear(run: Runner) -> None:
    job = run.add("deaf", ["deaf"], "action=sweep")
    until(lambda: job.log.exists() and job.log.read_text())
    run.stop(job.id)
    assert state(job) == "stopping"
    run.stop(job.id)
    until(lambda: state(job) == "stopped")


def test_the_end_of_the_server_stops_the_command_and_drops_the_queue(run: Runner) -> None:
    job, child = start(run)
    waiting = run.add("says", ["says"], "action=sweep")
    run._close()
    assert (state(job), state(waiting)) == ("stopped", "interrupted")
    assert not is_alive(child)


def test_a_killed_server_leaves_no_command_behind_and_its_job_is_interrupted(
    run: Runner, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = (
        "from ops.ui.live.runner import Runner\nimport time\nr = Runner()\n"
        "with r.open():\n    print(r.add('waits', ['waits'], 'action=sweep').id, flush=True)\n"
        "    time.sleep(600)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", text], cwd=other, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout
    folder = other / ".ui" / "jobs" / server.stdout.readline().strip()
    log = folder / "output.log"
    child = int(until(lambda: log.exists() and log.read_text().split()[1:])[0])
    server.kill()
    server.communicate()
    until(lambda: not is_alive(child))
    os.chdir(other)
    with Runner().open():
        assert [job.state for job in jobs.every()] == ["interrupted"]


def test_after_a_full_disk_the_next_command_runs(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, refused = jobs.save, []

    def save_with_room(job: Job) -> Job:
        if job.ended and len(refused) < 2:
            refused.append(job)
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(job)

    monkeypatch.setattr(runner, "RETRY_S", 0.01)
    monkeypatch.setattr(jobs, "save", save_with_room)
    first, second = (run.add("says", ["says"], "action=sweep") for _ in range(2))
    until(lambda: state(first) == state(second) == "failed")
    assert len(refused) == 2


def test_a_command_that_cannot_be_started_has_failed(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(job: Job) -> subprocess.Popen[bytes]:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(runner, "start", refuse)
    job = run.add("says", ["says"], "action=sweep")
    until(lambda: state(job) not in ("waiting", "running"))
    assert state(job) == "failed"
    assert "it could not be started" in job.log.read_text()


def test_a_second_server_is_refused(run: Runner) -> None:
    with pytest.raises(InputError, match="--read-only"), Runner().open():
        pass


def test_old_jobs_are_forgotten(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    for second in range(3):
        jobs.save(
            Job(f"20260101-00000{second}-abcd", "old", ("x",), "action=sweep", second, ended=9)
        )
    monkeypatch.setattr(jobs, "KEPT", 2)
    runner.forget_old()
    assert [job.id[14] for job in jobs.every()] == ["2", "1"]


@pytest.mark.parametrize(
    "id", ["", "..", "../../x", "20260101-000000-abcd/..", "20260101-000000-abcd"]
)
def test_what_is_no_job_is_none(run: Runner, id: str) -> None:
    assert jobs.read(id) is None
