"""Connections to the database, each on a thread of its own, and what their errors mean.

Each call of aiosqlite costs a hop to its thread and back, which takes longer than most queries. So
statements are not sent one by one: a **job** is a function of the `sqlite3` connection and runs on
its thread as a whole. A job with several arguments is a frozen dataclass, whose method `run` is
that function. aiosqlite offers this only as the protected method that its own methods call; the
subclass here makes it public, and sets the thread's `daemon` flag.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar

import aiosqlite

from chunkstore.core.errors import (
    DatabaseDamaged,
    NotAStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
# Returns the error to raise for one that a job ended in.
Explain = Callable[[StoreError], StoreError]

# A reader of a WAL database waits only while the log of a crashed process is recovered.
BUSY_TIMEOUT_SECONDS: Final = 5.0
_READER_CACHE_KIB: Final = 2 * 1024
_WRITER_CACHE_KIB: Final = 16 * 1024
_PAGE_SIZE: Final = 8 * 1024
_CACHED_STATEMENTS: Final = 256

_PRIMARY_CODE: Final = 0xFF
_FAILED_SYNCS: Final = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
_ERRORS: Final[dict[int, type[StoreError]]] = {
    sqlite3.SQLITE_FULL: StoreFull,
    sqlite3.SQLITE_CORRUPT: DatabaseDamaged,
    sqlite3.SQLITE_NOTADB: NotAStore,
    sqlite3.SQLITE_BUSY: StoreUnavailable,
    sqlite3.SQLITE_LOCKED: StoreUnavailable,
    sqlite3.SQLITE_IOERR: StoreUnavailable,
    sqlite3.SQLITE_CANTOPEN: StoreUnavailable,
    sqlite3.SQLITE_READONLY: StoreUnavailable,
    sqlite3.SQLITE_PROTOCOL: StoreUnavailable,
    sqlite3.SQLITE_NOMEM: StoreUnavailable,
}


class SyncFailed(StoreUnavailable):
    """The disk failed to sync what was written; it will be written again, so try later."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn errors of `sqlite3` into those of the store contract."""
    try:
        yield
    except UnicodeDecodeError as error:
        # SQLite's message about a damaged schema quotes it.
        raise DatabaseDamaged from error
    except sqlite3.Error as error:
        _raise_if_sync_failed(error)
        raise _kind_of(error)() from error


def _kind_of(error: sqlite3.Error) -> type[StoreError]:
    if str(error).startswith("Could not decode to UTF-8"):
        # This one is of the module `sqlite3` and has no code.
        return DatabaseDamaged
    return _ERRORS.get(primary_code(error), StoreError)


def lacks_table(error: StoreError) -> bool:
    """Whether a query did not fit the schema of the database, though both are this program's."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.Error) and primary_code(cause) == sqlite3.SQLITE_ERROR


@contextmanager
def understood_rows() -> Iterator[None]:
    """Take values that this program never writes for damage of the database.

    Raises:
        DatabaseDamaged: a value has a type, a length or a range that it cannot have.
    """
    try:
        yield
    except (TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        raise DatabaseDamaged from error


@contextmanager
def translated_failed_syncs() -> Iterator[None]:
    """Turn the error of a failed sync into `SyncFailed`, and leave others as they are."""
    try:
        yield
    except sqlite3.Error as error:
        _raise_if_sync_failed(error)
        raise


def _raise_if_sync_failed(error: sqlite3.Error) -> None:
    if getattr(error, "sqlite_errorcode", 0) in _FAILED_SYNCS:
        raise SyncFailed from error


def primary_code(error: sqlite3.Error) -> int:
    """Return the primary result code of an error, 0 if the error is not one of SQLite's own."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE


@contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Have all reads of the context see the database at one moment."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        # An I/O error has rolled the transaction back already.
        if db.in_transaction:
            db.execute("COMMIT")


class Connection(aiosqlite.Connection):
    """A connection that runs jobs on its thread, one after the other."""

    @classmethod
    async def open(cls, connector: Callable[[], sqlite3.Connection]) -> Connection:
        """Open a connection; `connector` runs on the new thread."""
        connection = cls(connector, iter_chunk_size=64)
        # Otherwise a store that was not closed would keep its process from ending.
        connection._thread.daemon = True
        try:
            with translated_errors():
                await connection
        except BaseException:
            # Its last call would come to an event loop that may be closed by then.
            await asyncio.to_thread(connection._thread.join)
            raise
        return connection

    async def run(self, job: Job[T]) -> T:
        """Run `job` and return its result. The job continues if the caller is cancelled."""
        with translated_errors():
            result: T = await self._execute(job, self._conn)  # type: ignore[no-untyped-call]
        return result

    def break_off(self) -> None:
        """Interrupt the running statement, if any, so that its job fails. Does not wait."""
        self._conn.interrupt()


class Runner(Protocol):
    """Runs jobs that only read."""

    async def run(self, job: Job[T]) -> T:
        """Run `job` and return its result."""


class ReaderPool:
    """A few read-only connections, each of which runs one job at a time.

    `explain` returns the error to raise for each one that a job ended in.
    """

    def __init__(self, connections: list[Connection], explain: Explain) -> None:
        self._connections = connections
        self._explain = explain
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._returning: set[asyncio.Task[None]] = set()
        for connection in connections:
            self._idle.put_nowait(connection)

    @classmethod
    async def open(
        cls, path: Path, count: int, explain: Explain = lambda error: error
    ) -> ReaderPool:
        """Open `count` connections to the database at `path`, which exists."""
        connections: list[Connection] = []
        try:
            for _ in range(count):
                connections.append(await Connection.open(lambda: connect_reader(path)))  # noqa: PERF401 - those opened are closed if one fails
        except BaseException:
            await cls(connections, explain).close()
            raise
        return cls(connections, explain)

    async def run(self, job: Job[T]) -> T:
        """Run `job` on the first idle connection. It continues if the caller is cancelled."""
        connection = await self._idle.get()
        try:
            result = await connection.run(job)
        except asyncio.CancelledError:
            task = asyncio.create_task(self._return(connection))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
            raise
        except BaseException as error:
            self._idle.put_nowait(connection)
            if isinstance(error, StoreError):
                explained = await asyncio.to_thread(self._explain, error)
                if explained is not error:
                    raise explained from error
            raise
        self._idle.put_nowait(connection)
        return result

    async def _return(self, connection: Connection) -> None:
        """Return a connection to the pool once its running job has ended."""
        await connection.run(lambda _: None)
        self._idle.put_nowait(connection)

    async def close(self) -> None:
        """Close all connections, once their jobs have ended."""
        if self._returning:
            await asyncio.wait(self._returning)
        async with AsyncExitStack() as stack:
            for connection in self._connections:
                stack.push_async_callback(connection.close)


def reader_uri(path: Path) -> str:
    """Return the URI by which SQLite opens the database at `path` read-only.

    On a read-only file system it must be opened as immutable, because SQLite could not create the
    shared index of the log (`-shm`) there.
    """
    immutable = os.statvfs(path.parent).f_flag & os.ST_RDONLY
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write, nor checkpoint."""
    db = _connect(reader_uri(path), _READER_CACHE_KIB)
    db.execute("PRAGMA query_only = ON")
    return db


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes. The database has not been checked yet.

    `synchronous=FULL` makes a commit in WAL mode survive a power loss. The writer checkpoints when
    nobody waits for it, so SQLite does not by itself. Debian's SQLite would overwrite deleted
    content with zeros, and so write as much to delete a chunk as to store it.
    """
    db = _connect(f"{path.absolute().as_uri()}?mode=rwc", _WRITER_CACHE_KIB)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = FULL")
    # These mean something on macOS only, where a plain sync stays in the drive's cache.
    db.execute("PRAGMA fullfsync = ON")
    db.execute("PRAGMA checkpoint_fullfsync = ON")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA secure_delete = OFF").fetchall()
    return db


def _connect(uri: str, cache_kib: int) -> sqlite3.Connection:
    db = sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        cached_statements=_CACHED_STATEMENTS,
    )
    db.row_factory = sqlite3.Row
    try:
        db.execute(f"PRAGMA cache_size = -{cache_kib}")
    except BaseException:
        db.close()
        raise
    return db


def prepare_new_database(db: sqlite3.Connection) -> None:
    """Set what cannot be changed once the database has a table."""
    db.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
