"""The log on its way to the disk, beside the writer.

Batches of an upload that has not been answered yet need not be durable, so their transactions are
not synced; the one that commits the upload syncs the whole log. So that it does not find a
gigabyte to sync, the disk is kept busy meanwhile.

What a sync could not write is taken for clean by Linux: the next one succeeds without it. But it
can still be read, from memory, and so it can be written again (`Rewriter`).
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

_STEP_SIZE: Final = 8 * 1024 * 1024
_LOG_HEADER_SIZE: Final = 32
_FRAME_HEADER_SIZE: Final = 24

_logger = logging.getLogger(__name__)


class Flusher:
    """Has what was written to the write-ahead log at `log` written to the disk early.

    Nothing relies on its success; but `failed` says that one did not, and nothing that is in the
    log may be taken for synced from then on. The log is no file on which SQLite holds locks, which
    closing it would let go.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self.failed = False
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
        except FileNotFoundError:
            # Another connection that closed last has removed it, with all that it held carried.
            pass
        except OSError as error:
            self.failed = True
            _logger.warning("The log was not written early: %s", error)
        finally:
            self._running = None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


class Rewriter:
    """Writes again what a failed sync may have left, in the log and in the database.

    A checkpoint that a reader was in the way of has carried pages that are not synced before the
    rest is carried, and are not carried again. The database is kept open here until all connections
    to it are closed: closing it would let go the locks that SQLite holds on it.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._database: int | None = None

    def write_anew(self) -> None:
        """Write the log, and the pages that it has, over themselves, and sync both.

        Called by the one thread that writes. Readers see the same bytes throughout.

        Raises:
            OSError: they cannot be read, written or synced.
        """
        if self._database is None:
            name = self._log.name.removesuffix("-wal")
            self._database = os.open(self._log.with_name(name), os.O_RDWR)
        with self._log.open("r+b", buffering=0) as log:
            _write_over(log.fileno(), 0, os.fstat(log.fileno()).st_size)
            os.fdatasync(log.fileno())
            page_size, pages = _pages_in(log.fileno())
        for page in pages:
            _write_over(self._database, (page - 1) * page_size, page_size)
        os.fdatasync(self._database)

    def close(self) -> None:
        """Let the database go, once no connection to it is open."""
        if self._database is not None:
            os.close(self._database)
            self._database = None


def _pages_in(log: int) -> tuple[int, list[int]]:
    """Return the size of pages, and the numbers of those of which the log has a frame.

    https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    """
    page_size = int.from_bytes(os.pread(log, 4, 8), "big")
    frames = range(_LOG_HEADER_SIZE, os.fstat(log).st_size, _FRAME_HEADER_SIZE + page_size)
    pages = {int.from_bytes(os.pread(log, 4, place), "big") for place in frames}
    return page_size, sorted(pages - {0})


def _write_over(file: int, start: int, size: int) -> None:
    """Write bytes of a file over themselves, as many as there are."""
    stop = start + size
    while start < stop and (piece := os.pread(file, min(_STEP_SIZE, stop - start), start)):
        start += os.pwrite(file, piece, start)
