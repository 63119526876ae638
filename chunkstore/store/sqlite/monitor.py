"""Monitoring an open database: damage, and changes to its files by other programs.

A file that is deleted or replaced continues to exist for the process that has it open. SQLite would
write to it and sync it, and all of that would be lost with the process. So after each transaction,
before anybody is told its outcome:

- The paths of the database and its log must still lead to the files that were opened.
- The database must still contain the id of this session (`log_owner`): `cp` writes another database
  into the same file.
- The log must have the last frame that its shared index (`-shm`) lists; one that another program
  has truncated does not.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from chunkstore.core.errors import (
    DatabaseDamaged,
    DatabaseReplaced,
    NotAStore,
    StoreError,
    StoreUnavailable,
)
from chunkstore.store.sqlite.engine.connection import SyncFailed
from chunkstore.store.sqlite.engine.transactions import Failure
from chunkstore.store.sqlite.promotion import Promotion
from chunkstore.store.sqlite.rows import fetch_value

# The first byte of an interior page of an index, as tables WITHOUT ROWID are.
_INTERIOR_PAGE: Final = b"\x02"
# Of the log and of its shared index, in native byte order but for the salts, which both contain:
# https://www.sqlite.org/fileformat2.html#the_write_ahead_log, https://www.sqlite.org/walformat.html
_LOG_HEADER_SIZE: Final = 32
_FRAME_HEADER_SIZE: Final = 24
_FRAME_SALTS: Final = slice(8, 16)
_INDEX_HEADER_SIZE: Final = 48
_INDEX_PAGE_SIZE: Final = slice(14, 16)
_INDEX_LAST_FRAME: Final = slice(16, 20)
_INDEX_SALTS: Final = slice(32, 40)
# The errors that another program's change to the files can show itself in.
_SYMPTOMS: Final = (DatabaseDamaged, NotAStore, StoreUnavailable)

_MOVED: Final = (
    "was deleted or replaced while it is open: nothing is stored any more. Put it back, or stop the"
    " server and restore a backup; before it stops, what it has can be downloaded."
)
_OVERWRITTEN: Final = (
    "was overwritten or truncated while it is open: nothing is stored any more, and what it had can"
    " hardly be read. Stop the server and restore a backup."
)

_logger = logging.getLogger(__name__)

_FileId = tuple[int, int]


class DatabaseMonitor:
    """Monitors the database at `path`; its files only once `begin` was called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._promotion = Promotion(path)
        self._files: dict[str, _FileId | None] = {}
        self._session: _SessionId | None = None
        self._log: _Log | None = None
        self._replaced = False
        self._damaged = False

    def begin(self, db: sqlite3.Connection) -> None:
        """Remember the files that are open, once there is a log. Runs on the writing connection."""
        self._promotion.create_triggers(db)
        files = (str(self._path), f"{self._path}-wal")
        self._files = {file: _file_id(file) for file in files}
        self._log = _Log(self._path)
        self._session = _SessionId.of(self._path, db)

    def end(self) -> None:
        """Close the monitored files, once the database is closed."""
        for monitored in (self._session, self._log):
            if monitored is not None:
                monitored.close()

    def after_transaction(self, db: sqlite3.Connection, outcomes: Sequence[Any]) -> list[Any]:
        """Return the outcomes of a transaction to report. Runs on the writing connection.

        Raises:
            DatabaseReplaced: the transaction was written to files that nobody will find again.
        """
        self._promotion.after_transaction(db)
        if self._is_replaced():
            raise DatabaseReplaced
        return [
            Failure(self.explain(outcome.error))
            if isinstance(outcome, Failure) and isinstance(outcome.error, StoreError)
            else outcome
            for outcome in outcomes
        ]

    def explain(self, error: StoreError) -> StoreError:
        """Return the error to raise for one that a job ended in; remember damage."""
        if not isinstance(error, _SYMPTOMS) or isinstance(error, SyncFailed):
            return error
        if self._is_replaced():
            return DatabaseReplaced()
        if isinstance(error, StoreUnavailable):
            return error
        self._damaged = True
        # Once it was opened, a file that is no database is a damaged one.
        return DatabaseDamaged() if self._files else error

    def faults(self) -> list[str]:
        """Return what keeps the store from its promises, as sentences."""
        errors = [DatabaseReplaced()] if self._is_replaced() else []
        return [str(error) for error in [*errors, *([DatabaseDamaged()] if self._damaged else [])]]

    def _is_replaced(self) -> bool:
        """Return whether a file is another one, gone or truncated; log it when that changes."""
        overwritten = (self._session is not None and not self._session.is_there()) or (
            self._log is not None and self._log.is_truncated()
        )
        moved = any(_file_id(file) != opened for file, opened in self._files.items())
        replaced = overwritten or moved
        if replaced and not self._replaced:
            _logger.error("%s or its log %s", self._path, _OVERWRITTEN if overwritten else _MOVED)
        elif self._replaced and not replaced:
            _logger.info("%s is there again.", self._path)
        self._replaced = replaced
        return replaced


class _SessionId:
    """The id of this session in the file of the database, which another one does not contain.

    The file stays open for as long as the database: closing it would release SQLite's locks.
    """

    def __init__(self, path: Path, page_size: int, page: int, session: str) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._size = page_size
        self._start = page_size * (page - 1)
        self._id = session.encode()
        self._seen = False

    @classmethod
    def of(cls, path: Path, db: sqlite3.Connection) -> _SessionId | None:
        """Return the id in a database, None if it has none.

        Raises:
            DatabaseDamaged: nobody knows where.
        """
        session = fetch_value(db, "find_setting", name="opening")
        if session is None:
            return None
        [(page_size,)] = db.execute("PRAGMA page_size").fetchall()
        page = fetch_value(db, "setting_page")
        if page is None:
            # The schema has the table by a name that differs in case.
            raise DatabaseDamaged
        return cls(path, page_size, page, session)

    def is_there(self) -> bool:
        """Whether the file contains the id, as far as can be told."""
        try:
            page = os.pread(self._file, self._size, self._start)
        except OSError:
            return True
        if self._id in page:
            self._seen = True
            return True
        # It may be in the log only, or in another page if the table has more than one.
        return not self._seen or page[:1] == _INTERIOR_PAGE

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class _Log:
    """The log of the database at `path`, and the shared index that says what is in it.

    Both stay open for as long as the database: closing the index would release SQLite's locks.
    """

    def __init__(self, path: Path) -> None:
        self._log = os.open(f"{path}-wal", os.O_RDONLY)
        self._index = os.open(f"{path}-shm", os.O_RDONLY)
        # The salts of the log and its last frame when it was found whole. They change when the log
        # restarts.
        self._salts = b""
        self._last_frame = 0

    def is_truncated(self) -> bool:
        """Whether the log lacks the last frame that it had when it was found whole.

        That is the last one of all, unless a transaction has been written since, which may hide
        that the frames before it are missing.
        """
        index = os.pread(self._index, _INDEX_HEADER_SIZE, 0)
        salts = index[_INDEX_SALTS]
        last = int.from_bytes(index[_INDEX_LAST_FRAME], sys.byteorder)
        frame = self._last_frame if salts == self._salts else last
        if frame:
            size = _FRAME_HEADER_SIZE + int.from_bytes(index[_INDEX_PAGE_SIZE], sys.byteorder)
            start = _LOG_HEADER_SIZE + (frame - 1) * size
            header = os.pread(self._log, _FRAME_HEADER_SIZE, start)
            if header[_FRAME_SALTS] != salts or os.fstat(self._log).st_size < start + size:
                # Unless the log restarted in between.
                return index == os.pread(self._index, _INDEX_HEADER_SIZE, 0)
        self._salts, self._last_frame = salts, last
        return False

    def close(self) -> None:
        """Close both files."""
        os.close(self._log)
        os.close(self._index)


def _file_id(file: str) -> _FileId | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
