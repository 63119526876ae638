"""How jobs run on a PostgreSQL database: on a pool of connections, again while that may help.

A job is a coroutine function that is given a connection, and behind it what its caller gives with
it. It may run more than once, so it changes nothing but the database. What may pass (a lost
connection, a failover, a deadlock) is tried again for some seconds; then, and at anything else, the
driver's error becomes one of chunkstore's.

An answer to COMMIT may be lost, and then nobody knows whether it took effect. Jobs given to `write`
come to the same when they are run twice. Those given to `write_once` do not, as creating a file
only if there is none; each writes a receipt in its transaction. If the receipt is there when the
job is to be repeated, it took effect, and it is not repeated.

A caller that is cancelled leaves its job running to its end: no connection is left in the middle
of one, and `close` waits for all.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import asyncpg

from chunkstore.core.errors import StoreAway, StoreUnusable
from chunkstore.core.tasks import retrieve_exception
from chunkstore.core.timings import Timings
from chunkstore.store.postgres.connection import (
    CONNECTIONS,
    Connection,
    Parameter,
    Value,
    create_pool,
)
from chunkstore.store.postgres.failures import (
    AWAY,
    PASSING,
    Reachability,
    telling_of_machines,
    translated,
)
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.shared.times import now_microseconds

_logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
# At most so many jobs that grow with the store run at once, so that others find a connection.
_LARGE_AT_ONCE: Final = 4
# How long jobs are tried again: a failover takes some seconds.
_PATIENCE_SECONDS: Final = 15.0
_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5
# How long `ask` waits.
_ASK_SECONDS: Final = 0.8
# The tag of an INSERT that adds its row.
_IS_NEW: Final = "INSERT 0 1"

Job = Callable[[Connection], Awaitable[T]]
JobWith = Callable[Concatenate[Connection, P], Awaitable[T]]


class Database:
    """A pool of connections to one database. Open it with `open`."""

    def __init__(self, pool: Any, questions: Any, what: str) -> None:  # noqa: ANN401 - asyncpg
        self._pool = pool
        # One connection for `ask`, which must not wait for jobs.
        self._questions = questions
        self._reachability = Reachability(what)
        # How long jobs waited for a connection.
        self.waits = Timings()
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._running: set[asyncio.Task[Any]] = set()
        self._asking: dict[tuple[Any, ...], asyncio.Task[Any]] = {}

    @classmethod
    async def open(
        cls, url: str, *, connections: int = CONNECTIONS, what: str = "The database"
    ) -> Database:
        """Connect to `url`, a `postgresql://` one as libpq has it, also with several hosts.

        The log calls it `what`.

        Raises:
            StoreUnusable: there is no such database, or it does not let us in.
        """
        pool, questions = create_pool(url, connections), create_pool(url, 1)
        try:
            await pool
            await questions
            async with pool.acquire():
                pass
        except (*PASSING, asyncpg.PostgresError, ValueError) as error:
            raise StoreUnusable(f"The database cannot be reached: {error}") from error
        return cls(pool, questions, what)

    async def read(self, job: JobWith[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job that changes nothing; each of its statements sees what is committed by then."""
        return await self._to_end(lambda: self._run(lambda db: job(db, *args, **kwargs)))

    async def fetch(self, query: str, *parameters: Parameter) -> list[Row]:
        """Return the rows of the query of this name."""
        return await self.read(lambda db: db.fetch(QUERIES[query], *parameters))

    async def fetch_values(self, query: str, *parameters: Parameter) -> list[Any]:
        """Return the values of the query of this name, which has one column."""
        return [value for (value,) in await self.fetch(query, *parameters)]

    async def once(self, job: Job[T]) -> T:
        """Run a job whose statements are a transaction each, and do not try again."""
        with translated():
            return await self.run_to_end(self._attempt(lambda: self._run(job)))

    async def ask(self, query: str, *parameters: Parameter) -> Value:
        """Return the first value of the query of this name; fail rather than wait for a second.

        Callers that ask the same at once share one answer, so a database that hangs costs little.

        Raises:
            StoreAway: there is no answer by then.
        """
        key = (query, *parameters)
        asking = self._asking.get(key)
        if asking is None:
            answer = self._repeated(
                lambda: self._answer(QUERIES[query], *parameters),
                patience_seconds=_ASK_SECONDS,
            )
            asking = self._asking[key] = self._start(answer)
            asking.add_done_callback(lambda _: self._asking.pop(key))
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return await asyncio.shield(asking)
        except TimeoutError as error:
            self._reachability.failed(error)
            raise StoreAway from error

    async def _answer(self, query: str, *parameters: Parameter) -> Value:
        async with self._questions.acquire() as connection:
            return await connection.fetchval(query, *parameters)

    async def snapshot(self, job: Job[T]) -> T:
        """Run a job that sees all of the database as it is at one moment, and changes nothing."""
        return await self._to_end(
            lambda: self._run(job, isolation="repeatable_read", readonly=True), large=True
        )

    async def write(self, job: JobWith[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job in one transaction; to do it twice comes to the same as to do it once."""
        return await self._to_end(
            lambda: self._run(lambda db: job(db, *args, **kwargs), isolation="read_committed")
        )

    async def write_unsynced(self, job: JobWith[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job as `write` does, without waiting until its commit is on disk or on a standby.

        The next commit that is waited for covers it. Until then a crash or a failover may lose it,
        with all that was committed after it.
        """
        return await self._to_end(
            lambda: self._in_transaction(lambda db: job(db, *args, **kwargs), "begin_unsynced")
        )

    async def execute(self, query: str, *parameters: Parameter) -> None:
        """Run the statement of this name as `write` does a job."""
        await self.write(lambda db: db.execute(QUERIES[query], *parameters))

    async def write_once(self, job: JobWith[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job in one transaction that takes effect once."""
        receipt = _Receipt(self._acquired, lambda db: job(db, *args, **kwargs))
        return await self._to_end(receipt.attempt)

    async def write_many_once(self, job: JobWith[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a job as `write_once` does, that may take long; few of them run at once."""
        receipt = _Receipt(self._acquired, lambda db: job(db, *args, **kwargs))
        return await self._to_end(receipt.attempt, large=True)

    async def _to_end(self, attempt: Callable[[], Awaitable[T]], *, large: bool = False) -> T:
        work = self._repeated(attempt)
        return await self.run_to_end(self._in_turn(work) if large else work)

    async def _in_turn(self, work: Coroutine[Any, Any, T]) -> T:
        async with self._large:
            return await work

    async def run_to_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, whether its caller is cancelled or not."""
        return await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(retrieve_exception)
        return task

    async def close(self) -> None:
        """Wait for the jobs that run, and disconnect."""
        while self._running:
            await asyncio.wait(set(self._running))
        for pool in (self._questions, self._pool):
            try:
                await pool.close()
            except PASSING:
                pool.terminate()

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Any]:
        """Take a connection for the time of the context."""
        began = time.perf_counter()
        async with self._pool.acquire() as connection:
            self.waits.note(time.perf_counter() - began)
            yield connection

    async def _run(self, job: Job[T], *, isolation: str | None = None, readonly: bool = False) -> T:
        async with self._acquired() as connection:
            if isolation is None:
                return await job(connection)
            async with connection.transaction(isolation=isolation, readonly=readonly):
                return await job(connection)

    async def _in_transaction(self, job: Job[T], begin: str) -> T:
        async with self._acquired() as connection, _transaction(connection, QUERIES[begin]):
            return await job(connection)

    async def _repeated(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        patience_seconds: float | None = None,
    ) -> T:
        loop = asyncio.get_running_loop()
        patience = _PATIENCE_SECONDS if patience_seconds is None else patience_seconds
        deadline = loop.time() + patience
        pause = _FIRST_PAUSE_SECONDS
        with translated():
            while True:
                try:
                    return await self._attempt(attempt)
                except PASSING as error:
                    if loop.time() > deadline:
                        raise
                    _logger.debug("The database failed, trying again: %r", error)
                    if isinstance(error, AWAY):
                        # Others of the pool may be connected to a server that is primary no more.
                        await self._pool.expire_connections()
                        await self._questions.expire_connections()
                # At random times, so that those who collided do not collide again.
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _attempt(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make one attempt, and note whether the database answered."""
        try:
            with telling_of_machines():
                result = await attempt()
        except AWAY as error:
            self._reachability.failed(error)
            raise
        self._reachability.answered()
        return result


class _Receipt:
    """A job that takes effect once, and what it came to when that is known."""

    def __init__(
        self, acquired: Callable[[], AbstractAsyncContextManager[Any]], job: Job[T]
    ) -> None:
        self._acquired = acquired
        self._job = job
        self._id = uuid.uuid4()
        self._results: list[Any] = []

    async def attempt(self) -> Any:  # noqa: ANN401 - what the job returns
        # The receipt comes first of all: while an earlier attempt is being committed, this waits
        # for it.
        begin = QUERIES["begin_with_receipt"].format(id=self._id, now=now_microseconds())
        async with self._acquired() as connection, _transaction(connection, begin) as tag:
            if tag == _IS_NEW:
                self._results.append(await self._job(connection))
            return self._results[-1]


@asynccontextmanager
async def _transaction(connection: Any, begin: str) -> AsyncIterator[str]:  # noqa: ANN401 - asyncpg
    """Begin a transaction by statements that are one round trip; return the tag of the last."""
    try:
        yield await connection.execute(begin)
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")
