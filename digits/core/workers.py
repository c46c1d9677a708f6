"""How work is divided. It changes how long something takes, never its bytes."""

import os

from digits.core.errors import InputError

WORKERS_VARIABLE = "DIGITS_COMPUTE_WORKERS"
CHUNK = 500  # images that are classified at once; fixed, since rounding may depend on the rows


def count_workers() -> int:
    """The number in DIGITS_COMPUTE_WORKERS, else one for each core that this process may run on."""
    stated = os.environ.get(WORKERS_VARIABLE, "auto")
    if stated == "auto":
        affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
        return len(affinity(0)) if affinity else os.cpu_count() or 1
    if not stated.isdecimal() or int(stated) < 1:
        raise InputError(f"{WORKERS_VARIABLE} is {stated!r}; expected 'auto' or a number from 1")
    return int(stated)
