"""How processes, and the trials of a sweep, share this machine."""

from typing import Any

import pytest

from ops.tools.compute import ComputeParams


@pytest.mark.parametrize(
    ("workers", "processes", "jobs", "expected"),
    [
        ("auto", 3, 1, 2),
        ("auto", 1, 2, 4),
        ("auto", 2, 2, 2),
        ("auto", 1, 3, 2),
        ("auto", 4, 4, 1),
        (6, 1, 2, 3),
        (6, 2, 2, 3),  # is for each process
        (1, 1, 4, 1),
    ],
)
def test_the_trials_together_use_what_one_would(
    monkeypatch: pytest.MonkeyPatch, workers: Any, processes: int, jobs: int, expected: int
) -> None:
    monkeypatch.setenv("DIGITS_COMPUTE_WORKERS", "8")  # cores, so to say
    params = ComputeParams(workers=workers, processes=processes, backend="local")
    assert params.threads(jobs) == expected
