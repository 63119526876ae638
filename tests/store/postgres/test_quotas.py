"""Quotas of folders that several servers write to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from chunkstore.core.errors import NotFound, QuotaExceeded
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.edits import Copy, Delete, Edit, Move
from chunkstore.store.contract.quotas import Usage
from chunkstore.store.postgres.quotas import PostgresQuotas
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_postgres
from tests.store.conformance import put, whole_put
from tests.store.quota_conformance import require_exact, used

A, B = FolderName("a/"), FolderName("b/")


@pytest.fixture
async def stores(backend: Backend) -> AsyncIterator[list[PostgresStore]]:
    """Two servers' stores."""
    await backend.clear()
    opened = [
        await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE, connections=8)
        for _ in range(2)
    ]
    yield opened
    for store in opened:
        await store.close()


@on_postgres
async def test_writers_at_the_last_byte_on_two_servers(stores: list[PostgresStore]) -> None:
    await stores[0].quotas.set(A, 100, None)

    async def write(number: int) -> int:
        """Write small files, alone or in batches; return for how many bytes there was room."""
        written = 0
        for turn in range(4):
            name = f"a/{number}/{turn}"
            edits: list[Edit] = [whole_put(stores[number % 2], name, b"12345")]
            if number % 4 >= 2:
                edits.append(whole_put(stores[number % 2], f"{name}-more", b"12"))
            try:
                await stores[number % 2].names.apply(edits)
            except QuotaExceeded:
                continue
            written += 5 if len(edits) == 1 else 7
        return written

    written = sum(await asyncio.gather(*map(write, range(16))))
    # Whoever needs least would have fitted otherwise.
    assert 95 < written <= 100
    assert (await used(stores[1]))["a/"][0] == written
    await require_exact(stores[1])


@on_postgres
async def test_a_quota_that_one_server_sets_holds_at_once_on_the_other(
    stores: list[PostgresStore],
) -> None:
    one, other = stores
    # Both have found that there is none.
    for store in stores:
        await put(store, f"a/{store is one}", b"12345")
        assert await store.quotas.covering(A) == []
    await one.quotas.set(A, 10, None)
    with pytest.raises(QuotaExceeded):
        await put(other, "a/x", b"1")
    # What is put together with it is put.
    outcomes = await asyncio.gather(
        *(put(other, f"{folder}/{number}", b"1") for folder in "ab" for number in range(10)),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == [
        *["QuotaExceeded"] * 10,
        *["Committed"] * 10,
    ]
    await other.quotas.remove(A)
    await put(one, "a/x", b"1")


@on_postgres
async def test_edits_of_many_folders_with_quotas_wait_in_no_circle(
    stores: list[PostgresStore],
) -> None:
    for folder in (ROOT, A, B):
        await stores[0].quotas.set(folder, 1 << 40, None)

    async def write(number: int) -> None:
        store, names = stores[number % 2], [f"a/{number % 3}", f"b/{number % 3}"]
        for turn in range(6):
            first, second = names if (turn + number) % 2 else reversed(names)
            edits: list[Edit] = [
                whole_put(store, first, b"x" * number),
                whole_put(store, second, b"y" * turn),
            ]
            match (turn + number) % 5:
                case 0:
                    edits.append(Move(FileName(first), FileName(second)))
                case 1:
                    edits = [Copy(A, FolderName(f"b/copy-{number % 3}/"))]
                case 2:
                    edits = [Delete(FolderName(f"b/copy-{number % 3}/"))]
                case 3:
                    edits = edits[:1]
            try:
                await store.names.apply(edits)
            except NotFound:
                continue

    await asyncio.gather(*map(write, range(12)))
    await require_exact(stores[0])


@on_postgres
async def test_a_count_that_others_make_at_once_counts_once(
    stores: list[PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(stores[0], "a/x", b"12345")
    await asyncio.gather(
        *(stores[number % 2].quotas.set(A, 100 + number, None) for number in range(8))
    )
    assert await used(stores[0]) == {"a/": (5, 1)}
    # Where there is no snapshot of all machines, two counts have to agree.
    opened = stores[0]._opened
    monkeypatch.setattr(type(opened), "is_spread", True)
    spread = PostgresQuotas(opened)
    await spread.remove(A)
    assert (await spread.set(A, 7, 7)).used == Usage(5, 1)
