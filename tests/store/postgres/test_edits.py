"""Lists of edits on one PostgreSQL database, by several servers at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from random import Random

import asyncpg
import pytest

from chunkstore.core.digest import Digest
from chunkstore.core.errors import AlreadyExists, Forbidden, NameConflict, NotFound
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Copy, Delete, Edit, MakeFolder, Move, Put, Uploaded
from chunkstore.store.contract.uploads import NOTHING
from chunkstore.store.postgres import tree
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.store import PostgresStore
from chunkstore.store.postgres.usage import Tally
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, RandomBytes, on_postgres
from tests.store.conformance import get, names, put, whole_put
from tests.store.edit_conformance import files
from tests.store.postgres.test_sharing import broken, deadlocks
from tests.store.rows import Rows
from tests.store.upload_conformance import begin, later, unfinished

pytestmark = on_postgres


@pytest.fixture
async def stores(backend: Backend) -> AsyncIterator[list[PostgresStore]]:
    """Return two servers' views of one empty store."""
    opened = [await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE) for _ in range(2)]
    yield opened
    for store in opened:
        await store.close()


async def test_lists_in_opposite_orders_do_not_deadlock(
    stores: list[PostgresStore], rows: Rows
) -> None:
    before = await deadlocks(rows)
    mixed = ["x/1", "x/2", "y/1", "y/z/1", "w"]

    async def change(number: int) -> None:
        random, store = Random(number), stores[number % 2]
        for turn in range(15):
            random.shuffle(mixed)
            content = b"%d of %d" % (turn, number)
            edits: list[Edit] = [whole_put(store, name, content) for name in mixed]
            if turn % 3 == 0:
                edits.append(Move(FileName("x/1"), FileName(f"m/{number}")))
                edits.append(whole_put(store, "x/1", content))
            await store.names.apply(edits)

    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        for number in range(6):
            tasks.create_task(change(number))
    held = await files(stores[0])
    assert len({held[name] for name in mixed}) == 1
    assert await broken(rows) == {}
    assert await deadlocks(rows) == before


async def test_of_lists_with_the_same_uploads_one_is_made(
    stores: list[PostgresStore], rows: Rows, random_bytes: RandomBytes
) -> None:
    before = await deadlocks(rows)
    for turn in range(5):
        content = random_bytes(CHUNK_SIZE + 5)
        ids = [await begin(stores[0], content=content, whole=True) for _ in range(3)]

        def puts(order: list[str], folder: str, digest: Digest) -> list[Put]:
            return [
                Put(FileName(f"{folder}/{upload_id}"), Uploaded(upload_id, digest, later()), "")
                for upload_id in order
            ]

        digest = Digest.of(content)
        results = await asyncio.gather(
            stores[0].names.apply(puts(ids, f"{turn}/one", digest)),
            stores[1].names.apply(puts(ids[::-1], f"{turn}/other", digest)),
            return_exceptions=True,
        )
        [error] = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(error, NotFound)
        assert error.edit == 0
        assert len(await names(stores[0], f"{turn}/")) == 3
    assert await unfinished(rows) == NOTHING
    assert await deadlocks(rows) == before


async def test_lists_of_all_kinds_are_made_whole_or_not_at_all(
    stores: list[PostgresStore], rows: Rows
) -> None:
    before = await deadlocks(rows)
    keys = ["a", "a/b", "a/b/c", "x", "y", "y/z"]

    def any_edit(random: Random) -> Edit:
        one, other = random.sample(keys, 2)
        folder, into = FolderName(f"{one}/"), FolderName(f"{other}/")
        edits: list[Edit] = [
            Copy(FileName("x/1"), FileName(one)),
            Move(FileName(one), FileName(other)),
            Delete(FileName(one)),
            MakeFolder(folder),
            Delete(folder),
            Move(folder, into),
            Copy(FolderName("x/"), into),
        ]
        return random.choice(edits)

    async def change(number: int) -> None:
        random, store = Random(number), stores[number % 2]
        for turn in range(20):
            content = b"%d of %d" % (turn, number)
            edits: list[Edit] = [whole_put(store, f"{number}/{part}", content) for part in "012"]
            for _ in range(random.randrange(1, 4)):
                edits.insert(random.randrange(len(edits) + 1), any_edit(random))
            with suppress(AlreadyExists, Forbidden, NameConflict, NotFound):
                await store.names.apply(edits if turn % 2 else [any_edit(random)])
            found = await files_of(store, number)
            assert len(found) in (0, 3)
            assert len(set(found.values())) <= 1

    async def collect() -> None:
        while not changed.is_set():
            await collect_all(stores[0].maintenance, 0)

    changed = asyncio.Event()
    async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
        tasks.create_task(collect())
        await asyncio.gather(*map(change, range(6)))
        changed.set()
    assert await broken(rows) == {}
    assert await deadlocks(rows) == before


async def files_of(store: PostgresStore, number: int) -> dict[str, bytes]:
    return {name: await get(store, name) for name in await names(store, f"{number}/")}


async def test_what_lists_leave_goes_with_the_next_collection(
    stores: list[PostgresStore], rows: Rows
) -> None:
    store, _ = stores
    await store.names.apply(
        [
            whole_put(store, "a/b/c/d", b"x"),
            Move(FolderName("a/b/"), FolderName("e/f/")),
            Copy(FolderName("e/"), FolderName("g/h/")),
            Delete(FileName("e/f/c/d")),
            Move(FileName("g/h/f/c/d"), FileName("i/j")),
            Delete(FolderName("i/")),
        ]
    )
    await collect_all(store.maintenance, 0)
    assert await rows.fetch("SELECT path FROM entry") == []
    assert await rows.fetch("SELECT path FROM vacated") == []
    # Also where the folder of one becomes a file.
    await put(store, "a/b/c", b"x")
    await store.names.apply([Delete(FileName("a/b/c")), whole_put(store, "a", b"y")])
    assert await rows.fetch("SELECT path FROM entry") == [("a",)]


async def test_a_list_that_has_to_be_made_again_comes_to_the_same(
    stores: list[PostgresStore],
    rows: Rows,
    random_bytes: RandomBytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What passes in the middle of a transaction is tried again, from a clean start."""
    store, _ = stores
    remove, failures = tree.delete, 0

    async def fail_once(db: Connection, edit: Delete, tally: Tally) -> object:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise asyncpg.DeadlockDetectedError
        return await remove(db, edit, tally)

    monkeypatch.setattr(tree, "delete", fail_once)
    content = random_bytes(2 * CHUNK_SIZE + 5)
    upload_id = await begin(store, content=content, whole=True)
    await put(store, "old", b"x")
    digest = Digest.of(content)
    _, received, _ = await store.names.apply(
        [
            Put(FileName("u"), Uploaded(upload_id, digest, later()), "text/plain"),
            whole_put(store, "r", b"new" * CHUNK_SIZE),
            Delete(FileName("old")),
        ]
    )
    assert failures == 2
    assert getattr(received, "new_chunks", None) == 3
    assert await files(store) == {"u": content, "r": b"new" * CHUNK_SIZE}
    assert await unfinished(rows) == NOTHING
    assert await broken(rows) == {}
