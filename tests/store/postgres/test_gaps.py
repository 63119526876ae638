"""A store that is spread over machines, of which one does not show its part of a commit yet.

The parts are taken away by hand, as they are not to be seen, on a single machine whose store is
told that it is spread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from chunkstore.core.errors import StoreDamaged, StoreUnavailable
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.maintenance.scrub import scrub_all
from chunkstore.store.contract.reports import Damage, Scrubbed
from chunkstore.store.postgres import scrubbing
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.failures import ChunkCollected
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, RandomBytes, on_postgres
from tests.store.conformance import cut, get, names, put
from tests.store.rows import Rows

pytestmark = on_postgres

FOREVER_SECONDS = 3600.0
# What one machine may hide: a list, or chunks, which lie with their bytes.
PARTS = (["place"], ["chunk", "chunk_data"])


@pytest.fixture
async def spread(
    backend: Backend, store: PostgresStore, rows: Rows
) -> AsyncIterator[PostgresStore]:
    """Return a store that is told that it is spread; a gap may stay for an hour."""
    await rows.fetch("INSERT INTO setting VALUES ('spread', 'yes')")
    spread = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    # As Citus has it: a minute, and one more.
    assert spread._opened.gaps.settle_seconds == 120
    spread._opened.gaps.settle_seconds = FOREVER_SECONDS
    yield spread
    await spread.close()


@asynccontextmanager
async def hidden(rows: Rows, tables: Sequence[str]) -> AsyncIterator[None]:
    """Hide all rows of tables for the time of a context."""
    await unchecked(
        rows,
        *(
            f"CREATE TABLE hidden_{table} AS SELECT {_columns(table)} FROM {table}"
            for table in tables
        ),
        *(f"DELETE FROM {table}" for table in tables),
    )
    try:
        yield
    finally:
        await unchecked(
            rows,
            *(
                f"INSERT INTO {table} ({_columns(table)}) SELECT * FROM hidden_{table}"
                for table in tables
            ),
            *(f"DROP TABLE hidden_{table}" for table in tables),
        )


def _columns(table: str) -> str:
    return {
        "chunk": "digest, size, stored_size, codec, damaged, created",
        "chunk_data": "digest, bytes",
        "place": "manifest, start, size, digest, tie",
        # `name` is generated.
        "entry": (
            "path, made, manifest, digest, size, chunk_size, chunks, list, proof, media_type,"
            " created, modified"
        ),
    }[table]


async def unchecked(rows: Rows, *statements: str) -> None:
    """Run statements that foreign keys would refuse."""
    script = "; ".join(("SET LOCAL session_replication_role = replica", *statements))
    await rows.fetch(f"DO $$ BEGIN {script}; END $$")


@pytest.mark.parametrize("tables", PARTS)
async def test_a_gap_is_no_damage_before_it_was_seen_for_long(
    spread: PostgresStore, rows: Rows, random_bytes: RandomBytes, tables: Sequence[str]
) -> None:
    content = random_bytes(40 * CHUNK_SIZE)
    await put(spread, "a", content)
    async with hidden(rows, tables):
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await get(spread, "a")
    assert await get(spread, "a") == content
    assert (await spread.maintenance.stats()).damaged == 0
    spread.contents._reader._spans.clear()
    async with hidden(rows, tables):
        with pytest.raises(StoreUnavailable):
            await get(spread, "a")
        spread._opened.gaps.settle_seconds = 0.0
        with pytest.raises(StoreDamaged):
            await get(spread, "a")
    spread._opened.gaps.settle_seconds = FOREVER_SECONDS
    assert await get(spread, "a") == content
    spread.contents._reader._spans.clear()
    # It is not held against the content that it was missing once.
    async with hidden(rows, tables):
        with pytest.raises(StoreUnavailable):
            await get(spread, "a")


async def test_batches_are_synced_where_each_machine_has_a_log_of_its_own(
    spread: PostgresStore, store: PostgresStore, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Database, "write_unsynced", refuse)
    chunks = cut(b"x" * CHUNK_SIZE)
    upload = spread.contents.begin()
    await upload.append(chunks)
    assert await rows.count("place") == 1
    await upload.abort()
    # This one was opened before it was told.
    with pytest.raises(AssertionError):
        await store.contents.begin().append(chunks)


async def test_a_chunk_collected_on_another_machine_is_told_by_the_text(
    store: PostgresStore,
) -> None:
    async def fail(_: Connection) -> None:
        # As Citus passes it on: without the names of table and constraint.
        raise asyncpg.ForeignKeyViolationError(
            'insert or update on table "chunk_ref_102718" violates foreign key constraint'
            ' "chunk_ref_of_chunk_102718"'
        )

    with pytest.raises(ChunkCollected):
        await store._opened.database.write(fail)


async def test_a_machine_that_is_lost_is_waited_for(store: PostgresStore) -> None:
    tries = 0

    async def fail_once(_: Connection) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            # As Citus tells of it.
            raise asyncpg.InternalServerError("SSL SYSCALL error: EOF detected")

    await store._opened.database.write_once(fail_once)
    assert tries == 2


async def test_bytes_that_are_wrong_are_damage_at_once(spread: PostgresStore, rows: Rows) -> None:
    await put(spread, "a", b"x")
    await rows.fetch("UPDATE chunk_data SET bytes = 'y'")
    with pytest.raises(StoreDamaged):
        await get(spread, "a")
    assert (await spread.maintenance.stats()).damaged == 1


async def test_on_one_machine_a_gap_is_damage_at_once(
    store: PostgresStore, rows: Rows, random_bytes: RandomBytes
) -> None:
    await put(store, "a", random_bytes(40 * CHUNK_SIZE))
    async with hidden(rows, ["place"]):
        with pytest.raises(StoreDamaged):
            await get(store, "a")


@pytest.mark.parametrize("tables", PARTS)
@pytest.mark.parametrize("filled", [True, False])
async def test_a_scrub_looks_at_a_gap_again(
    spread: PostgresStore,
    rows: Rows,
    random_bytes: RandomBytes,
    monkeypatch: pytest.MonkeyPatch,
    tables: Sequence[str],
    filled: bool,
) -> None:
    await put(spread, "a", random_bytes(4 * CHUNK_SIZE))
    damage: list[Damage] = []
    waited: list[float] = []

    def note(step: Scrubbed) -> None:
        damage.extend(step.damage)

    async with AsyncExitStack() as hiding:
        await hiding.enter_async_context(hidden(rows, tables))

        async def wait(seconds: float) -> None:
            waited.append(seconds)
            assert damage == []
            if filled:
                await hiding.aclose()

        monkeypatch.setattr(scrubbing, "_wait", wait)
        await scrub_all(spread.maintenance, note)
    assert waited == [FOREVER_SECONDS]
    assert [list(one.files) for one in damage] == ([] if filled else [["a"]])
    assert (await spread.maintenance.stats()).damaged == 0


async def test_a_content_whose_name_comes_to_be_seen_late_is_not_collected(
    spread: PostgresStore, store: PostgresStore, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(4 * CHUNK_SIZE)
    await put(spread, "a", content)

    async def collect() -> None:
        for _ in range(3):
            assert (await collect_all(spread.maintenance, 0)).manifests == 0
            for server in (spread, store):
                await server._opened.presence.beat()

    condemned = "SELECT id FROM manifest WHERE condemned IS NOT NULL"
    async with hidden(rows, ["entry"]):
        assert await names(spread) == []
        await collect()
        assert len(await rows.fetch(condemned)) == 1
    spread._opened.gaps.settle_seconds = 0.0
    await collect()
    assert await rows.fetch(condemned) == []
    assert await get(spread, "a") == content
