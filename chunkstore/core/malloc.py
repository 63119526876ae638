"""Settings of glibc's malloc, by which the process takes memory from the system."""

from __future__ import annotations

import ctypes
from typing import Final

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
# The most that malloc allows; no buffer of a transfer takes as much in one piece.
_MAPPED_APART: Final = 32 * 1024 * 1024
_KEPT_FREE: Final = 64 * 1024 * 1024


def configure_malloc() -> None:
    """Let all threads share one heap that keeps freed memory; do nothing without glibc.

    By default each thread has a heap of its own (M_ARENA_MAX), and a download cannot use the memory
    that an upload has freed in another thread's. Buffers of a chunk's size would also go back to
    the system each time they are freed, and it would have to clear their pages for the next ones
    (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD). The cost is that up to 64 MiB of freed memory stay with
    the process, and that threads wait for each other to allocate. See mallopt(3). Call it before
    any thread is started.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_APART)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)
