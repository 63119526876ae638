"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
from typing import Final

# Of glibc's malloc.h.
_M_ARENA_MAX: Final = -8


def share_one_heap() -> None:
    """Let all threads allocate from one heap (mallopt(3), M_ARENA_MAX), where there is glibc.

    Each thread has a heap of its own otherwise, and what uploads have freed in one is of no use
    to the downloads that another thread reads. Called before threads are started.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
