"""The order in which trials run; tests/ops/sweep/test_sweep.py runs them."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.sweep import trials
from ops.sweep.trials import Ended, Started, Trial


class Engine:
    """Ends the trial that runs for the longest time; those that are named `bad` fail."""

    def __init__(self) -> None:
        self.running: list[Trial] = []
        self.most = 0
        self.stopped = False

    def start(self, trial: Trial) -> None:
        self.running.append(trial)
        self.most = max(self.most, len(self.running))

    def events(self) -> Iterator[Started | Ended]:
        trial = self.running.pop(0)
        yield Started(trial)
        yield Ended(trial, is_complete=trial.name != "bad")

    def stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_as_many_run_at_a_time_as_are_asked_for_and_those_that_failed_are_told(
    jobs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = [Trial(name, {}) for name in ("one", "bad", "three", "four")]
    engine = Engine()
    assert trials.run_all(planned, engine, jobs) == [planned[1]]
    assert engine.most == min(jobs, len(planned))
    assert engine.stopped
    told = capsys.readouterr().err
    assert "FAILED: bad; its log: .sweep/bad.log" in told
    assert "4 of 4 done\n" in told


def test_what_a_stopped_training_left_goes_once_its_trial_is_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned = [Trial(name, {}) for name in ("one", "bad")]
    for trial in planned:
        trial.saved_state.mkdir(parents=True)
    trials.run_all(planned, Engine(), jobs=1)
    assert [trial.saved_state.exists() for trial in planned] == [False, True]


POLITE = "try: print(0); input()\nexcept KeyboardInterrupt: print('cleared away')"
STUBBORN = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); print(0); input()"


@pytest.mark.parametrize(
    ("code", "said", "ended"), [(POLITE, b"cleared away\n", 0), (STUBBORN, b"", -signal.SIGKILL)]
)
def test_what_still_runs_is_interrupted_and_only_then_killed(
    monkeypatch: pytest.MonkeyPatch, code: str, said: bytes, ended: int
) -> None:
    monkeypatch.setattr(trials, "GRACE_S", 60 if said else 0.1)
    words, pipe = [sys.executable, "-u", "-c", code], subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it runs
        trials.stop_dvc([process])
        assert (process.stdout.read(), process.returncode) == (said, ended)
