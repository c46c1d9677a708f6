"""Counts of several processes add up, and outlive the process that counted."""

import os
import signal

from serving.counts import Counts


def test_the_counts_of_processes_add_up() -> None:
    counts = Counts(2)
    counts.cells("requests", "/a", "200")[0] += 1
    counts.cells("seconds", width=3)[2] += 0.5
    counts.use(1)
    counts.cells("seconds", width=3)[2] += 0.25
    counts.cells("requests", "a name\n with a line's end é", "")[0] += 4
    counts.cells("requests", "/a", "200")[0] += 2
    assert counts.totals() == {
        ("requests", "/a", "200"): [3],
        ("seconds",): [0, 0, 0.75],
        ("requests", "a name\n with a line's end é", ""): [4],
    }


def test_a_killed_process_leaves_its_counts_to_the_next() -> None:
    counts = Counts(2)
    if not (child := os.fork()):
        counts.use(1)
        counts.cells("first", width=2)[1] += 1
        counts.cells("second")[0] += 1
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert counts.totals() == {("first",): [0, 1], ("second",): [1]}
    counts.use(1)
    counts.cells("second")[0] += 1
    counts.cells("third")[0] += 1
    assert counts.totals() == {("first",): [0, 1], ("second",): [2], ("third",): [1]}
