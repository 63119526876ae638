"""Reading segments: a bounded number of connections to files that never change.

A file is opened as immutable, so SQLite takes no lock and looks for no log. It may be removed while
it is open, and is readable until it is closed. What was looked up in the database a moment ago may
have been moved to another segment meanwhile, by this process or another one: then the file is gone,
and whoever reads looks it up again.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chunkstore.core.errors import ChunkstoreError, StoreFileUnavailable, StoreUnavailable
from chunkstore.store.sqlite.engine.connection import primary_code, translated_errors
from chunkstore.store.sqlite.segments.folder import SegmentFolder

# A download reads one or two. Each takes a descriptor, some 30 KiB, and the cache.
_MOST_IDLE: Final = 32
_CACHE_KIB: Final = 256
_STEP_SIZE: Final = 1024 * 1024
_ATTEMPTS: Final = 3
# Errors that a file that never changes cannot be the cause of; all others are its damage.
_NOT_OF_THE_FILE: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_INTERRUPT,
    }
)

_logger = logging.getLogger(__name__)


class SegmentGone(ChunkstoreError):
    """A segment has no file. If the database still refers to it, its bytes are lost."""

    def __init__(self, segment: int) -> None:
        super().__init__()
        self.segment = segment


class SegmentReaders:
    """Read-only connections to the segments of `folder`, at most `most_idle` when nobody reads.

    Methods block and may be called by any thread.
    """

    def __init__(self, folder: SegmentFolder, *, most_idle: int = _MOST_IDLE) -> None:
        self._folder = folder
        self._most_idle = most_idle
        # The one that was used last is the last.
        self._idle: OrderedDict[int, sqlite3.Connection] = OrderedDict()
        self._lock = threading.Lock()
        # Those whose damage has been logged.
        self._told: set[int] = set()

    def read(self, segment: int, row: int) -> bytes | None:
        """Return the bytes in this row of a segment, None if the file is damaged there.

        Raises:
            SegmentGone: there is no such file.
            StoreUnavailable: the file cannot be opened or read at the moment.
        """
        for _ in range(_ATTEMPTS):
            with translated_errors():
                try:
                    with self._connection(segment) as db:
                        return _read_row(db, row)
                except sqlite3.Error as error:
                    if primary_code(error) in _NOT_OF_THE_FILE:
                        raise
                except UnicodeDecodeError:
                    # SQLite's message about a damaged schema quotes it.
                    pass
            if segment in self._told:
                return None
            # SQLite calls a file corrupt also when the disk fails to give it.
            self._require_readable(segment)
        self.tell(segment)
        return None

    def _require_readable(self, segment: int) -> None:
        """Read all of a file, so that a disk that fails is not taken for damage.

        Raises:
            StoreUnavailable: the disk does not give it.
        """
        try:
            with self._folder.path_of(segment).open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                for start in range(0, size, _STEP_SIZE):
                    os.pread(file.fileno(), _STEP_SIZE, start)
        except OSError as error:
            raise StoreUnavailable from error

    @contextmanager
    def _connection(self, segment: int) -> Iterator[sqlite3.Connection]:
        with self._lock:
            db = self._idle.pop(segment, None)
        if db is None:
            db = self._open(segment)
        try:
            yield db
        except BaseException:
            db.close()
            raise
        self._return(segment, db)

    def _open(self, segment: int) -> sqlite3.Connection:
        path = self._folder.path_of(segment)
        try:
            db = sqlite3.connect(
                f"{path.as_uri()}?mode=ro&immutable=1",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.OperationalError as error:
            _require_there(path, segment, error)
            raise
        try:
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        except BaseException:
            db.close()
            raise
        return db

    def _return(self, segment: int, db: sqlite3.Connection) -> None:
        with self._lock:
            surplus = [db]
            if segment not in self._idle:
                self._idle[segment] = surplus.pop()
            if len(self._idle) > self._most_idle:
                surplus.append(self._idle.popitem(last=False)[1])
        for each in surplus:
            each.close()

    def tell(self, segment: int) -> None:
        """Log, once, that a segment that is needed is damaged or has no file."""
        if segment not in self._told:
            self._told.add(segment)
            _logger.error(
                "The segment %s is damaged or missing: put it back from a copy. Otherwise run"
                " `chunkstore scrub` without a server, and upload the files that it names.",
                self._folder.path_of(segment),
            )

    def forget(self, segment: int) -> None:
        """Close what is idle of a segment that was removed, so that its space becomes free."""
        with self._lock:
            db = self._idle.pop(segment, None)
        if db is not None:
            db.close()

    def close(self) -> None:
        """Close all connections; nobody may be reading."""
        with self._lock:
            idle = list(self._idle.values())
            self._idle.clear()
        for db in idle:
            db.close()


def _read_row(db: sqlite3.Connection, row: int) -> bytes | None:
    found = db.execute("SELECT bytes FROM chunk_data WHERE id = ?", [row]).fetchone()
    return found[0] if found is not None and isinstance(found[0], bytes) else None


def _require_there(path: Path, segment: int, error: Exception) -> None:
    """Tell why a file could not be opened, if it is not there or must not be read."""
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise SegmentGone(segment) from error
    except OSError as reason:
        raise StoreFileUnavailable(f"{path}: {reason.strerror}.") from reason
