"""The order in which trials run; tests/ops/sweep/test_sweep.py runs them."""

from collections.abc import Iterator

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
