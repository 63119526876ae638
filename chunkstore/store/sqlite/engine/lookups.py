"""Lookups: short jobs that only read, of which many arrive at the same moment."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chunkstore.core.errors import StoreError
from chunkstore.store.sqlite.engine.connection import (
    Connection,
    Explain,
    Job,
    connect_reader,
    snapshot,
    translated_errors,
)

T = TypeVar("T")


class Lookups:
    """A read-only connection whose waiting jobs run together.

    Handing each job to the thread, and its result back, would take longer than most of them.
    `explain` returns the error to raise for each one that a job ended in.
    """

    def __init__(self, connection: Connection, explain: Explain = lambda error: error) -> None:
        self._connection = connection
        self._explain = explain
        self._waiting: list[tuple[Job[Any], asyncio.Future[Any]]] = []
        self._running: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, explain: Explain = lambda error: error) -> Lookups:
        """Open a connection to the database at `path`, which exists."""
        return cls(await Connection.open(lambda: connect_reader(path)), explain)

    async def run(self, job: Job[T]) -> T:
        """Run `job` together with those that arrive at the same moment."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run_all())
        try:
            return await done
        except StoreError as error:
            explained = await asyncio.to_thread(self._explain, error)
            if explained is not error:
                raise explained from error
            raise

    async def _run_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                outcomes = await self._connection.run(_RunEach([job for job, _ in batch]).run)
            except Exception as error:
                outcomes = [error] * len(batch)
            for (_, done), outcome in zip(batch, outcomes, strict=True):
                _settle(done, outcome)
        self._running = None

    async def close(self) -> None:
        """Close the connection, once its jobs have ended."""
        if self._running is not None:
            await self._running
        await self._connection.close()


@dataclass(frozen=True, slots=True)
class _RunEach:
    jobs: Sequence[Job[Any]]

    def run(self, db: sqlite3.Connection) -> list[Any]:
        """Return for each job its result, or the error that it raised."""
        if len(self.jobs) == 1:
            return self._outcomes(db)
        # Otherwise each statement would take and release the locks of its own transaction.
        with snapshot(db):
            return self._outcomes(db)

    def _outcomes(self, db: sqlite3.Connection) -> list[Any]:
        outcomes: list[Any] = []
        for job in self.jobs:
            try:
                with translated_errors():
                    outcomes.append(job(db))
            except Exception as error:
                outcomes.append(error)
        return outcomes


def _settle(done: asyncio.Future[Any], outcome: Any) -> None:  # noqa: ANN401 - jobs return what they like
    if done.done():
        # The caller was cancelled.
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
