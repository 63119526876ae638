"""The one connection that writes: group commit and checkpoints.

SQLite lets one connection write at a time, and the cost of a commit is its sync to disk. So jobs
queue here, and those that wait together share one transaction and one sync (`transactions`). The
connection's thread takes them from the queue when it begins a **round**, not before, and the next
round is requested while one runs: the thread goes from one to the next without waiting for the
event loop, and each takes all jobs that have come meanwhile.

A commit in WAL mode writes to the log only; a checkpoint copies the log into the database. It runs
here as well, never inside a commit, when the log has grown to its bound. Writes wait for it, some
milliseconds for each MiB, so the bound is small. It also runs when the writer has been idle for a
moment, and is interrupted if a write comes. No other connection ever commits or checkpoints: two
that do so at the same moment can corrupt the database before SQLite 3.51.3.

After a checkpoint the log restarts from its beginning once no reader uses it. Readers of this
program use it for milliseconds; one of another program may for any time. When the log has grown to
`LOG_FULL` because of that, content is refused until that reader is gone.

After a failed sync nothing is written, and so nothing acknowledged, until the log has been written
and synced again (`log_rewriter`), and a checkpoint has copied all of it and was synced.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from chunkstore.core.errors import StoreError, StoreUnavailable
from chunkstore.store.sqlite.engine.checkpoint import Mode
from chunkstore.store.sqlite.engine.connection import Connection, Job, SyncFailed, translated_errors
from chunkstore.store.sqlite.engine.disk_space import DiskReserve
from chunkstore.store.sqlite.engine.early_sync import Flusher
from chunkstore.store.sqlite.engine.log_rewriter import LogRewriter
from chunkstore.store.sqlite.engine.transactions import (
    Change,
    Failure,
    NoObserver,
    Observer,
    Transactions,
    failed_sync,
)

T = TypeVar("T")

# One transaction's worth. Larger ones keep others waiting and spill the page cache.
_BATCH_JOBS: Final = 256
_BATCH_SIZE: Final = 8 * 1024 * 1024
_LOG_SIZE_OF_A_JOB: Final = 64 * 1024
LOG_BOUND: Final = 16 * 1024 * 1024
# As much as is written in seconds, so that a short query of another program refuses nothing, and no
# more than a checkpoint copies in seconds afterwards.
LOG_FULL: Final = 1280 * 1024 * 1024
# By how much of the bound the log grows before a checkpoint that a reader stopped is tried again.
_RETRY: Final = 1 / 4
_IDLE_SECONDS: Final = 1.0
# One that runs and one that is requested.
_ROUNDS: Final = 2

Check = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]

_LOG_FULL: Final = (
    "Another program reads the database and keeps its log from being emptied; try again later."
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A change in the queue: by how much the log grows, and the future of its outcome."""

    change: Change
    log_size: int
    result: asyncio.Future[Any]


@dataclass(frozen=True, slots=True)
class _Done:
    """The outcomes of a round, and how many bytes of it are not synced."""

    outcomes: Sequence[tuple[_Waiting, Any]]
    unsynced: int = 0


@dataclass(slots=True)
class _Log:
    """The approximate size of the write-ahead log in bytes, and when to checkpoint.

    `bound` is the size at which it is checkpointed, `most` the one at which content is refused.
    """

    bound: int
    most: int
    size: int = 0
    checkpoint_at: float = 0

    def __post_init__(self) -> None:
        self.emptied()

    def emptied(self) -> None:
        """Note that the log restarts from its beginning."""
        self.size = 0
        self.checkpoint_at = self.bound

    def stayed(self, size: int) -> None:
        """Note that a checkpoint failed, or that a reader was in its way."""
        self.size = size
        self.checkpoint_at = size + self.bound * _RETRY

    @property
    def due(self) -> bool:
        """Whether a checkpoint is due."""
        return self.size >= self.checkpoint_at or self.full

    @property
    def full(self) -> bool:
        """Whether the log must not grow by content."""
        return self.size >= self.most


class Writer:
    """Runs jobs that change the database, in the order in which they come.

    A job may run again after a rollback, so it keeps no state. The log is checkpointed once it has
    `log_bound` bytes, and never has many more than `log_full`. `check` is called after each
    transaction, on the writer's thread, with the outcomes of its jobs, and returns those to report;
    an error that it raises becomes the outcome of each. `observer` is told of all transactions.
    """

    def __init__(
        self,
        connection: Connection,
        reserve: DiskReserve,
        *,
        check: Check = lambda _, outcomes: outcomes,
        observer: Observer | None = None,
        log_bound: int = LOG_BOUND,
        log_full: int = LOG_FULL,
    ) -> None:
        self._connection = connection
        self._reserve = reserve
        self._transactions = Transactions(reserve, observer or NoObserver())
        self._check = check
        # Filled by the event loop, emptied by the thread; `_log` is the thread's in a round.
        self._queue: deque[_Waiting] = deque()
        self._log = _Log(log_bound, log_full)
        # True from when a round is requested until it begins.
        self._requested = False
        self._rounds: set[asyncio.Task[None]] = set()
        self._flusher = Flusher(reserve.log)
        self._rewriter = LogRewriter(reserve.log)
        # True after a failed sync, until all has been written again.
        self._in_doubt = False
        self._checkpoint_failed = False
        # True while `check` fails: a checkpoint could damage a database that was put in its place.
        self._check_failed = False
        self._idle_timer: asyncio.TimerHandle | None = None
        # True while the only round is a checkpoint that nobody waits for.
        self._idle = False

    async def run(
        self,
        job: Job[T],
        *,
        size: int = 0,
        log_size: int = _LOG_SIZE_OF_A_JOB,
        durable: bool = True,
    ) -> T:
        """Run `job` and return its result once it is durable.

        The job adds about `size` bytes to what is stored, 0 if it frees some; the log grows by as
        many, or by `log_size` if that is more. One that is not `durable` becomes so with a later
        one that is. A caller that is cancelled before its job's round withdraws it.

        Raises:
            StoreUnavailable: the job would write content while the log is full.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(Change(job, size, durable), log_size, result))
        self._wake()
        return await result

    def log_size(self) -> int:
        """Return how large the log is, in bytes and about."""
        return self._log.size

    async def run_alone(self, job: Job[T]) -> T:
        """Run a job that cannot be in a transaction, as ATTACH; no other may be waiting."""
        return await self._connection.run(job)

    async def close(self) -> None:
        """Run the jobs that wait, checkpoint and close the connection."""
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
            # No transaction has been given to the connection yet, so none is interrupted.
            self._idle = False
            self._connection.break_off()
        if not self._requested and len(self._rounds) < _ROUNDS:
            self._requested = True
            self._rounds.add(asyncio.create_task(self._run_round()))

    async def _run_round(self) -> None:
        try:
            done = await self._connection.run(self._take_round)
        except Exception as error:
            # The connection is closed, and nothing was taken.
            self._requested = False
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
        """Run the jobs that wait in one transaction. Runs on the writer's thread."""
        self._requested = False
        if self._in_doubt or self._flusher.failed or self._log.due:
            with self._flusher.halted():
                self._settle_log(db)
        batch, refused = self._take_batch()
        if not batch:
            return _Done(refused)
        changes = [waiting.change for waiting in batch]
        size = sum(change.size for change in changes)
        self._log.size += sum(max(waiting.change.size, waiting.log_size) for waiting in batch)
        synced = any(change.durable for change in changes)
        with self._flusher.halted() if synced else nullcontext():
            if self._flusher.failed:
                self._rewrite(db)
            outcomes = self._transact(changes, db)
        return _Done([*refused, *zip(batch, outcomes, strict=True)], unsynced=0 if synced else size)

    def _settle_log(self, db: sqlite3.Connection) -> None:
        """Write again what may have been lost, or else empty the log if that is due."""
        if self._in_doubt or self._flusher.failed:
            self._rewrite(db)
        elif self._log.due:
            self._checkpoint("RESTART", db)

    def _transact(self, changes: Sequence[Change], db: sqlite3.Connection) -> list[Any]:
        """Return the outcomes of changes, whatever fails; in doubt about the log none is tried."""
        if self._in_doubt:
            return [Failure(SyncFailed())] * len(changes)
        try:
            outcomes = self._transactions.run(changes, db)
            if failed_sync(outcomes) is not None:
                self._begin_doubt()
            return self._checked(outcomes, db)
        except Exception as error:
            _logger.exception("A transaction failed unexpectedly.")
            failed = StoreError(f"The store failed ({type(error).__name__}); its log says why.")
            return [Failure(failed)] * len(changes)

    def _checked(self, outcomes: list[Any], db: sqlite3.Connection) -> list[Any]:
        """Return the outcomes to report, which are failures if `check` raises one."""
        self._check_failed = True
        try:
            with translated_errors():
                checked = self._check(db, outcomes)
        except StoreError as error:
            return [Failure(error)] * len(outcomes)
        self._check_failed = False
        return list(checked)

    def _take_batch(self) -> tuple[list[_Waiting], list[tuple[_Waiting, Failure]]]:
        """Take the changes of one transaction, and those that are refused."""
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

    def _checkpoint(self, mode: Mode, db: sqlite3.Connection) -> bool:
        """Checkpoint as far as readers allow; a failure is not fatal.

        Return whether the log restarts from its beginning.
        """
        if self._check_failed and not self._in_doubt:
            return False
        try:
            size = self._reserve.checkpoint(db, mode)
        except SyncFailed:
            self._begin_doubt()
        except sqlite3.Error as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                # Once: an idle writer tries again each second.
                level = logging.DEBUG if self._checkpoint_failed else logging.WARNING
                _logger.log(level, "The checkpoint failed; it will be tried again.", exc_info=True)
                self._checkpoint_failed = True
                self._log.stayed(self._log.size)
        else:
            self._checkpoint_failed = False
            if not size:
                self._log.emptied()
                return True
            self._log.stayed(size)
        return False

    def _empty_log(self, db: sqlite3.Connection) -> None:
        with self._flusher.halted():
            if not self._in_doubt and not self._flusher.failed:
                self._checkpoint("TRUNCATE", db)
            # Also at once after a sync of this checkpoint has failed: when the connection is
            # closed, SQLite checkpoints by itself, and would take for synced what that sync lost.
            if self._in_doubt or self._flusher.failed:
                self._rewrite(db)

    def _begin_doubt(self) -> None:
        if not self._in_doubt:
            _logger.error("A sync failed: nothing is acknowledged before all is written again.")
        self._in_doubt = True

    def _rewrite(self, db: sqlite3.Connection) -> None:
        """Write again what a failed sync may have lost, and restart the log."""
        self._begin_doubt()
        self._flusher.failed = False
        try:
            self._rewriter.rewrite()
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
        # The caller was cancelled.
        return
    if isinstance(outcome, Failure):
        result.set_exception(outcome.error)
    else:
        result.set_result(outcome)
