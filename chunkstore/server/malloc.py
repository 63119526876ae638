"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
from typing import Final

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
# The most that malloc allows; no window or batch takes as much in one piece.
_MAPPED_APART: Final = 32 * 1024 * 1024
_KEPT_FREE: Final = 64 * 1024 * 1024


def configure_malloc() -> None:
    """Let all threads allocate from one heap that keeps what is freed, where there is glibc.

    See mallopt(3). Each thread has a heap of its own otherwise (M_ARENA_MAX), and what uploads have
    freed in one is of no use to the downloads that another thread reads. And pieces of a chunk's
    size would be given back to the system each time, which has to clear them for the next one
    (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD). Called before threads are started.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_APART)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_FREE)
