"""A file that reserves disk space."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

# The file grows in such steps. It shrinks only by more, so not at each transaction.
STEP: Final = 1024 * 1024
_SLACK: Final = 64 * 1024 * 1024
# The unit of st_blocks (stat(2)).
_BLOCK_SIZE: Final = 512


class ReserveFile:
    """The file at `path`, whose `size` bytes are allocated on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0

    def find(self) -> None:
        """Take over the file of an earlier process.

        Raises:
            OSError: it is another user's, or not a file, so nothing could be added to the store.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        # A copy of the file may have no blocks.
        self.size = min(found.st_size, found.st_blocks * _BLOCK_SIZE)

    def resize(self, size: int) -> bool:
        """Allocate at least `size` bytes, and not many more; return whether the disk has them."""
        wanted = -(-size // STEP) * STEP
        if size <= self.size <= wanted + _SLACK:
            return True
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.ftruncate(descriptor, min(self.size, wanted))
                _allocate(descriptor, min(self.size, wanted), wanted)
            finally:
                os.close(descriptor)
        except OSError:
            # Give back what was allocated before the disk was full.
            with suppress(OSError):
                os.truncate(self._path, self.size)
            return False
        self.size = wanted
        return True

    def shrink(self, size: int) -> None:
        """Give back all but `size` bytes."""
        if size < self.size:
            with suppress(FileNotFoundError):
                os.truncate(self._path, size)
            self.size = size

    def remove(self) -> None:
        """Give back all, and remove the file."""
        self._path.unlink(missing_ok=True)
        self.size = 0


def _allocate(descriptor: int, start: int, stop: int) -> None:
    if stop == start:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, stop - start)
        return
    zeros = bytes(STEP)
    while start < stop:
        start += os.pwrite(descriptor, zeros[: stop - start], start)
