"""Small puts that share a round trip: each comes to what it would have come to alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.errors import NameConflict, PreconditionFailed
from chunkstore.store.contract.values import Committed
from chunkstore.store.postgres import at_once
from chunkstore.store.postgres.at_once import SmallPut
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.rows import Row
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_postgres
from tests.store.conformance import get, names, put
from tests.store.rows import Rows

pytestmark = on_postgres


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    yield store
    await store.close()


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many puts each round has had."""
    rounds = []
    put_all = at_once._put_all

    async def note_and_put(db: Connection, puts: Sequence[SmallPut]) -> Sequence[Row | None]:
        rounds.append(len(puts))
        return await put_all(db, puts)

    monkeypatch.setattr(at_once, "_put_all", note_and_put)
    return rounds


async def test_many_puts_share_a_round_trip(store: PostgresStore, rounds: list[int]) -> None:
    contents = {f"{number % 3}/{number}": bytes([number]) * number for number in range(60)}
    committed = await asyncio.gather(*(put(store, *one) for one in contents.items()))
    assert sum(rounds) == len(contents)
    assert len(rounds) <= 5
    for (name, content), one in zip(contents.items(), committed, strict=True):
        assert one.file.name == name
        assert not one.replaced
        assert one.new_size == len(content)
        assert await get(store, name) == content


async def test_puts_of_one_name_in_one_round_come_one_after_the_other(
    store: PostgresStore, rounds: list[int]
) -> None:
    committed = await asyncio.gather(*(put(store, "a", b"%d" % number) for number in range(40)))
    assert max(rounds) > 10
    assert sum(not one.replaced for one in committed) == 1
    assert len({one.file.created for one in committed}) == 1
    assert await get(store, "a") in {b"%d" % number for number in range(40)}


async def test_one_that_is_refused_takes_nobody_along(
    store: PostgresStore, rows: Rows, rounds: list[int]
) -> None:
    await put(store, "file", b"x")
    results = await asyncio.gather(
        *(put(store, str(number), b"%d" % number) for number in range(10)),
        put(store, "file/a", b"in a file"),
        put(store, "file", b"again", CREATE_ONLY),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Committed] * 10 + [
        NameConflict,
        PreconditionFailed,
    ]
    assert await names(store) == sorted([*map(str, range(10)), "file"])
    for what, query in rows.broken_rows.items():
        assert await rows.fetch(query) == [], what


async def test_one_that_waits_for_a_lock_lets_the_others_go_on(
    store: PostgresStore, backend: Backend, rounds: list[int]
) -> None:
    await put(store, "locked", b"old")
    holder = await asyncpg.connect(backend.location)
    transaction = holder.transaction()
    await transaction.start()
    try:
        await holder.execute("SELECT FROM entry WHERE path = 'locked' FOR UPDATE")
        others = [put(store, str(number), b"%d" % number) for number in range(20)]
        waiting = asyncio.create_task(put(store, "locked", b"new"))
        await asyncio.gather(*others)
        assert not waiting.done()
        assert max(rounds) > 1
    finally:
        await transaction.rollback()
        await holder.close()
    assert (await waiting).replaced
    assert await get(store, "locked") == b"new"
