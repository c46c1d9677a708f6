"""How many workers share the work. Their number changes the time it takes, never the bytes."""

import os

from digits.core.errors import InputError

WORKERS_VARIABLE = "DIGITS_COMPUTE_WORKERS"
CHUNK = 500  # images classified at once; fixed, since rounding may depend on their number


def count_workers() -> int:
    """The number in DIGITS_COMPUTE_WORKERS; by default, the cores that this process may use."""
    setting = os.environ.get(WORKERS_VARIABLE, "auto")
    if setting == "auto":
        affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if not setting.isdecimal() or int(setting) < 1:
        raise InputError(f"{WORKERS_VARIABLE} is {setting!r}; expected 'auto' or a number from 1")
    return int(setting)
