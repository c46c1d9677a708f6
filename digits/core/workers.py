"""How many workers share the work. Their number changes the time it takes, never the bytes."""

import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import parent_process
from pathlib import Path, PurePosixPath

from digits.core.errors import InputError

WORKERS_VARIABLE = "DIGITS_COMPUTE_WORKERS"
MAX_WORKERS = 4096
CHUNK = 500  # images classified at once; fixed, since rounding may depend on their number

# Where Linux mounts the controllers of processor time, and the files that hold limit and period.
CGROUP_V2 = (("sys/fs/cgroup",), ("cpu.max",))
CGROUP_V1 = (
    ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct"),
    ("cpu.cfs_quota_us", "cpu.cfs_period_us"),
)


def count_workers() -> int:
    """The number in DIGITS_COMPUTE_WORKERS; by default, the cores that this process may use.

    These are the cores of its affinity, or fewer if a container's quota of processor time allows
    less: for 1.5 cores, 2 workers.
    """
    setting = os.environ.get(WORKERS_VARIABLE, "auto")
    if setting == "auto":
        affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        return max(1, math.ceil(min(cores, cpu_quota())))
    if not re.fullmatch("[0-9]{1,9}", setting) or not 1 <= int(setting) <= MAX_WORKERS:
        raise InputError(
            f"{WORKERS_VARIABLE} is {setting!r}; expected 'auto' or a number from 1 to "
            f"{MAX_WORKERS:,}"
        )
    return int(setting)


def end_with_parent(_number: int = 0) -> None:
    """End this process, which `multiprocessing` started, when its parent is killed."""

    def watch() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def cpu_quota(root: Path = Path("/")) -> float:
    """How many cores' time the control groups of this process allow; infinity without a limit.

    Parameters
    ----------
    root : holds proc/ and sys/

    References
    ----------
    https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max;
    https://docs.kernel.org/scheduler/sched-bwc.html, cpu.cfs_quota_us
    """
    quota = math.inf
    for folder, files in _groups(root):
        with suppress(OSError, ValueError):  # no such group, or no number: "max" is no limit
            limit, period = " ".join((folder / name).read_text() for name in files).split()
            if int(limit) > 0 and int(period) > 0:  # v1 has -1 for no limit
                quota = min(quota, int(limit) / int(period))
    return quota


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The folders of this process's groups and of the groups above, whose limits also hold."""
    try:
        lines = os.fsdecode((root / "proc/self/cgroup").read_bytes()).splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        controllers, _, name = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts, files = CGROUP_V1 if controllers else CGROUP_V2
        group = PurePosixPath(name.lstrip("/"))
        if ".." in group.parts:  # outside of what this container sees
            group = PurePosixPath()
        for mount in mounts:
            for part in (group, *group.parents):
                yield root / mount / part, files
