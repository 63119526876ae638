"""Look-ups of files that share a statement: each gets its own answer, as of when it asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from chunkstore.core.errors import StoreAway
from chunkstore.store.contract.values import File
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_postgres
from tests.store.conformance import name_of, put
from tests.store.rows import Rows

pytestmark = on_postgres


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    yield store
    await store.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many look-ups each statement has had."""
    asked = []
    fetch = Database.fetch

    async def note_and_fetch(database: Database, query: str, *parameters: Any) -> Any:  # noqa: ANN401
        if query == "find_contents":
            asked.append(len(parameters[0]))
        return await fetch(database, query, *parameters)

    monkeypatch.setattr(Database, "fetch", note_and_fetch)
    return asked


async def find(store: PostgresStore, name: str, inline: int = 2 * CHUNK_SIZE) -> File | None:
    async with store.contents.open(name_of(name), inline=inline) as file:
        return file


async def test_those_that_share_a_statement_get_an_answer_each(
    store: PostgresStore, rows: Rows, asked: Sequence[int]
) -> None:
    contents = {str(number): bytes([number]) * (100 * number) for number in range(40)}
    for name, content in contents.items():
        await put(store, name, content)
    await put(store, "damaged", b"x")
    await rows.fetch("UPDATE chunk_data SET bytes = 'y' WHERE bytes = 'x'")
    wanted = [*contents, "damaged", "missing", *contents]
    files = await asyncio.gather(*(find(store, name) for name in wanted))
    for name, file in zip(wanted, files, strict=True):
        if name == "missing":
            assert file is None
            continue
        assert file is not None
        assert file.name == name
        assert file.content == contents.get(name)
    assert sum(asked) == len(wanted)
    assert len(asked) <= 6
    assert max(asked) == 32


async def test_content_comes_with_those_that_want_it(store: PostgresStore) -> None:
    await put(store, "a", b"x" * CHUNK_SIZE)
    files = await asyncio.gather(
        *(find(store, "a", inline) for inline in (0, CHUNK_SIZE - 1, CHUNK_SIZE) * 5)
    )
    assert [file is not None and file.content is not None for file in files] == [
        False,
        False,
        True,
    ] * 5


async def test_each_sees_what_was_put_before_it_came(store: PostgresStore) -> None:
    put_last = 0
    await put(store, "a", b"0")

    async def look() -> None:
        while put_last < 30:
            before = put_last
            file = await find(store, "a")
            assert file is not None
            assert file.content is not None
            assert int(file.content) >= before

    async def put_all() -> None:
        nonlocal put_last
        for number in range(1, 31):
            await put(store, "a", str(number).encode())
            put_last = number

    await asyncio.gather(put_all(), *(look() for _ in range(20)))


async def test_who_goes_away_takes_nobody_along(store: PostgresStore) -> None:
    await put(store, "a", b"x")
    tasks = [asyncio.create_task(find(store, "a")) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    for file in await asyncio.gather(*tasks[1::2]):
        assert file is not None
        assert file.content == b"x"
    assert all(task.cancelled() for task in tasks[::2])


async def test_a_failure_is_told_to_all_it_concerns_and_to_nobody_after(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, "a", b"x")

    async def fail(*_: object) -> None:
        raise StoreAway

    with monkeypatch.context() as patch:
        patch.setattr(Database, "fetch", fail)
        results = await asyncio.gather(
            *(find(store, "a") for _ in range(50)), return_exceptions=True
        )
        assert {type(result) for result in results} == {StoreAway}
    file = await find(store, "a")
    assert file is not None
