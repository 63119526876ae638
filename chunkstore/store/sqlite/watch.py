"""Watching over a database that is open: what befalls its files, and whether its pages are sound.

A file that is deleted or replaced goes on existing for who has it open, so SQLite writes to it and
syncs it, and with the process all of that is gone. So after each transaction, and before anybody is
told of it, the database and its log must still be the files that were opened. And the database must
still say the opening (`owner`) that it was given: `cp` writes another one into the same file.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chunkstore.core.errors import DatabaseDamaged, DatabaseReplaced, NotAStore
from chunkstore.store.sqlite.engine.transactions import Failure
from chunkstore.store.sqlite.promotion import Promotion
from chunkstore.store.sqlite.rows import QUERIES

_DAMAGE: Final = (DatabaseDamaged, NotAStore)

# The first byte of a page of an index, as tables WITHOUT ROWID are, that leads to others.
_INTERIOR_PAGE: Final = b"\x02"

_logger = logging.getLogger(__name__)

_Place = tuple[int, int]


class Watch:
    """Watches over the database at `path`, which is open for writing if `begin` is called."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._promotion = Promotion(path)
        self._opened: dict[str, _Place | None] = {}
        self._mark: _Mark | None = None
        self._replaced = False
        self._damaged = False

    def begin(self, db: sqlite3.Connection) -> None:
        """Remember which files are open, once there is a log. Runs on the writing connection."""
        self._promotion.prepare(db)
        files = (str(self._path), f"{self._path}-wal")
        self._opened = {file: _place_of(file) for file in files}
        self._mark = _Mark.of(self._path, db)

    def end(self) -> None:
        """Let go of the files, once the database is closed."""
        if self._mark is not None:
            self._mark.close()

    def after_transaction(self, db: sqlite3.Connection, outcomes: Sequence[object]) -> None:
        """Look what a transaction came to, before anybody is told. Runs on the writing connection.

        Raises:
            DatabaseReplaced: it went to files that nobody will find again.
        """
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                self.note(outcome.error)
        self._promotion.settle(db)
        if self._look():
            raise DatabaseReplaced

    def note(self, error: Exception) -> None:
        """Remember damage of the database itself, if that is what a job failed at."""
        self._damaged |= isinstance(error, _DAMAGE)

    def faults(self) -> list[str]:
        """Return what keeps the store from its promises, as sentences."""
        errors = [DatabaseReplaced()] if self._look() else []
        return [str(error) for error in [*errors, *([DatabaseDamaged()] if self._damaged else [])]]

    def _look(self) -> bool:
        """Return whether a file is another or gone by now; log it when that changes."""
        replaced = self._is_another()
        if replaced and not self._replaced:
            _logger.error(
                "%s or its log was deleted or replaced while it is open: nothing is stored any"
                " more. Put it back, or stop the server and restore a backup; before it stops,"
                " what it has can be downloaded.",
                self._path,
            )
        elif self._replaced and not replaced:
            _logger.info("%s is there again.", self._path)
        self._replaced = replaced
        return replaced

    def _is_another(self) -> bool:
        for file, place in self._opened.items():
            if _place_of(file) != place:
                return True
        return self._mark is not None and not self._mark.is_there()


class _Mark:
    """The place of the opening in the file of the database, by which another one is noticed.

    The file stays open for as long as the database: to close it would let go of SQLite's locks.
    """

    def __init__(self, path: Path, page_size: int, page: int, opening: str) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._size = page_size
        self._start = page_size * (page - 1)
        self._opening = opening.encode()
        self._seen = False

    @classmethod
    def of(cls, path: Path, db: sqlite3.Connection) -> _Mark | None:
        """Return the mark of a database, None if it has none."""
        row = db.execute(QUERIES["find_setting"], {"name": "opening"}).fetchone()
        if row is None:
            return None
        [(page_size,)] = db.execute("PRAGMA page_size").fetchall()
        [(page,)] = db.execute(QUERIES["setting_page"]).fetchall()
        return cls(path, page_size, page, row[0])

    def is_there(self) -> bool:
        """Whether the file says the opening, as far as can be told."""
        try:
            page = os.pread(self._file, self._size, self._start)
        except OSError:
            return True
        if self._opening in page:
            self._seen = True
            return True
        # It may be in the log only, and in another page if the table has grown beyond its first.
        return not self._seen or page[:1] == _INTERIOR_PAGE

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _place_of(file: str) -> _Place | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
