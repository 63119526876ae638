"""The log on its way to the disk, beside the writer.

Batches of an upload that has not been answered yet need not be durable, so their transactions are
not synced; the one that commits the upload syncs the whole log. So that it does not find a
gigabyte to sync, the disk is kept busy meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

_STEP_SIZE: Final = 8 * 1024 * 1024

_logger = logging.getLogger(__name__)


class Flusher:
    """Has what was written to the write-ahead log at `log` written to the disk early.

    Nothing relies on it: the kernel tells SQLite of an error as well (fsync(2)), at the sync that
    counts. The log is no file on which SQLite holds locks, which closing it would let go.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._unflushed = 0
        self._running: asyncio.Task[None] | None = None

    def wrote(self, size: int) -> None:
        """Note that about `size` bytes were written and not synced."""
        self._unflushed += size
        if self._unflushed >= _STEP_SIZE and self._running is None:
            self._unflushed = 0
            self._running = asyncio.create_task(self._flush())

    async def close(self) -> None:
        """Wait for what runs."""
        if self._running is not None:
            await self._running

    async def _flush(self) -> None:
        try:
            await asyncio.to_thread(_sync, self._log)
        except OSError as error:
            _logger.debug("The log was not written early: %s", error)
        finally:
            self._running = None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
