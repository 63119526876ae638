"""Write locks of several servers on one PostgreSQL database."""

from __future__ import annotations

import asyncio

import pytest

from chunkstore.core.errors import Locked
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.postgres.store import PostgresStore
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
