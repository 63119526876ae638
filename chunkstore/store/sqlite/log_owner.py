"""The owner of a write-ahead log: which database it belongs to.

SQLite replays a log beside a database without checking that the two belong together. If a killed
server has left its log, and somebody puts a backup in the place of the database, the log undoes
parts of the backup, or corrupts it (sqlite.org/howtocorrupt.html, 1.4). Neither file identifies the
other.

So each session, from an opening for writing to its end, has a random id. It is written to the
database itself, past the log, before anything else; and to a file beside the database, the
**owner file**, with the database's device and inode. When a log is found, the id that the database
has without its log must be the one in the owner file. This holds if the files are copied together;
an inode alone would differ in a copy, and may be the same after `rm` and `cp`. The inode decides
only where the database cannot be read without its log, as in the middle of a checkpoint.

A log without an owner file is of an older version of this program, and is accepted. The owner file
exists only while there is a log. On disk the session is called `opening`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import secrets
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias

from chunkstore.core.errors import ForeignLog, StoreUnusable
from chunkstore.store.sqlite.engine.checkpoint import checkpoint
from chunkstore.store.sqlite.engine.connection import primary_code, translated_errors
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.segments.names import remove_folder_if_empty, unlink_segments

# A restore appends this to the name of the database that it replaces and keeps.
KEPT: Final = "-before-"

_LOG_HEADER_SIZE: Final = 32
_UNREADABLE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_Verdict: TypeAlias = Literal["own", "replaced", "foreign"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Record:
    """The owner file: the log belongs to the database that has the id of one of these sessions.

    None stands for a database that never had an id. The database with the id `successor` was put in
    the place of the log's own, so the log does not belong to it and is to be removed.
    """

    device: int
    inode: int
    openings: tuple[str | None, ...]
    successor: str | None = None


class LogOwner:
    """The owner of the log beside the database at `path`. Its methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.log = path.with_name(f"{path.name}-wal")
        self._index = path.with_name(f"{path.name}-shm")
        self.file = path.with_name(f"{path.name}-owner")
        self._draft = path.with_name(f"{path.name}-owner-new")
        self._lock = path.with_name(f"{path.name}-lock")
        self._had_log = False
        self._known: tuple[str | None, ...] = ()

    def check(self) -> None:
        """Check, before the database is opened for writing, that the log belongs to it.

        The caller has the lock. What an interrupted restore has left is removed.

        Raises:
            ForeignLog: the log belongs to another database; nothing was changed.
            StoreUnusable: the database has a second name, by which it may be open.
        """
        self._remove_second_names()
        self._require_one_name()
        self._had_log = self._has_log()
        record = self._read() if self._had_log else None
        if record is None:
            self.file.unlink(missing_ok=True)
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
        """Check the same before the database is opened for reading, and change nothing.

        Raises:
            ForeignLog: the log belongs to another database.
            StoreUnusable: a restore has not been completed.
        """
        record = self._read() if self._has_log() else None
        if record is None or (self._is_served() and self._is_same_file(record)):
            return
        # A server that starts writes its id to the owner file before the database has it.
        now = self._read() or record
        match self._judge(replace(record, openings=record.openings + now.openings)):
            case "replaced":
                raise StoreUnusable("Its restore was broken off at the last step: serve it once.")
            case "foreign":
                raise ForeignLog(self._describe())

    def begin_session(self, db: sqlite3.Connection) -> None:
        """Begin a session: write a new id. Runs on the writing connection.

        While the log cannot be emptied, because another program reads or the disk is full, the
        owner file has this id and the one before.
        """
        session = secrets.token_hex(16)
        before = (fetch_value(db, "find_setting", name="opening"),)
        known = self._known if self._had_log else before
        try:
            if self._had_log and known:
                self._remember(*known, session)
            execute(db, "put_setting", name="opening", value=session)
            if _empty_log(db):
                self._remember(session)
            elif known:
                self._remember(*known, session)
        except OSError as error:
            # The owner file, if there is one, is still correct.
            _logger.warning("Whose log %s is cannot be remembered: %s", self.log, error)

    def end_session(self) -> None:
        """Remove the owner file, after the database was closed, unless a log is left."""
        try:
            if not self._has_log():
                self.file.unlink(missing_ok=True)
        except OSError as error:
            # The file matters only beside a log.
            _logger.warning("%s was left as it is: %s", self.file, error)

    def name_successor(self, session: str) -> None:
        """Name the session of the database that is about to replace the one here.

        After a crash before that, the log is replayed; after a later one, it is removed.
        """
        if self._has_log():
            record = self._read() or _Record(*self._file_id(), openings=self._own_sessions())
            self._write(replace(record, successor=session))

    def remove_log(self) -> None:
        """Remove the log, its index and the owner file."""
        self.log.unlink(missing_ok=True)
        self._index.unlink(missing_ok=True)
        sync_file(self._path.parent)
        self.file.unlink(missing_ok=True)

    def _remove_second_names(self) -> None:
        """Remove the second names that an interrupted restore gave to the database and its files.

        The database got its own last, so it may have none while other files have.
        """
        if not self._path.exists():
            return
        for kept in self._kept():
            if kept.exists() and not kept.samefile(self._path):
                continue
            unlink_segments(kept, self._path)
            remove_folder_if_empty(kept)
            for ending in ("-wal", "-owner", ""):
                name = Path(f"{kept}{ending}")
                if name.exists() and (kept.exists() or _is_same(name, f"{self._path}{ending}")):
                    name.unlink()

    def _kept(self) -> set[Path]:
        """Return the paths of all databases that restores kept, or were about to keep."""
        pattern = re.compile(rf"{re.escape(self._path.name)}{KEPT}\d{{8}}T\d{{6}}Z(-\d+)?")
        found = (pattern.match(name) for name in os.listdir(self._path.parent))
        return {self._path.with_name(match[0]) for match in found if match}

    def _require_one_name(self) -> None:
        """Refuse a database with hard links: opened by two names, it has two locks and two logs.

        https://www.sqlite.org/howtocorrupt.html, 2.4
        """
        if self._path.exists() and (names := self._path.stat().st_nlink) > 1:
            raise StoreUnusable(
                f"It has {names} names (hard links), and each would have a log of its own: remove"
                " the others, or serve a copy."
            )

    def _has_log(self) -> bool:
        try:
            return self.log.stat().st_size > _LOG_HEADER_SIZE
        except FileNotFoundError:
            return False

    def _own_sessions(self) -> tuple[str | None, ...]:
        try:
            return (find_session(self._path),)
        except sqlite3.Error:
            return ()

    def _judge(self, record: _Record) -> _Verdict:
        if not self._path.exists():
            return "foreign"
        try:
            session = find_session(self._path)
        except sqlite3.Error as error:
            code = primary_code(error)
            if code in _UNREADABLE:
                return "own" if self._path.stat().st_ino == record.inode else "foreign"
            if code == sqlite3.SQLITE_ERROR:
                # The table of settings is missing.
                return "foreign"
            with translated_errors():
                raise
        if session is not None and session == record.successor:
            return "replaced"
        return "own" if session in record.openings else "foreign"

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
        return self._path.exists() and self._file_id() == (record.device, record.inode)

    def _file_id(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def _remember(self, *sessions: str | None) -> None:
        self._write(_Record(*self._file_id(), openings=sessions))

    def _read(self) -> _Record | None:
        try:
            fields = json.loads(self.file.read_bytes())
            return _Record(**{**fields, "openings": tuple(fields["openings"])})
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnusable(f"{self.file}: {error.strerror}.") from error
        except (ValueError, TypeError, KeyError):
            _logger.warning("%s is not what chunkstore writes, and is not regarded.", self.file)
            return None

    def _write(self, record: _Record) -> None:
        with self._draft.open("w", encoding="utf-8") as draft:
            json.dump(asdict(record), draft)
            draft.flush()
            os.fsync(draft.fileno())
        self._draft.replace(self.file)
        sync_file(self._path.parent)

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


def _is_same(name: Path, other: str) -> bool:
    try:
        return name.samefile(other)
    except FileNotFoundError:
        return False


def _empty_log(db: sqlite3.Connection) -> bool:
    """Checkpoint; return whether the log is empty now."""
    try:
        return checkpoint(db, "TRUNCATE") == 0
    except sqlite3.OperationalError:
        return False


def find_session(path: Path) -> str | None:
    """Return the id that the database at `path` has without its log, None if it has none.

    Raises:
        sqlite3.Error: the database cannot be read without its log.
    """
    # SQLite does not replay the log of a database that is opened as immutable.
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        session = fetch_value(db, "find_setting", name="opening")
    return None if session is None else str(session)


def sync_file(path: Path) -> None:
    """Sync a file to disk, or a folder, which makes durable what files it has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
