"""The number of workers: what the environment says, or what affinity and a quota allow."""

import math
import os
from pathlib import Path

import pytest

from digits.core import workers
from digits.core.errors import InputError
from digits.core.workers import count_workers, cpu_quota

V1 = "4:memory:/a/b\n3:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n"


def write(root: Path, files: dict[str, str]) -> Path:
    """A stand-in for the files of Linux's control groups."""
    for name, content in files.items():
        path = root / (name if name.startswith("proc") else f"sys/fs/cgroup/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(("setting", "number"), [("1", 1), ("12", 12)])
def test_the_environment_sets_the_number(
    monkeypatch: pytest.MonkeyPatch, setting: str, number: int
) -> None:
    monkeypatch.setenv("DIGITS_COMPUTE_WORKERS", setting)
    assert count_workers() == number


@pytest.mark.parametrize("setting", ["0", "-1", "two", "", "1.5", "٣", "1000000", "9" * 5000])
def test_anything_else_is_refused(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv("DIGITS_COMPUTE_WORKERS", setting)
    with pytest.raises(InputError, match=r"expected 'auto' or a number from 1 to 4,096"):
        count_workers()


@pytest.mark.parametrize(
    ("quota", "cores", "number"),
    [
        (math.inf, 64, 64),
        (1.0, 64, 1),
        (1.5, 64, 2),
        (0.1, 64, 1),
        (8.0, 64, 8),
        (8.0, 2, 2),
    ],
)
def test_the_lower_of_affinity_and_quota_counts(
    monkeypatch: pytest.MonkeyPatch, quota: float, cores: int, number: int
) -> None:
    monkeypatch.setenv("DIGITS_COMPUTE_WORKERS", "auto")
    monkeypatch.setattr(workers, "cpu_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert count_workers() == number


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/\n", "cpu.max": "150000 100000\n"}, 1.5),
        ({"proc/self/cgroup": "0::/\n", "cpu.max": "max 100000\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "cpu.max": "nonsense\n"}, math.inf),
        ({"proc/self/cgroup": "0::/\n", "cpu.max": "100000 0\n"}, math.inf),
        # The limit of a group above holds too, and the lowest counts.
        (
            {
                "proc/self/cgroup": "0::/kubepods/pod/container\n",
                "kubepods/cpu.max": "max 100000\n",
                "kubepods/pod/cpu.max": "200000 100000\n",
                "kubepods/pod/container/cpu.max": "300000 100000\n",
            },
            2.0,
        ),
        # Without a cgroup namespace, the path is the host's and the mount is the container's.
        ({"proc/self/cgroup": "0::/docker/1f\n", "cpu.max": "100000 100000\n"}, 1.0),
        ({"proc/self/cgroup": "0::/../1f\n", "cpu.max": "100000 100000\n"}, 1.0),
        (
            {
                "proc/self/cgroup": V1,
                "cpu/a/b/cpu.cfs_quota_us": "50000\n",
                "cpu/a/b/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4.0,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "cpu/a/b/cpu.cfs_quota_us": "-1\n",
                "cpu/a/b/cpu.cfs_period_us": "100000\n",
                "cpu/a/cpu.cfs_quota_us": "300000\n",
                "cpu/a/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        # Both versions, as systemd's hybrid has them.
        (
            {
                "proc/self/cgroup": f"{V1}0::/a\n",
                "cpu/a/b/cpu.cfs_quota_us": "100000\n",
                "cpu/a/b/cpu.cfs_period_us": "100000\n",
            },
            1.0,
        ),
        ({"proc/self/cgroup": "12:cpuset:/a\nnonsense\n"}, math.inf),
        ({}, math.inf),
    ],
)
def test_the_quota_of_a_container_is_read(
    tmp_path: Path, files: dict[str, str], quota: float
) -> None:
    assert cpu_quota(write(tmp_path, files)) == quota
