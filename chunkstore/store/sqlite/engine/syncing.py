"""Syncing a file's data to the drive, as each platform does it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Final

_SYNC_FILE_RANGE_WRITE: Final = 2


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return sync_file_range(2), which only Linux has."""
    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

    def call(descriptor: int, start: int, size: int, flags: int) -> int:
        return int(function(descriptor, start, size, flags))

    return call


_sync_file_range: Final = _find_sync_file_range()


def sync_data(descriptor: int) -> None:
    """Return once the bytes of an open file are on the drive.

    Raises:
        OSError: they are not; a second try would not find out.
    """
    if sys.platform == "darwin":
        import fcntl

        # There fsync leaves them in the drive's cache (fsync(2) of macOS).
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def start_writing(descriptor: int, start: int, size: int) -> None:
    """Have the system begin to write these bytes of an open file to the drive, and return at once.

    Nothing may rely on it; errors are those of the sync that follows.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)
