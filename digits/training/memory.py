"""Freed memory stays with the process, for the next step.

A step allocates the same arrays as the step before. Left alone, glibc gives the large ones back to
the system when they are freed, and the system clears every page again that the next step touches.
"""

import ctypes

# Of mallopt(3), as malloc.h numbers them.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 32 << 20  # bytes of an array that stays; glibc takes no more
KEPT = 1 << 30  # bytes


def keep_freed() -> None:
    """Keep what is freed from now on, up to `KEPT`; where the C library is glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGEST)
        mallopt(M_TRIM_THRESHOLD, KEPT)
