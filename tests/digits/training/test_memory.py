"""Freed memory that stays with the process."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from digits.training import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(1 << 20, np.uint8) for _ in range(4)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {keep}:
    memory.keep_freed()
faults()  # the first touch
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory")
def test_what_was_freed_is_used_again_without_the_system() -> None:
    def faults(*, keep: bool) -> int:
        words = [sys.executable, "-c", PROGRAM.format(keep=keep)]
        return int(subprocess.check_output(words, text=True))

    assert faults(keep=True) < 100 < 5_000 < faults(keep=False)
