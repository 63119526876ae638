"""Whose the write-ahead log beside a database is.

SQLite replays a log beside a database without asking whether the two belong together. Where a
killed server has left its log and somebody puts a backup in the place of the database, the log
undoes parts of the backup, or wrecks it (sqlite.org/howtocorrupt.html, 1.4). Neither of the two
files says anything about the other.

So each opening for writing gives itself a random id, the **opening**. It is carried into the
database itself, past the log, before anything else is; and it is remembered in a file beside the
database, with its device and inode. When a log is found, the opening that the database has without
its log must be the one that is remembered. That holds wherever the files are copied to together; an
inode alone would be another after a copy, and may be the same after `rm` and `cp`. It decides only
where the database cannot be read without its log, as in the middle of a checkpoint.

Where nothing is remembered, the log is of a version that did not, and is believed. The file is
there only while there is a log.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from chunkstore.core.errors import ForeignLog, StoreUnusable
from chunkstore.store.sqlite.engine.connection import translated_errors
from chunkstore.store.sqlite.engine.disk_space import checkpoint
from chunkstore.store.sqlite.rows import QUERIES

# What follows its name where a restore keeps the database that was there.
KEPT: Final = "-before-"

_LOG_HEADER_SIZE: Final = 32
_UNREADABLE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PRIMARY_CODE: Final = 0xFF

_Verdict: TypeAlias = Literal["own", "replaced", "foreign"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Record:
    """What is remembered: that the log is of the database that has one of these openings.

    None is the opening of a database that never had one. To the database whose opening is
    `successor` the log is nothing: it was put in the place of the log's own.
    """

    device: int
    inode: int
    openings: tuple[str | None, ...]
    successor: str | None = None


class LogOwner:
    """What is remembered of the log beside the database at `path`. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.log = path.with_name(f"{path.name}-wal")
        self._index = path.with_name(f"{path.name}-shm")
        self.memory = path.with_name(f"{path.name}-owner")
        self._draft = path.with_name(f"{path.name}-owner-new")
        self._lock = path.with_name(f"{path.name}-lock")
        self._had_log = False
        self._known: tuple[str | None, ...] = ()

    def check(self) -> None:
        """Make sure, before the database is opened for writing, that the log there is its own.

        Who calls has the lock. What an interrupted restore left to be removed is removed.

        Raises:
            ForeignLog: it is of another database; nothing was changed.
        """
        self._remove_second_names()
        self._had_log = self._has_log()
        record = self._read() if self._had_log else None
        if record is None:
            self.memory.unlink(missing_ok=True)
            return
        match self._judge(record):
            case "own":
                self._known = record.openings
            case "replaced":
                self.remove_log()
                self._had_log = False
            case "foreign":
                raise ForeignLog(self._describe())

    def check_to_read(self) -> None:
        """Make sure of the same before the database is opened to be read, changing nothing.

        Raises:
            ForeignLog: the log is of another database.
            StoreUnusable: a restore has not been completed.
        """
        record = self._read() if self._has_log() else None
        if record is None or (self._is_served() and self._is_same_file(record)):
            return
        # A server that starts remembers its own opening before the database has it.
        now = self._read() or record
        match self._judge(replace(record, openings=record.openings + now.openings)):
            case "replaced":
                raise StoreUnusable("Its restore was broken off at the last step: serve it once.")
            case "foreign":
                raise ForeignLog(self._describe())

    def take(self, db: sqlite3.Connection) -> None:
        """Give the database a new opening, and remember it. Runs on the writing connection.

        While the log cannot be emptied, because another program reads or the disk is full, both
        hold, this opening and the one before.
        """
        opening = secrets.token_hex(16)
        row = db.execute(QUERIES["find_setting"], {"name": "opening"}).fetchone()
        known = self._known if self._had_log else (None if row is None else row[0],)
        try:
            if self._had_log and known:
                self._remember(*known, opening)
            db.execute(QUERIES["put_setting"], {"name": "opening", "value": opening})
            if _empty_log(db):
                self._remember(opening)
            elif known:
                self._remember(*known, opening)
        except OSError as error:
            # What was remembered, if anything, is true still.
            _logger.warning("Whose log %s is cannot be remembered: %s", self.log, error)

    def forget(self) -> None:
        """Forget, after the database was closed, unless a log has stayed."""
        try:
            if not self._has_log():
                self.memory.unlink(missing_ok=True)
        except OSError as error:
            # It is looked at only where there is a log.
            _logger.warning("%s was left as it is: %s", self.memory, error)

    def name_successor(self, opening: str) -> None:
        """Note that the log is nothing to the database with this opening, which is about to come.

        A crash before it has come leaves the log valid, one behind leaves it to be removed.
        """
        if self._has_log():
            record = self._read() or _Record(*self._place(), openings=self._own_openings())
            self._write(replace(record, successor=opening))

    def remove_log(self) -> None:
        """Remove the log, and what goes with it."""
        self.log.unlink(missing_ok=True)
        self._index.unlink(missing_ok=True)
        sync_folder(self._path.parent)
        self.memory.unlink(missing_ok=True)

    def _remove_second_names(self) -> None:
        """Remove the names that an interrupted restore would have kept the database by.

        Nobody may open a database by two names, for it would have two logs (howtocorrupt, 2.4).
        """
        if not self._path.exists() or self._path.stat().st_nlink == 1:
            return
        for name in list(self._path.parent.glob(f"{self._path.name}{KEPT}*")):
            if name.exists() and name.samefile(self._path):
                for ending in ("", "-wal", "-owner"):
                    Path(f"{name}{ending}").unlink(missing_ok=True)

    def _has_log(self) -> bool:
        try:
            return self.log.stat().st_size > _LOG_HEADER_SIZE
        except FileNotFoundError:
            return False

    def _own_openings(self) -> tuple[str | None, ...]:
        try:
            return (find_opening(self._path),)
        except sqlite3.Error:
            return ()

    def _judge(self, record: _Record) -> _Verdict:
        if not self._path.exists():
            return "foreign"
        try:
            opening = find_opening(self._path)
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE
            if code in _UNREADABLE:
                return "own" if self._path.stat().st_ino == record.inode else "foreign"
            if code == sqlite3.SQLITE_ERROR:
                # It has no such table.
                return "foreign"
            with translated_errors():
                raise
        if opening is not None and opening == record.successor:
            return "replaced"
        return "own" if opening in record.openings else "foreign"

    def _is_served(self) -> bool:
        """Whether a process has the lock."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _is_same_file(self, record: _Record) -> bool:
        return self._path.exists() and self._place() == (record.device, record.inode)

    def _place(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def _remember(self, *openings: str | None) -> None:
        self._write(_Record(*self._place(), openings=openings))

    def _read(self) -> _Record | None:
        try:
            fields = json.loads(self.memory.read_bytes())
            return _Record(**{**fields, "openings": tuple(fields["openings"])})
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnusable(f"{self.memory}: {error.strerror}.") from error
        except (ValueError, TypeError, KeyError):
            _logger.warning("%s is not what chunkstore writes, and is not regarded.", self.memory)
            return None

    def _write(self, record: _Record) -> None:
        with self._draft.open("w", encoding="utf-8") as draft:
            json.dump(asdict(record), draft)
            draft.flush()
            os.fsync(draft.fileno())
        self._draft.replace(self.memory)
        sync_folder(self._path.parent)

    def _describe(self) -> str:
        name = self._path.name
        problem = (
            f"The log {name}-wal beside it is that of another database, and was not touched."
            if self._path.exists()
            else f"It is gone, and its log {name}-wal is there."
        )
        return (
            f"{problem} To put a backup in its place, run `chunkstore restore BACKUP`. To go on"
            f" without the log, remove {name}-wal and {name}-owner; if the two do belong together,"
            f" remove {name}-owner only."
        )


def _empty_log(db: sqlite3.Connection) -> bool:
    """Carry the log into the database; return whether that could be done."""
    try:
        return checkpoint(db, "TRUNCATE") == 0
    except sqlite3.OperationalError:
        return False


def find_opening(path: Path) -> str | None:
    """Return the opening that the database at `path` has without its log, None if it has none.

    Raises:
        sqlite3.Error: it cannot be read without it.
    """
    # Immutable, because that is what has SQLite leave the log alone.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        row = db.execute(QUERIES["find_setting"], {"name": "opening"}).fetchone()
    return None if row is None else str(row[0])


def sync_folder(folder: Path) -> None:
    """Make durable which files there are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
