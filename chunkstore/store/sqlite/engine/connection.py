"""Connections to the database, each on a thread of its own, and what their errors mean.

Each call of aiosqlite costs a hop to its thread and back, longer than most queries take. So work
is not sent there statement by statement: a **job** is a plain function of the `sqlite3`
connection, and runs there whole. aiosqlite offers this only as the protected method that its own
methods are made of, which the subclass here makes public; it also sets the thread's `daemon` flag.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
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
OnError = Callable[[StoreError], None]

# A reader of a WAL database waits for nobody but for a crashed process's log to be recovered.
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
    """The disk did not keep what was written, which is to be written again; try later."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn the errors of `sqlite3` into those of the store contract."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _FAILED_SYNCS:
            raise SyncFailed from error
        raise _ERRORS.get(code & _PRIMARY_CODE, StoreError)() from error


@contextmanager
def translated_failed_syncs() -> Iterator[None]:
    """Turn the error of a sync that failed into `SyncFailed`, and leave others as they are."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) in _FAILED_SYNCS:
            raise SyncFailed from error
        raise


class Connection(aiosqlite.Connection):
    """A connection that runs jobs on its thread, one after the other."""

    @classmethod
    async def open(cls, connector: Callable[[], sqlite3.Connection]) -> Connection:
        """Open a connection; `connector` makes it and runs on the new thread."""
        connection = cls(connector, iter_chunk_size=64)
        # A store that nobody closed must not keep its process from ending.
        connection._thread.daemon = True
        with translated_errors():
            await connection
        return connection

    async def run(self, job: Job[T]) -> T:
        """Run `job` and return its result. A job goes on when the caller is cancelled."""
        with translated_errors():
            result: T = await self._execute(job, self._conn)  # type: ignore[no-untyped-call]
        return result

    def break_off(self) -> None:
        """Interrupt the statement that runs, if one does; its job fails. Waits for nothing."""
        self._conn.interrupt()


class Runner(Protocol):
    """What jobs that only read are given to."""

    async def run(self, job: Job[T]) -> T:
        """Run `job` and return its result."""


class ReaderPool:
    """A few connections that only read, each used by one job at a time."""

    def __init__(self, connections: list[Connection], on_error: OnError) -> None:
        self._connections = connections
        self._on_error = on_error
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._returning: set[asyncio.Task[None]] = set()
        for connection in connections:
            self._idle.put_nowait(connection)

    @classmethod
    async def open(cls, path: Path, count: int, on_error: OnError = lambda _: None) -> ReaderPool:
        """Open `count` connections to the database at `path`, which exists.

        `on_error` is told of each error that a job ends in.
        """
        connections: list[Connection] = []
        try:
            for _ in range(count):
                connections.append(await Connection.open(lambda: connect_reader(path)))  # noqa: PERF401 - those opened are closed if one fails
        except BaseException:
            await cls(connections, on_error).close()
            raise
        return cls(connections, on_error)

    async def run(self, job: Job[T]) -> T:
        """Run `job` on the first connection that is free. It goes on if the caller is cancelled."""
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
                self._on_error(error)
            raise
        self._idle.put_nowait(connection)
        return result

    async def _return(self, connection: Connection) -> None:
        """Offer a connection again once the job is done that it was left with."""
        await connection.run(lambda _: None)
        self._idle.put_nowait(connection)

    async def close(self) -> None:
        """Close all connections, once the jobs given to them are done."""
        if self._returning:
            await asyncio.wait(self._returning)
        async with AsyncExitStack() as stack:
            for connection in self._connections:
                stack.push_async_callback(connection.close)


def reader_uri(path: Path) -> str:
    """Return how SQLite is told to open the database at `path` so that nothing can be written.

    On a file system that is mounted read-only a database can only be read as one that nobody
    changes; otherwise SQLite shares an index of the log with others, which is a file.
    """
    immutable = os.statvfs(path.parent).f_flag & os.ST_RDONLY
    return f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if immutable else ''}"


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write, not even a checkpoint."""
    db = sqlite3.connect(
        reader_uri(path),
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        cached_statements=_CACHED_STATEMENTS,
    )
    db.execute("PRAGMA query_only = ON")
    db.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
    return db


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the one connection that writes; what it finds has not been looked at yet.

    `synchronous=FULL` is what lets a commit in WAL mode outlive a loss of power. Checkpoints are
    left to the writer, which makes them when nobody waits for it. Debian's SQLite would overwrite
    what is deleted with zeros, and so write as much to remove a chunk as to store it.
    """
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rwc",
        uri=True,  # also for what is attached to it
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        cached_statements=_CACHED_STATEMENTS,
    )
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute("PRAGMA secure_delete = OFF").fetchall()
    db.execute(f"PRAGMA cache_size = -{_WRITER_CACHE_KIB}")
    return db


def prepare_new_database(db: sqlite3.Connection) -> None:
    """Set what cannot be changed once there is a table."""
    db.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
