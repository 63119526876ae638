"""The digest cache: what files of this machine and lists of servers were, so nothing is read twice.

It is an SQLite database in the user's cache folder, shared by all processes, and may be deleted at
any time: one that is damaged, or of another version, is thrown away. A file is known by device,
inode, size and the times of its last change, in nanoseconds. What was changed less than 2 seconds
before it was read is not kept: it may be changed once more without another time (as in git's
racy-git.txt).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from platformdirs import user_cache_path

from chunkstore.client.manifests import Manifest, format_entry
from chunkstore.core.digest import Digest

RACY_NANOSECONDS: Final = 2_000_000_000
_VERSION: Final = 1
_LARGEST_TIME: Final = (1 << 63) - 1
_BUSY_SECONDS: Final = 10.0
# So many files are written in one transaction.
_BATCH: Final = 500
_SCHEMA: Final = """
CREATE TABLE file (
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    chunking TEXT NOT NULL, -- the way in which `entries` are cut, empty without them
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    digest BLOB NOT NULL,
    entries BLOB, -- the chunks, as in Manifest.entries; null where the file is its only chunk
    path TEXT NOT NULL, -- by which it was read last, for people only
    used INTEGER NOT NULL, -- seconds since 1970
    PRIMARY KEY (device, inode, chunking)
) STRICT, WITHOUT ROWID;
CREATE INDEX file_digest ON file (digest);
CREATE TABLE manifest (
    digest BLOB PRIMARY KEY,
    entries BLOB NOT NULL,
    used INTEGER NOT NULL
) STRICT;
CREATE TABLE remote (
    url TEXT PRIMARY KEY,
    digest BLOB NOT NULL
) STRICT, WITHOUT ROWID;
"""
_FIND: Final = """
SELECT digest, entries, chunking, used FROM file
WHERE device = ? AND inode = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?
"""
_FIND_REMOTE: Final = """
SELECT digest, entries FROM remote JOIN manifest USING (digest) WHERE url = ?
"""
_FILES: Final = "SELECT path, size, digest, used FROM file ORDER BY used DESC, path"
_PATHS: Final = "SELECT DISTINCT path FROM file WHERE digest = ? ORDER BY used DESC LIMIT 10"
_TOUCH: Final = "UPDATE file SET used = ? WHERE device = ? AND inode = ?"
# How exactly it is known when something was used last.
_USED_SECONDS: Final = 24 * 3600
# Of a larger database, what was not used for so long is forgotten by itself.
_LARGEST: Final = 512 * 1024 * 1024
_KEPT_SECONDS: Final = 30 * 24 * 3600

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of a content, and its size in bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class FileState:
    """By what a file is known: as long as this is the same, so is its content."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> FileState:
        """Return that of a file whose status is `stat`."""
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    @property
    def can_be_kept(self) -> bool:
        """Whether SQLite has numbers as large as the times: they are from 1677 to 2262."""
        return all(
            -_LARGEST_TIME <= time <= _LARGEST_TIME for time in (self.mtime_ns, self.ctime_ns)
        )

    def is_settled(self, now_ns: int) -> bool:
        """Whether the file was last changed so long before that another change has other times."""
        return max(self.mtime_ns, self.ctime_ns) + RACY_NANOSECONDS <= now_ns

    @property
    def row(self) -> tuple[int, ...]:
        """The state as the database has it."""
        device, inode = (_signed(number) for number in (self.device, self.inode))
        return device, inode, self.size, self.mtime_ns, self.ctime_ns


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file that the cache knows, for people to look at; `used` is seconds since 1970."""

    path: str
    size: int
    digest: Digest
    used: int


class DigestCache:
    """The digest cache at `path`; its methods may be called from any thread.

    No method fails: what cannot be read is not known, what cannot be written is not kept.
    """

    def __init__(self, path: Path | None = None, *, busy_seconds: float = _BUSY_SECONDS) -> None:
        self.path = path or cache_path()
        self._busy_seconds = busy_seconds
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._usable = True
        self._pending: list[tuple[Any, ...]] = []

    def find(self, state: FileState) -> Fingerprint | None:
        """Return the fingerprint of a file in this state, None if it is not known."""
        if not state.can_be_kept:
            return None
        rows = self._read(_FIND, state.row)
        for digest, _, _, used in rows:
            self._touch(state, used)
            return _fingerprint(digest, state.size)
        return None

    def find_list(self, state: FileState, chunking: str) -> Manifest | None:
        """Return the chunks of a file in this state, cut so, None if they are not known."""
        if not state.can_be_kept:
            return None
        rows = self._read(f"{_FIND} AND chunking = ?", (*state.row, chunking))
        for digest, entries, _, used in rows:
            self._touch(state, used)
            found = format_entry(digest, state.size) if entries is None else entries
            return _manifest(digest, found)
        return None

    def paths_of(self, digest: Digest) -> list[Path]:
        """Return by what paths files were read that had this content."""
        return [Path(path) for (path,) in self._read(_PATHS, (digest.raw,))]

    def keep(
        self, state: FileState, path: Path, fingerprint: Fingerprint, began_ns: int,
        chunking: str = "", entries: bytes | None = None,
    ) -> None:  # fmt: skip
        """Keep what a file in this state was found to be, when it was read from `began_ns` on.

        `entries` are its chunks, cut as `chunking` says; None if it is its only one.
        """
        if not state.is_settled(began_ns) or not state.can_be_kept:
            return
        row = (
            *state.row[:2], chunking, *state.row[2:], fingerprint.digest.raw, entries,
            os.fspath(path.absolute()).encode(errors="surrogateescape").decode(errors="replace"),
            int(time.time()),
        )  # fmt: skip
        with self._lock:
            self._pending.append(row)
            is_full = len(self._pending) >= _BATCH or entries is not None
        if is_full:
            self.flush()

    def find_remote(self, url: str) -> Manifest | None:
        """Return the list of chunks that a URL had when it was last asked for."""
        for digest, entries in self._read(_FIND_REMOTE, (url,)):
            return _manifest(digest, entries)
        return None

    def keep_remote(self, url: str, manifest: Manifest) -> None:
        """Keep the list of chunks of a URL."""

        def write(database: sqlite3.Connection) -> None:
            row = (manifest.digest.raw, manifest.entries, int(time.time()))
            database.execute("INSERT OR REPLACE INTO manifest VALUES (?, ?, ?)", row)
            database.execute("INSERT OR REPLACE INTO remote VALUES (?, ?)", (url, row[0]))

        self._run(write)

    def flush(self) -> None:
        """Write what was kept in memory so far."""
        with self._lock:
            rows, self._pending = self._pending, []
        if rows:
            statement = f"INSERT OR REPLACE INTO file VALUES ({', '.join('?' * 10)})"
            self._run(lambda database: database.executemany(statement, rows))

    def close(self) -> None:
        """Write all that was kept, and close the database."""
        self.flush()
        if self.size() > _LARGEST:
            self.prune(_KEPT_SECONDS)
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def files(self) -> list[CachedFile]:
        """Return all files that are known, those used last first."""
        rows = self._read(_FILES, ())
        return [CachedFile(path, size, Digest(digest), used) for path, size, digest, used in rows]

    def size(self) -> int:
        """Return the bytes that the database takes on the disk."""
        sizes = 0
        for path in self._paths():
            with contextlib.suppress(OSError):
                sizes += path.stat().st_size
        return sizes

    def prune(self, older_than_seconds: float) -> int:
        """Forget what was not written for so long; return how many files and lists that were."""
        before = int(time.time() - older_than_seconds)

        def forget(database: sqlite3.Connection) -> int:
            files = database.execute("DELETE FROM file WHERE used <= ?", (before,)).rowcount
            lists = database.execute("DELETE FROM manifest WHERE used <= ?", (before,)).rowcount
            database.execute("DELETE FROM remote WHERE digest NOT IN (SELECT digest FROM manifest)")
            return files + lists

        forgotten = self._run(forget) or 0
        # Outside of the transaction, as SQLite wants it.
        self._run(lambda database: database.execute("VACUUM"), transaction=False)
        return forgotten

    def clear(self) -> None:
        """Delete the database."""
        with self._lock:
            self._discard()

    def _touch(self, state: FileState, used: int) -> None:
        now = int(time.time())
        if now - used > _USED_SECONDS:
            self._run(lambda database: database.execute(_TOUCH, (now, *state.row[:2])))

    def _read(self, query: str, values: tuple[object, ...]) -> list[Any]:
        rows = self._run(
            lambda database: database.execute(query, values).fetchall(), transaction=False
        )
        return rows or []

    def _run(
        self, work: Callable[[sqlite3.Connection], _Result], *, transaction: bool = True
    ) -> _Result | None:
        with self._lock:
            for _ in range(2):
                if not self._usable:
                    return None
                try:
                    database = self._open()
                    with _transaction(database) if transaction else contextlib.nullcontext():
                        return work(database)
                except sqlite3.OperationalError:
                    # In use for too long, or not to be written; if it never opens, not tried again.
                    self._usable = self._database is not None
                    return None
                except (sqlite3.DatabaseError, OSError):
                    self._discard()
            self._usable = False
            return None

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            database = sqlite3.connect(
                self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
            )
            try:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                with _transaction(database):
                    _create_or_check(database)
            except BaseException:
                database.close()
                raise
            self._database = database
        return self._database

    def _discard(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None
        for path in self._paths():
            with contextlib.suppress(OSError):
                path.unlink()

    def _paths(self) -> list[Path]:
        return [self.path.with_name(self.path.name + ending) for ending in ("", "-wal", "-shm")]


def cache_path() -> Path:
    """Return where the digest cache is."""
    return user_cache_path("chunkstore") / "digests.db"


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _create_or_check(database: sqlite3.Connection) -> None:
    """Make the tables of a new database.

    Raises:
        sqlite3.DatabaseError: it is of another version.
    """
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {_VERSION}")
    elif version != _VERSION:
        raise sqlite3.DatabaseError("another version")


def _fingerprint(digest: bytes, size: int) -> Fingerprint | None:
    """Return the fingerprint of a row, None if it is damaged."""
    try:
        return Fingerprint(Digest(digest), size)
    except (TypeError, ValueError):
        return None


def _manifest(digest: bytes, entries: bytes) -> Manifest | None:
    """Return the list of a row, None if it is damaged."""
    try:
        return Manifest(Digest(digest), entries)
    except (TypeError, ValueError):
        return None


def _signed(number: int) -> int:
    """Return an unsigned number of 64 bits as SQLite can keep it."""
    return number - (1 << 64) if number >= 1 << 63 else number
