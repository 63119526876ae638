"""Room on the disk for the log to be carried into the database.

What is written stands in the log first, and a checkpoint carries it into the database, which may
have to grow by as much as the log holds. Were the disk filled to its end, no checkpoint could
succeed any more, so the log could not be emptied; and then not even a deletion would find room
for its few pages. The store would never get out of that by itself.

So before each transaction the file system is asked. If it has not got as much room as the log
may take in the database, the log is emptied first. If there is too little even then, new content
is refused: what is left over is for names, deletions and collection.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from chunkstore.errors import StoreFull

# For the transactions that are never refused: the largest of them free pages, a few MiB at once.
_RESERVE: Final = 8 * 1024 * 1024
# In the log and in the database.
_TIMES_WRITTEN: Final = 2
_READER_WAIT_MILLISECONDS: Final = 250
_FRAME_HEADER_SIZE: Final = 24


class Room:
    """Looks after the room on the file system of the database at `path`."""

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self.log = path.with_name(f"{path.name}-wal")

    def make(self, db: sqlite3.Connection, size: int) -> None:
        """Prepare for a transaction that stores `size` bytes of content. Runs on the writer.

        Raises:
            StoreFull: there is no room for that much.
        """
        if self._suffices(size):
            return
        # It may find no room itself, if others have filled the disk; deletions may still do.
        with suppress(sqlite3.OperationalError):
            checkpoint(db, "TRUNCATE")
        if size and not self._suffices(size):
            raise StoreFull

    def _suffices(self, size: int) -> bool:
        figures = os.statvfs(self._folder)
        free = figures.f_bavail * figures.f_frsize
        return free >= self._log_size() + _TIMES_WRITTEN * size + _RESERVE

    def _log_size(self) -> int:
        try:
            return self.log.stat().st_size
        except FileNotFoundError:
            return 0


def checkpoint(db: sqlite3.Connection, mode: str) -> int:
    """Carry the log into the database as far as readers allow, not that of an attached one.

    Return the bytes of the log, 0 if it begins anew because no reader was in the way.
    """
    db.execute(f"PRAGMA busy_timeout = {_READER_WAIT_MILLISECONDS}")
    [(busy, frames, _)] = db.execute(f"PRAGMA main.wal_checkpoint({mode})").fetchall()
    [(page_size,)] = db.execute("PRAGMA page_size").fetchall()
    return int(frames) * (int(page_size) + _FRAME_HEADER_SIZE) if busy else 0
