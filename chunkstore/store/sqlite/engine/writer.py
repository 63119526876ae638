"""The one connection that writes: group commit and checkpoints.

SQLite lets one connection write at a time, and a sync to disk is what a commit costs. So jobs
queue here, and those that wait together share one transaction and one sync (`transactions`). They
are taken from the queue by the connection's thread when it begins a **round**, not before, and the
next round is asked for while one runs: so the thread goes from one to the next without waiting
for the event loop, and each takes all that has come meanwhile.

A commit in WAL mode writes to the log only; a checkpoint carries the log into the database. It is
made here as well, when the log has grown to its bound, and never inside a commit. Writes wait for
it, so the bound is small: some milliseconds for each MiB. When the writer has been idle for a
moment it is made too, and given up if a write comes. No other connection ever commits or
checkpoints: two that do at the same moment can corrupt the database before SQLite 3.51.3.

A checkpoint lets the log begin anew once no reader needs it. This program's own readers need it for
milliseconds; another program's may hold it for as long as it likes. When the log has grown to
`LOG_FULL` on that account, content is refused until that reader is gone.

After a sync that failed nothing is written, and so nothing acknowledged, before the log has been
written and synced again (`flushing`), a checkpoint has carried all of it and that was synced.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from chunkstore.core.errors import StoreError, StoreUnavailable
from chunkstore.store.sqlite.engine.connection import Connection, Job, SyncFailed, translated_errors
from chunkstore.store.sqlite.engine.disk_space import DiskReserve
from chunkstore.store.sqlite.engine.early_sync import Flusher, Rewriter
from chunkstore.store.sqlite.engine.transactions import Change, Failure, failed_sync, transact

T = TypeVar("T")

# One transaction's worth. Larger ones keep others waiting and spill the page cache.
_BATCH_JOBS: Final = 256
_BATCH_SIZE: Final = 8 * 1024 * 1024
_LOG_SIZE_OF_A_JOB: Final = 64 * 1024
LOG_BOUND: Final = 16 * 1024 * 1024
# Seconds of content, so that what only counts or lists for another program refuses nothing, and
# no more than can be carried in seconds once it is gone.
LOG_FULL: Final = 1280 * 1024 * 1024
# In bounds: how often a checkpoint that a reader was in the way of is tried again.
_RETRY: Final = 1 / 4
_IDLE_SECONDS: Final = 1.0
# One that runs, and one behind it.
_ROUNDS: Final = 2

_LOG_FULL: Final = (
    "Another program reads the database and keeps its log from being emptied; try again later."
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    change: Change
    log_size: int
    result: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Done:
    """What a round came to, and how many bytes of it are not synced."""

    outcomes: Sequence[tuple[_Waiting, Any]]
    unsynced: int = 0


@dataclass(slots=True)
class _Log:
    """About how many bytes the write-ahead log has, and what follows from that."""

    bound: int
    most: int
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
        return self.size >= self.most


class Writer:
    """Runs jobs that change the database, in the order in which they come.

    A job may be run a second time after the first was rolled back, so it keeps no state. Once the
    log has `log_bound` bytes it is carried into the database; it never has many more than
    `log_full`. `watch` is called after each transaction, on the thread, with what its jobs came
    to; if it raises an error, that is it.
    """

    def __init__(
        self,
        connection: Connection,
        reserve: DiskReserve,
        *,
        watch: Callable[[sqlite3.Connection, Sequence[object]], None] = lambda *_: None,
        log_bound: int = LOG_BOUND,
        log_full: int = LOG_FULL,
    ) -> None:
        self._connection = connection
        self._reserve = reserve
        self._watch = watch
        # Filled by the event loop, emptied by the thread; `_log` is the thread's in a round.
        self._queue: deque[_Waiting] = deque()
        self._log = _Log(log_bound, log_full)
        # Whether a round that has not begun yet will take what waits.
        self._asked = False
        self._rounds: set[asyncio.Task[None]] = set()
        self._flusher = Flusher(reserve.log)
        self._rewriter = Rewriter(reserve.log)
        # Whether a sync has failed, and not all has been written again since.
        self._in_doubt = False
        self._idle_timer: asyncio.TimerHandle | None = None
        # Whether the only round is a checkpoint that nobody waits for.
        self._idle = False

    async def run(
        self,
        job: Job[T],
        *,
        size: int = 0,
        log_size: int = _LOG_SIZE_OF_A_JOB,
        durable: bool = True,
    ) -> T:
        """Run `job` and return its result once that is durable.

        It adds about `size` bytes to what is stored, 0 if it frees some; the log grows by about as
        many, or by `log_size` if that is more. What need not be durable at once is when a later job
        is which must. A caller that is cancelled before its job's turn withdraws it.

        Raises:
            StoreUnavailable: it would write content while the log is full.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(Change(job, size, durable), log_size, result))
        self._wake()
        return await result

    async def run_alone(self, job: Job[T]) -> T:
        """Run a job that changes the connection and cannot be in a transaction; none must wait."""
        return await self._connection.run(job)

    async def close(self) -> None:
        """Run what waits, checkpoint and close the connection."""
        while self._rounds:
            await asyncio.wait(self._rounds)
        self._cancel_idle_timer()
        await self._flusher.close()
        try:
            await self._connection.run(self._empty_log)
        finally:
            await self._connection.close()
            self._rewriter.close()

    def _wake(self) -> None:
        self._cancel_idle_timer()
        if self._idle:
            # No transaction has been given to the connection yet, so none is broken off.
            self._idle = False
            self._connection.break_off()
        if not self._asked and len(self._rounds) < _ROUNDS:
            self._asked = True
            self._rounds.add(asyncio.create_task(self._run_round()))

    async def _run_round(self) -> None:
        try:
            done = await self._connection.run(self._take_round)
        except Exception as error:
            # The connection is closed, and nothing was taken.
            self._asked = False
            done = _Done([(waiting, Failure(error)) for waiting in self._queue])
            self._queue.clear()
        for waiting, outcome in done.outcomes:
            _settle(waiting.result, outcome)
        if done.unsynced:
            self._flusher.wrote(done.unsynced)
        self._leave_round()

    def _leave_round(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._rounds.discard(task)
        if self._queue:
            self._wake()
        elif not self._rounds and self._log.size:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(_IDLE_SECONDS, self._start_idle_checkpoint)

    def _take_round(self, db: sqlite3.Connection) -> _Done:
        """Run what waits in one transaction. Runs on the thread."""
        self._asked = False
        if self._in_doubt or self._flusher.failed:
            self._write_anew(db)
        elif self._log.due:
            self._checkpoint("RESTART", db)
        batch, refused = self._take_batch()
        if self._in_doubt:
            return _Done([*refused, *((waiting, Failure(SyncFailed())) for waiting in batch)])
        if not batch:
            return _Done(refused)
        changes = [waiting.change for waiting in batch]
        size = sum(change.size for change in changes)
        self._log.size += sum(max(waiting.change.size, waiting.log_size) for waiting in batch)
        outcomes = self._transact(changes, db)
        synced = any(change.durable for change in changes)
        return _Done([*refused, *zip(batch, outcomes, strict=True)], unsynced=0 if synced else size)

    def _transact(self, changes: Sequence[Change], db: sqlite3.Connection) -> list[Any]:
        """Return what the changes came to; whatever fails, all who wait are told."""
        try:
            outcomes = transact(changes, self._reserve, db)
            if failed_sync(outcomes) is not None:
                self._begin_doubt()
            return self._watched(outcomes, db)
        except Exception as error:
            _logger.exception("A transaction failed in a way that was not foreseen.")
            failed = StoreError(f"The store failed ({type(error).__name__}); its log says why.")
            return [Failure(failed)] * len(changes)

    def _watched(self, outcomes: list[Any], db: sqlite3.Connection) -> list[Any]:
        """Return what the jobs may be told that they came to."""
        try:
            with translated_errors():
                self._watch(db, outcomes)
        except StoreError as error:
            return [Failure(error)] * len(outcomes)
        return outcomes

    def _take_batch(self) -> tuple[list[_Waiting], list[tuple[_Waiting, Failure]]]:
        """Take what goes into one transaction, and what cannot."""
        batch: list[_Waiting] = []
        refused: list[tuple[_Waiting, Failure]] = []
        size = 0
        while self._queue and len(batch) < _BATCH_JOBS and size < _BATCH_SIZE:
            waiting = self._queue.popleft()
            if waiting.result.cancelled():
                continue
            if waiting.change.size and self._log.full:
                refused.append((waiting, Failure(StoreUnavailable(_LOG_FULL))))
                continue
            batch.append(waiting)
            size += waiting.change.size
        return batch, refused

    def _start_idle_checkpoint(self) -> None:
        self._idle_timer = None
        if not self._rounds:
            self._idle = True
            self._rounds.add(asyncio.create_task(self._checkpoint_when_idle()))

    async def _checkpoint_when_idle(self) -> None:
        try:
            await self._connection.run(self._empty_log)
        finally:
            self._idle = False
            self._leave_round()

    def _checkpoint(self, mode: str, db: sqlite3.Connection) -> bool:
        """Carry the log into the database as far as readers allow; failing is not fatal.

        Return whether the log begins anew.
        """
        try:
            size = self._reserve.checkpoint(db, mode)
        except SyncFailed:
            self._begin_doubt()
        except sqlite3.Error as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                _logger.warning("The checkpoint failed; it will be tried again.", exc_info=True)
                self._log.stayed(self._log.size)
        else:
            if not size:
                self._log.emptied()
                return True
            self._log.stayed(size)
        return False

    def _empty_log(self, db: sqlite3.Connection) -> None:
        if self._in_doubt or self._flusher.failed:
            self._write_anew(db)
        else:
            self._checkpoint("TRUNCATE", db)

    def _begin_doubt(self) -> None:
        if not self._in_doubt:
            _logger.error("A sync failed: nothing is acknowledged before all is written again.")
        self._in_doubt = True

    def _write_anew(self, db: sqlite3.Connection) -> None:
        """Bring to the disk what a failed sync has left, and let the log begin anew."""
        self._begin_doubt()
        self._flusher.failed = False
        try:
            self._rewriter.write_anew()
        except OSError as error:
            _logger.debug("The log cannot be written again yet: %s", error)
            return
        if self._checkpoint("TRUNCATE", db):
            self._in_doubt = False
            _logger.warning("All that a failed sync may have lost has been written again.")

    def _cancel_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


def _settle(result: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401 - jobs return what they like
    if result.done():
        # Who asked was cancelled.
        return
    if isinstance(outcome, Failure):
        result.set_exception(outcome.error)
    else:
        result.set_result(outcome)
