"""Recovery from a failed sync: what may have been lost is written again.

Linux marks pages that a sync could not write as clean, so the next sync succeeds without them. But
they can still be read from memory, and so they can be written again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from chunkstore.store.sqlite.engine.syncing import sync_data

_STEP_SIZE: Final = 8 * 1024 * 1024
_LOG_HEADER_SIZE: Final = 32
_FRAME_HEADER_SIZE: Final = 24


class LogRewriter:
    """Writes the log at `log`, and the pages of the database that it has, once more.

    The database too, because a checkpoint that a reader stopped has copied pages that it has not
    synced and will not copy again. The file stays open until all connections are closed: closing it
    would release the locks that SQLite holds on it.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._database: int | None = None

    def rewrite(self) -> None:
        """Write both over themselves and sync them. Called on the writer's thread.

        Readers see the same bytes throughout.

        Raises:
            OSError: they cannot be read, written or synced.
        """
        if self._database is None:
            name = self._log.name.removesuffix("-wal")
            self._database = os.open(self._log.with_name(name), os.O_RDWR)
        with self._log.open("r+b", buffering=0) as log:
            _write_over(log.fileno(), 0, os.fstat(log.fileno()).st_size)
            sync_data(log.fileno())
            page_size, pages = _pages_in(log.fileno())
        for page in pages:
            _write_over(self._database, (page - 1) * page_size, page_size)
        sync_data(self._database)

    def close(self) -> None:
        """Close the database file, once no connection to it is open."""
        if self._database is not None:
            os.close(self._database)
            self._database = None


def _pages_in(log: int) -> tuple[int, list[int]]:
    """Return the page size, and the numbers of the pages that the log has a frame of.

    https://www.sqlite.org/fileformat2.html#the_write_ahead_log
    """
    page_size = int.from_bytes(os.pread(log, 4, 8), "big")
    frames = range(_LOG_HEADER_SIZE, os.fstat(log).st_size, _FRAME_HEADER_SIZE + page_size)
    pages = {int.from_bytes(os.pread(log, 4, place), "big") for place in frames}
    return page_size, sorted(pages - {0})


def _write_over(file: int, start: int, size: int) -> None:
    """Write `size` bytes of a file, or as many as it has, over themselves."""
    stop = start + size
    while start < stop and (piece := os.pread(file, min(_STEP_SIZE, stop - start), start)):
        start += os.pwrite(file, piece, start)
