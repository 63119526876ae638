"""Look-ups: short jobs that only read, of which many come at the same moment."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from chunkstore.core.errors import StoreError
from chunkstore.store.sqlite.engine.connection import (
    Connection,
    Job,
    OnError,
    connect_reader,
    translated_errors,
)

T = TypeVar("T")


class Lookups:
    """A connection for short jobs that only read: those that wait are run together.

    To hand each to a thread, and its result back, would take longer than most of them.
    """

    def __init__(self, connection: Connection, on_error: OnError = lambda _: None) -> None:
        self._connection = connection
        self._on_error = on_error
        self._waiting: list[tuple[Job[Any], asyncio.Future[Any]]] = []
        self._running: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, on_error: OnError = lambda _: None) -> Lookups:
        """Open a connection to the database at `path`, which exists.

        `on_error` is told of each error that a job ends in.
        """
        return cls(await Connection.open(lambda: connect_reader(path)), on_error)

    async def run(self, job: Job[T]) -> T:
        """Run `job` with those that come at the same moment."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run_all())
        try:
            return await done
        except StoreError as error:
            self._on_error(error)
            raise

    async def _run_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                outcomes = await self._connection.run(partial(_run_each, [job for job, _ in batch]))
            except Exception as error:
                outcomes = [error] * len(batch)
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                _settle(done, outcome)
        self._running = None

    async def close(self) -> None:
        """Close the connection, once the jobs given to it are done."""
        if self._running is not None:
            await self._running
        await self._connection.close()


def _run_each(jobs: Sequence[Job[Any]], db: sqlite3.Connection) -> list[Any]:
    """Return what each job returned, or the error that it raised."""
    if len(jobs) == 1:
        return _outcomes(jobs, db)
    # Or each statement would take and release the locks of a transaction of its own.
    db.execute("BEGIN")
    try:
        return _outcomes(jobs, db)
    finally:
        # An I/O error of one look-up has rolled the transaction back already.
        if db.in_transaction:
            db.execute("COMMIT")


def _outcomes(jobs: Sequence[Job[Any]], db: sqlite3.Connection) -> list[Any]:
    outcomes: list[Any] = []
    for job in jobs:
        try:
            with translated_errors():
                outcomes.append(job(db))
        except Exception as error:
            outcomes.append(error)
    return outcomes


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401
    if done.done():
        # Who asked was cancelled.
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
