"""The one connection that writes: group commit and checkpoints.

SQLite lets one connection write at a time, and a sync to disk is what a commit costs. So jobs
queue here, and those that wait together share one transaction and one sync. If one of them refuses
its request, all are run again, each in a savepoint of its own, so that it takes nothing with it:
savepoints cost more writes than small files do, and refusals are rare.

A commit in WAL mode writes to the log only; a checkpoint carries the log into the database. It is
made here as well, when the writer has been idle for a moment or when the log has grown to its
bound, and never inside a commit. No other connection ever commits or checkpoints: two that do at
the same moment can corrupt the database before SQLite 3.51.3.

A checkpoint lets the log begin anew once no reader needs it. This program's own readers need it for
milliseconds; another program's may hold it for as long as it likes. When the log has grown to some
times its bound on that account, content is refused until that reader is gone.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from chunkstore.errors import ChunkstoreError, StoreError, StoreUnavailable
from chunkstore.store.sqlite.connection import Connection, Job
from chunkstore.store.sqlite.flushing import Flusher
from chunkstore.store.sqlite.room import Room, checkpoint

T = TypeVar("T")

# One transaction's worth. Larger ones keep others waiting and spill the page cache.
_BATCH_JOBS: Final = 256
_BATCH_SIZE: Final = 8 * 1024 * 1024
_LOG_SIZE_OF_A_JOB: Final = 64 * 1024
LOG_BOUND: Final = 1280 * 1024 * 1024
# In bounds: how often a checkpoint that a reader was in the way of is tried again, and where
# the log is full.
_RETRY: Final = 1 / 4
_FULL: Final = 4
_IDLE_SECONDS: Final = 1.0

_LOG_FULL: Final = (
    "Another program reads the database and keeps its log from being emptied; try again later."
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job[Any]
    size: int
    durable: bool
    result: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A job's own error, which undoes that job alone."""

    error: ChunkstoreError


@dataclass(slots=True)
class _Log:
    """About how many bytes the write-ahead log has, and what follows from that."""

    bound: int
    size: int = 0
    checkpoint_at: float = 0

    def __post_init__(self) -> None:
        self.emptied()

    def emptied(self) -> None:
        """Note that it begins anew."""
        self.size = 0
        self.checkpoint_at = self.bound

    def stayed(self, size: int) -> None:
        """Note that a reader was in the way of a checkpoint, or that it failed."""
        self.size = size
        self.checkpoint_at = size + self.bound * _RETRY

    @property
    def due(self) -> bool:
        """Whether to try a checkpoint now."""
        return self.size >= self.checkpoint_at or self.full

    @property
    def full(self) -> bool:
        """Whether it must not grow by contents."""
        return self.size >= self.bound * _FULL


class Writer:
    """Runs jobs that change the database, in the order in which they come.

    A job may be run a second time after the first was rolled back, so it keeps no state. Once the
    log has `log_bound` bytes it is carried into the database.
    """

    def __init__(self, connection: Connection, room: Room, *, log_bound: int = LOG_BOUND) -> None:
        self._connection = connection
        self._room = room
        self._queue: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._log = _Log(log_bound)
        self._flusher = Flusher(room.log)
        self._idle_timer: asyncio.TimerHandle | None = None

    async def run(self, job: Job[T], *, size: int = 0, durable: bool = True) -> T:
        """Run `job`, which writes about `size` bytes; return its result once that is durable.

        What need not be durable at once is when a later job is which must. A caller that is
        cancelled before its job's turn withdraws it.

        Raises:
            StoreUnavailable: it would write content while the log is full.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(job, size, durable, result))
        self._wake()
        return await result

    async def run_alone(self, job: Job[T]) -> T:
        """Run a job that changes the connection and cannot be in a transaction; none must wait."""
        return await self._connection.run(job)

    async def close(self) -> None:
        """Run what waits, checkpoint and close the connection."""
        while self._worker is not None:
            await self._worker
        self._cancel_idle_timer()
        await self._flusher.close()
        try:
            await self._checkpoint("TRUNCATE")
        finally:
            await self._connection.close()

    def _wake(self) -> None:
        self._cancel_idle_timer()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._queue:
                if self._log.due:
                    await self._checkpoint("RESTART")
                await self._run_batch(self._take_batch())
        finally:
            self._worker = None
        if self._log.size:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(_IDLE_SECONDS, self._start_idle_checkpoint)

    def _take_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < _BATCH_JOBS and size < _BATCH_SIZE:
            waiting = self._queue.popleft()
            if waiting.result.cancelled():
                continue
            if waiting.size and self._log.full:
                waiting.result.set_exception(StoreUnavailable(_LOG_FULL))
                continue
            batch.append(waiting)
            size += waiting.size
        return batch

    async def _run_batch(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        size = sum(waiting.size for waiting in batch)
        self._log.size += size + len(batch) * _LOG_SIZE_OF_A_JOB
        durable = any(waiting.durable for waiting in batch)
        jobs = [waiting.job for waiting in batch]
        try:
            outcomes = await self._connection.run(
                partial(_transact, jobs, self._room, size, durable)
            )
        except Exception as error:
            await self._run_apart(batch, error)
            return
        if not durable:
            self._flusher.wrote(size)
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _settle(waiting, outcome)

    async def _run_apart(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """Give each job of a transaction that failed a transaction of its own."""
        if len(batch) == 1:
            if not batch[0].result.done():
                batch[0].result.set_exception(error)
            return
        for waiting in batch:
            await self._run_batch([waiting])

    def _start_idle_checkpoint(self) -> None:
        self._idle_timer = None
        if self._worker is None:
            self._worker = asyncio.create_task(self._checkpoint_when_idle())

    async def _checkpoint_when_idle(self) -> None:
        try:
            await self._checkpoint("TRUNCATE")
        finally:
            self._worker = None
        if self._queue:
            self._wake()

    async def _checkpoint(self, mode: str) -> None:
        """Carry the log into the database as far as readers allow; failing is not fatal."""
        try:
            size = await self._connection.run(partial(checkpoint, mode=mode))
        except StoreError:
            _logger.warning("The checkpoint failed; it will be tried again.", exc_info=True)
            size = self._log.size
        if size:
            self._log.stayed(size)
        else:
            self._log.emptied()

    def _cancel_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


def _settle(waiting: _Waiting, outcome: Any) -> None:  # noqa: ANN401 - jobs return what they like
    if waiting.result.done():
        return
    if isinstance(outcome, _Refusal):
        waiting.result.set_exception(outcome.error)
    else:
        waiting.result.set_result(outcome)


def _transact(
    jobs: Sequence[Job[Any]], room: Room, size: int, durable: bool, db: sqlite3.Connection
) -> list[Any]:
    """Run jobs in one transaction; each returns what it came to, or how it was refused."""
    room.make(db, size)
    # In WAL mode NORMAL leaves out the sync of a commit and no other.
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    try:
        return _commit(lambda: [job(db) for job in jobs], db)
    except ChunkstoreError as error:
        if len(jobs) == 1:
            return [_Refusal(error)]
    return _commit(lambda: [_attempt(job, db) for job in jobs], db)


def _commit(work: Callable[[], T], db: sqlite3.Connection) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        outcome = work()
        db.execute("COMMIT")
    except BaseException:
        # Some errors, a full disk among them, have rolled the transaction back already.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return outcome


def _attempt(job: Job[T], db: sqlite3.Connection) -> T | _Refusal:
    db.execute("SAVEPOINT job")
    outcome: T | _Refusal
    try:
        outcome = job(db)
    except ChunkstoreError as error:
        db.execute("ROLLBACK TO job")
        outcome = _Refusal(error)
    db.execute("RELEASE job")
    return outcome
