"""Waiting for what another process or thread does, without a sleep of a guessed length.

Example:

    until(lambda: "running on" in log.read_text())
    until(lambda: not living(project), seconds=20)
"""

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """Ask until a condition is true, and return what it gave; an AssertionError after `seconds`."""
    start = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - start
        assert waited < seconds, f"in vain for {seconds:g} s"
        time.sleep(min(0.01 + waited / 20, 0.25))  # a poll
    return found
