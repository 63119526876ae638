"""Group commit: jobs that share one transaction, and the outcome of each.

If a job refuses its request, all run again, each in a savepoint of its own, so that the refusal
undoes nothing else: savepoints cost more writes than small files do, and refusals are rare. If the
transaction fails as a whole, each job is tried alone, so that one too many for the disk fails
alone; one that frees something then gets the reserve (`disk_space`). After a failed sync nothing
more is tried, because the next sync would report no error.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from chunkstore.core.errors import ChunkstoreError, StoreFull
from chunkstore.store.sqlite.engine.connection import Job, SyncFailed, translated_errors
from chunkstore.store.sqlite.engine.disk_space import DiskReserve

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """A job that changes the database and adds about `size` bytes to it, 0 if it frees some.

    Unless it is `durable`, it is synced with a later one that is.
    """

    job: Job[Any]
    size: int
    durable: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """The outcome of a job that failed and changed nothing."""

    error: Exception


class Observer(Protocol):
    """Is told of every transaction, on the thread that runs it."""

    def before_commit(self, db: sqlite3.Connection) -> None:
        """Take note of what the transaction has changed, which nobody else can see yet.

        An error rolls it back. It may be rolled back afterwards as well, and tried again.
        """

    def ended(self) -> None:
        """Take note that it has been committed or rolled back."""


class NoObserver(Observer):
    """Takes note of nothing."""

    def before_commit(self, db: sqlite3.Connection) -> None:
        pass

    def ended(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Transactions:
    """Runs changes in transactions of one connection, of which `observer` is told."""

    reserve: DiskReserve
    observer: Observer

    def run(self, changes: Sequence[Change], db: sqlite3.Connection) -> list[Any]:
        """Return the outcome of each change: the result of its job, or a `Failure`."""
        try:
            return self._run(changes, db)
        finally:
            self.observer.ended()

    def _run(self, changes: Sequence[Change], db: sqlite3.Connection) -> list[Any]:
        try:
            with translated_errors():
                return self._run_together(changes, db)
        except SyncFailed as error:
            return [Failure(error) for _ in changes]
        except Exception as error:
            if len(changes) == 1:
                return self._free_anyway(changes[0], error, db)
        return self._run_each(changes, db)

    def _run_each(self, changes: Sequence[Change], db: sqlite3.Connection) -> list[Any]:
        outcomes: list[Any] = []
        for change in changes:
            outcomes += self._run([change], db)
            if (failure := failed_sync(outcomes[-1:])) is not None:
                return outcomes + [failure] * (len(changes) - len(outcomes))
        return outcomes

    def _free_anyway(self, change: Change, error: Exception, db: sqlite3.Connection) -> list[Any]:
        """Run a change again with some of the reserve if it would free something on a full disk."""
        try:
            if change.size or not isinstance(error, StoreFull) or not self.reserve.release(db):
                return [Failure(error)]
        except SyncFailed as failed:
            return [Failure(failed)]
        return self._run([change], db)

    def _run_together(self, changes: Sequence[Change], db: sqlite3.Connection) -> list[Any]:
        self.reserve.prepare(db, sum(change.size for change in changes))
        durable = any(change.durable for change in changes)
        # In WAL mode NORMAL omits the sync of commits and no other.
        db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        try:
            return self._commit(lambda: [change.job(db) for change in changes], db)
        except ChunkstoreError:
            if len(changes) == 1:
                raise
        return self._commit(lambda: [_attempt(change.job, db) for change in changes], db)

    def _commit(self, work: Callable[[], T], db: sqlite3.Connection) -> T:
        db.execute("BEGIN IMMEDIATE")
        try:
            outcome = work()
            self.observer.before_commit(db)
            db.execute("COMMIT")
        except BaseException:
            # Some errors, a full disk among them, have rolled the transaction back already.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return outcome


def failed_sync(outcomes: Sequence[Any]) -> Failure | None:
    """Return the first failure of a sync among outcomes, None if there is none."""
    failures = (one for one in outcomes if isinstance(one, Failure))
    return next((one for one in failures if isinstance(one.error, SyncFailed)), None)


def _attempt(job: Job[T], db: sqlite3.Connection) -> T | Failure:
    db.execute("SAVEPOINT job")
    outcome: T | Failure
    try:
        outcome = job(db)
    except ChunkstoreError as error:
        db.execute("ROLLBACK TO job")
        outcome = Failure(error)
    db.execute("RELEASE job")
    return outcome
