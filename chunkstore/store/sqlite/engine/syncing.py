"""Syncing a file's data to the drive, as each platform does it."""

from __future__ import annotations

import os
import sys


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
