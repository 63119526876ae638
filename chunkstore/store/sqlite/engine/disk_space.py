"""Room on the disk: what may still be written, and what is kept so that deleting always works.

What is written stands in the log first, and a checkpoint carries it into the database, which may
have to grow by as much as the log holds. Were the disk filled to its end, no checkpoint could
succeed any more, so the log could not be emptied; and then not even a deletion would find room
for its few pages. The store would never get out of that by itself.

So room for both is not only looked for but taken: a file beside the database, the **reserve**, has
as many bytes as the log, and some more for deletions and collection. Before a transaction adds
anything, be that bytes, a name or an upload, the reserve must be as large as it has to be
behind it; else the log is emptied first, and if that does not help, the transaction is refused.
What frees something is never refused: if the disk is full to the last byte, also by another
program, the reserve is given up for it. Nothing is added then until the reserve is there again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from chunkstore.core.errors import StoreFull
from chunkstore.core.units import format_size
from chunkstore.store.sqlite.engine.connection import BUSY_TIMEOUT_SECONDS, translated_failed_syncs

# For transactions that free something: the largest of them free pages or remove names, a few MiB.
_LEAST: Final = 8 * 1024 * 1024
# What the few rows of an edit take in the log, which has whole pages, and what each further edit
# takes of the same transaction.
EDIT_SIZE: Final = 64 * 1024
FURTHER_EDIT_SIZE: Final = 4 * 1024
# The reserve grows in such steps and shrinks by more, not at each transaction. It is given up a
# part at a time.
_STEP: Final = 1024 * 1024
_PARTS: Final = 4
_SLACK: Final = 64 * 1024 * 1024
# What st_blocks counts (stat(2)).
_BLOCK_SIZE: Final = 512
# Readers of this program need the log for a few milliseconds.
_READER_WAIT_MILLISECONDS: Final = 50
_FRAME_HEADER_SIZE: Final = 24

_WHAT_TO_DO: Final = "Deleting files makes reserve, once what only they needed has been collected."
_FULL: Final = f"The disk is full. {_WHAT_TO_DO}"

_logger = logging.getLogger(__name__)


class ReserveFile:
    """Bytes of the file system that belong to nobody else, in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = 0

    def find(self) -> None:
        """Take over what another process has left.

        Raises:
            OSError: it is another user's, or no file, so nothing could be added for lack of it.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        # A copy of it may have no blocks.
        self.size = min(found.st_size, found.st_blocks * _BLOCK_SIZE)

    def resize(self, size: int) -> bool:
        """Have at least `size` bytes, and not many more; return whether there is reserve."""
        wanted = -(-size // _STEP) * _STEP
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
            # What was allocated of it would only be in the way.
            with suppress(OSError):
                os.truncate(self._path, self.size)
            return False
        self.size = wanted
        return True

    def give_up(self, size: int = 0) -> None:
        """Let go of all but `size` bytes."""
        if size < self.size:
            with suppress(FileNotFoundError):
                os.truncate(self._path, size)
            self.size = size

    def remove(self) -> None:
        """Let go of all, and of the file."""
        self._path.unlink(missing_ok=True)
        self.size = 0


def _allocate(descriptor: int, start: int, stop: int) -> None:
    if stop == start:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, stop - start)
        return
    zeros = bytes(1024 * 1024)
    while start < stop:
        start += os.pwrite(descriptor, zeros[: stop - start], start)


class DiskReserve:
    """Looks after the room on the file system of the database at `path`.

    What adds something is refused where fewer than `min_free` bytes would be left.
    """

    def __init__(self, path: Path, *, min_free: int = 0) -> None:
        # Text, because each transaction asks for them, and paths take as long to make it again.
        self._folder = str(path.parent)
        self._min_free = min_free
        self.log = path.with_name(f"{path.name}-wal")
        self._log = str(self.log)
        self.file = ReserveFile(path.with_name(f"{path.name}-reserve"))
        # Given up for lack of reserve, it must not be what keeps a deletion from it the next time.
        self._given_up = False

    def why_full(self, size: int = 0) -> str | None:
        """Return why `size` bytes, in whichever steps, cannot be added now; None if they can."""
        free = self._free()
        if self._min_free and free - size < self._min_free:
            return (
                f"The disk would have less than the {format_size(self._min_free)} left that"
                f" --min-free keeps free. {_WHAT_TO_DO}"
            )
        return _FULL if self._given_up or free <= size else None

    def make(self, db: sqlite3.Connection, size: int) -> None:
        """Prepare for a transaction that adds `size` bytes, 0 if it does not. Runs on the writer.

        Raises:
            StoreFull: there is no room for that much.
        """
        if size and self._min_free and self._free() - size < self._min_free:
            raise StoreFull(self.why_full(size))
        if self._suffices(size):
            return
        # It may find no room itself, if others have filled the disk; deletions may still do.
        with suppress(sqlite3.OperationalError):
            self.checkpoint(db, "TRUNCATE")
        self.file.give_up(self._wanted(size))
        if not self._suffices(size) and size:
            raise StoreFull(_FULL)

    def checkpoint(self, db: sqlite3.Connection, mode: str) -> int:
        """As the function `checkpoint`; the log has its own room in the reserve."""
        try:
            return checkpoint(db, mode)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_FULL or self.file.size <= _LEAST:
                raise
        self.file.give_up(_LEAST)
        return checkpoint(db, mode)

    def give_up_reserve(self, db: sqlite3.Connection) -> bool:
        """Give some of the reserve to a transaction that frees something; or return False.

        Only some, because another program may take what is not used.
        """
        if not self.file.size:
            return False
        if not self._given_up:
            _logger.warning("The disk is full: nothing can be added until something is deleted.")
        self._given_up = True
        self.file.give_up(max(0, self.file.size - max(_STEP, self.file.size // _PARTS)))
        with suppress(sqlite3.OperationalError):
            checkpoint(db, "TRUNCATE")
        return True

    def prepare_to_open(self) -> None:
        """Find the reserve, and give some up if without it the database could not be opened.

        Raises:
            OSError: as `ReserveFile.find`.
        """
        self.file.find()
        if self.file.size and self._free() < _STEP:
            self.file.give_up(max(0, self.file.size - _STEP))
            self._given_up = True

    def close(self, *, keep_reserve: bool) -> None:
        """Let go of what only a running writer needs."""
        try:
            if not keep_reserve:
                self.file.remove()
            elif self.file.size:
                self.file.give_up(_LEAST)
        except OSError as error:
            _logger.warning("The reserve of the store was left as it is: %s", error)

    def _suffices(self, size: int) -> bool:
        wanted = self._wanted(size)
        if self._given_up:
            # Twice, or each deletion on a disk that stays full would take it and give it up again.
            self._given_up = self._free() + self.file.size < 2 * wanted
        return not self._given_up and self.file.resize(wanted) and self._free() >= size

    def _wanted(self, size: int) -> int:
        return self._log_size() + size + _LEAST

    def _free(self) -> int:
        figures = os.statvfs(self._folder)
        return figures.f_bavail * figures.f_frsize

    def _log_size(self) -> int:
        try:
            return os.stat(self._log).st_size
        except FileNotFoundError:
            return 0


def checkpoint(db: sqlite3.Connection, mode: str) -> int:
    """Carry the log into the database as far as readers allow, not that of an attached one.

    Nobody is waited for (PASSIVE) until there is little left to carry; then `mode`, RESTART or
    TRUNCATE, waits a moment for readers that need the log. Return the bytes of the log, 0 if it
    begins anew because none was in the way.

    Raises:
        SyncFailed: the log or the database was not synced.
        sqlite3.OperationalError: it was interrupted, or failed in another way; nothing is lost.
    """
    db.execute(f"PRAGMA busy_timeout = {_READER_WAIT_MILLISECONDS}")
    try:
        with translated_failed_syncs():
            _carry(db, "PASSIVE")
            busy, frames = _carry(db, mode)
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
    [(page_size,)] = db.execute("PRAGMA page_size").fetchall()
    return frames * (int(page_size) + _FRAME_HEADER_SIZE) if busy else 0


def _carry(db: sqlite3.Connection, mode: str) -> tuple[bool, int]:
    """Return whether a reader was in the way, and how many frames the log has."""
    [(busy, frames, _)] = db.execute(f"PRAGMA main.wal_checkpoint({mode})").fetchall()
    return bool(busy), int(frames)
