"""Disk space: what may still be written, and the reserve that keeps deletion possible.

A transaction writes to the log first, and a checkpoint copies the log into the database, which may
grow by as much as the log holds. On a full disk no checkpoint could succeed, so the log could not
be emptied, and then not even a deletion would find space for its few pages in the log. The store
could not recover by itself.

So space for both is allocated in advance: the **reserve**, a file beside the database, is as large
as the log, and some more for deletions and collection. A transaction that adds something, be it
content, a name or an upload, needs a reserve that is large enough for the log after it; otherwise
the log is emptied first, and if that does not help, the transaction is refused. A transaction that
frees something is never refused: if the disk is full to the last byte, also because of another
program, the reserve is released for it. Nothing is added until the reserve is complete again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from chunkstore.core.errors import StoreFull
from chunkstore.store.sqlite.engine.checkpoint import Mode, checkpoint
from chunkstore.store.sqlite.engine.reserve_file import STEP, ReserveFile

# For transactions that free something: the largest of them free pages or delete names, a few MiB.
_LEAST: Final = 8 * 1024 * 1024
# What the few rows of an edit take in the log, which has whole pages, and what each further edit
# takes of the same transaction.
EDIT_SIZE: Final = 128 * 1024
FURTHER_EDIT_SIZE: Final = 4 * 1024
# The reserve is released a part at a time.
_PARTS: Final = 4

_WHAT_TO_DO: Final = "Delete files: their space is free once a collection has run."
_FULL: Final = f"The disk is full. {_WHAT_TO_DO}"

_logger = logging.getLogger(__name__)


class DiskReserve:
    """The reserve of the database at `path`.

    What adds something is refused where fewer than `min_free` bytes would be left; `too_little` is
    the sentence that says so.
    """

    def __init__(self, path: Path, *, min_free: int = 0, too_little: str = "") -> None:
        # Strings, because every transaction uses them, and converting a path takes as long.
        self._folder = str(path.parent)
        self._min_free = min_free
        self._too_little = f"{too_little} {_WHAT_TO_DO}"
        self.log = path.with_name(f"{path.name}-wal")
        self._log = str(self.log)
        self.file = ReserveFile(path.with_name(f"{path.name}-reserve"))
        # Once released, growing it again must not take the space that the next deletion needs.
        self._released = False

    def why_full(self, size: int = 0) -> str | None:
        """Return why `size` bytes, in any number of steps, cannot be added; None if they can."""
        free = self._free()
        if self._min_free and free - size - self._growth(0, self._wanted(0)) < self._min_free:
            return self._too_little
        return _FULL if self._released or free <= size else None

    def prepare(self, db: sqlite3.Connection, size: int) -> None:
        """Prepare for a transaction that adds `size` bytes, 0 if none. Runs on the writer's thread.

        Raises:
            StoreFull: the disk has too little space for it.
        """
        if self._reserve(size) is None:
            return
        # A checkpoint may find no space itself if others have filled the disk; deletions may.
        with suppress(sqlite3.OperationalError):
            self.checkpoint(db, "TRUNCATE")
        self.file.shrink(self._wanted(size))
        reason = self._reserve(size)
        if size and reason is not None:
            raise StoreFull(reason)

    def checkpoint(self, db: sqlite3.Connection, mode: Mode) -> int:
        """Checkpoint as the function does, on a full disk with the log's share of the reserve."""
        try:
            return checkpoint(db, mode)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL or self.file.size <= _LEAST:
                raise
        self.file.shrink(_LEAST)
        return checkpoint(db, mode)

    def release(self, db: sqlite3.Connection) -> bool:
        """Release some of the reserve to a transaction that frees something; False if none is left.

        Only some, because another program may take what is not used.
        """
        if not self.file.size:
            return False
        if not self._released:
            _logger.warning("The disk is full: nothing can be added until something is deleted.")
        self._released = True
        self.file.shrink(max(0, self.file.size - max(STEP, self.file.size // _PARTS)))
        with suppress(sqlite3.OperationalError):
            checkpoint(db, "TRUNCATE")
        return True

    def prepare_to_open(self) -> None:
        """Find the reserve; release some if the database could not be opened otherwise.

        Raises:
            OSError: as `ReserveFile.find`.
        """
        self.file.find()
        if self.file.size and self._free() < STEP:
            self.file.shrink(max(0, self.file.size - STEP))
            self._released = True

    def close(self, *, keep: bool) -> None:
        """Keep only what the next start needs, or nothing."""
        try:
            if not keep:
                self.file.remove()
            elif self.file.size:
                self.file.shrink(_LEAST)
        except OSError as error:
            _logger.warning("The reserve of the store was left as it is: %s", error)

    def _reserve(self, size: int) -> str | None:
        """Have as large a reserve as `size` bytes more need; return why not, None if it is."""
        wanted, free, before = self._wanted(size), self._free(), self.file.size
        if size and self._min_free and free - self._growth(size, wanted) < self._min_free:
            return self._too_little
        if self._released:
            # Twice, or each deletion on a disk that stays full would allocate and release it again.
            self._released = free + before < 2 * wanted
        if self._released or not self.file.resize(wanted):
            return _FULL
        return None if free - (self.file.size - before) >= size else _FULL

    def _wanted(self, size: int) -> int:
        return self._log_size() + size + _LEAST

    def _growth(self, size: int, wanted: int) -> int:
        """Return by how much the files may grow until `size` bytes more are in the database.

        They are written to the log, a checkpoint writes all of the log to the database, and the
        reserve grows to `wanted` bytes, in steps.
        """
        return size + (wanted - _LEAST) + max(0, wanted + STEP - self.file.size)

    def _free(self) -> int:
        figures = os.statvfs(self._folder)
        return figures.f_bavail * figures.f_frsize

    def _log_size(self) -> int:
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0
