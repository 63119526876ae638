"""Write locks of several servers on one PostgreSQL database."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from chunkstore.core.errors import Locked
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Delete, Name
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.postgres import connection
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import on_postgres
from tests.store.conformance import put
from tests.store.lock_contention import Contention
from tests.store.postgres.test_edits import stores as stores  # a fixture
from tests.store.rows import Rows

pytestmark = on_postgres


async def test_many_on_two_servers_lock_and_write(stores: list[PostgresStore]) -> None:
    contention = Contention(stores)
    await contention.run(16, lambda turn: turn < 40)
    assert contention.done.keys() >= {"written", "refused", "locked", "not locked"}


async def test_a_collection_takes_the_first_row_away_when_there_is_no_lock(
    stores: list[PostgresStore], rows: Rows
) -> None:
    one, two = stores
    await put(one, "a", b"1")
    for turn in range(3):
        taken = await one.locks.take(WantedLock(FileName("a"), True, True))
        await collect_all(two.maintenance, 0)
        with pytest.raises(Locked):
            await put(two, "a", b"2")
        await one.locks.release(taken.lock.token)
        await put(two, "a", b"%d" % turn)
        assert len(await rows.fetch("SELECT token FROM lock")) == 1
        await collect_all(two.maintenance, 0)
        assert await rows.fetch("SELECT token FROM lock") == []
        await put(two, "a", b"x")


async def test_collections_beside_locks(stores: list[PostgresStore]) -> None:
    """The first row comes and goes while others lock."""
    contention = Contention(stores, seed=1)

    async def collect() -> None:
        for _ in range(30):
            await collect_all(stores[1].maintenance, 3600)

    await asyncio.gather(contention.run(6, lambda turn: turn < 40), collect())
    assert contention.done["locked"]


async def test_of_two_servers_that_empty_a_folder_one_is_refused(
    stores: list[PostgresStore],
) -> None:
    await put(stores[0], "a/b/0", b"1")
    await stores[0].locks.take(WantedLock(FolderName("a/"), False, True))
    for _ in range(10):
        await put(stores[0], "a/b/1", b"1")
        deletions = (
            store.names.apply([Delete(FileName(f"a/b/{number}"))])
            for number, store in enumerate(stores)
        )
        done = await asyncio.gather(*deletions, return_exceptions=True)
        assert [type(one) for one in done].count(Locked) == 1
        await put(stores[1], "a/b/0", b"1")


WRITERS = 16


@pytest.mark.parametrize("name", [ROOT, FolderName("d/")])
async def test_a_lock_is_given_while_many_write_all_the_time(
    stores: list[PostgresStore], name: Name
) -> None:
    """Each of them keeps the folder from being locked, and there is always one that does."""
    await put(stores[0], "d/there", b"")
    await stores[0].locks.take(WantedLock(FileName("other"), False, False))
    written = asyncio.Event()
    count = 0

    async def write(number: int) -> None:
        nonlocal count
        while True:
            try:
                await put(stores[number % 2], f"d/{number}", b"%d" % count)
            except Locked:
                return
            count += 1
            if count > 3 * WRITERS:
                written.set()

    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(write(number))
        await written.wait()
        taken = await stores[0].locks.take(WantedLock(name, True, False))
    assert taken.exists


class _Writer:
    """A connection that keeps what those do who write in `d/`, one transaction after the other."""

    def __init__(self, connection: Any, rows: Rows) -> None:  # noqa: ANN401 - asyncpg
        self._connection = connection
        self._rows = rows

    async def keep(self) -> None:
        await self._connection.execute("BEGIN")
        await self._connection.fetch(QUERIES["keep_root"])
        await self._connection.fetch(QUERIES["lock_paths"], ["d"], [False])

    async def commit(self) -> None:
        await self._connection.execute("COMMIT")

    async def is_waiting(self) -> bool:
        pid = self._connection.get_server_pid()
        return bool(
            await self._rows.fetch("SELECT 1 FROM pg_locks WHERE pid = $1 AND NOT granted", pid)
        )


@pytest.mark.parametrize("name", [ROOT, FolderName("d/")])
async def test_those_who_write_in_turns_do_not_keep_a_lock_away(
    backend: Backend, rows: Rows, monkeypatch: pytest.MonkeyPatch, name: Name
) -> None:
    """One has always begun when another ends, so the row that they keep is never free."""
    monkeypatch.setattr(connection, "_LOCK_MILLISECONDS", 200)
    async with AsyncExitStack() as last_first:
        store = await backend.open()
        last_first.push_async_callback(store.close)
        await put(store, "d/there", b"")
        held = await store.locks.take(WantedLock(name, False, False))
        writers = []
        for _ in range(2):
            connected = await asyncpg.connect(backend.location)
            last_first.push_async_callback(connected.close)
            writers.append(_Writer(connected, rows))
        holder, other = writers
        await holder.keep()
        locking = asyncio.gather(
            store.locks.take(WantedLock(name, True, False)),
            store.locks.refresh(held.lock.token, 600),
        )
        while not locking.done():
            keeping = asyncio.create_task(other.keep())
            while not keeping.done() and not await other.is_waiting():
                pass
            await holder.commit()
            await keeping
            holder, other = other, holder
        await holder.commit()
        taken, refreshed = await locking
        assert taken.exists
        assert refreshed is not None
