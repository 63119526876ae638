"""Opening a PostgreSQL database: creating it, migrating it, refusing it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from chunkstore.core.digest import Digest
from chunkstore.core.errors import NewerSchema, NotAStore, StoreDamaged, StoreError, StoreUnusable
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.uploads import NOTHING
from chunkstore.store.postgres import list_conversion, presence, schema
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, RandomBytes, on_postgres
from tests.postgres import Cluster
from tests.store.conformance import cut, get, put, scrub
from tests.store.postgres.rows import PostgresRows
from tests.store.rows import Rows
from tests.store.upload_conformance import OLD_UNFINISHED, OLD_UPLOADS, complete, unfinished


async def test_many_servers_start_on_an_empty_database(postgres: Cluster) -> None:
    url = postgres.create_database("started_by_many")
    stores = await asyncio.gather(
        *(PostgresStore.open(url, chunk_size=CHUNK_SIZE) for _ in range(5))
    )
    await put(stores[0], "a", b"x")
    assert await get(stores[4], "a") == b"x"
    for store in stores:
        await store.close()


@on_postgres
async def test_migrations_run_once_however_many_servers_start(
    backend: Backend, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    current = schema.SCHEMA_VERSION
    migrations = {current: "CREATE TABLE migrated (a integer); INSERT INTO migrated VALUES (1)"}
    databases = [await Database.open(backend.location, connections=1) for _ in range(4)]
    await schema.prepare(databases[0])
    try:
        await asyncio.gather(
            *(schema.prepare(one, target=current + 1, migrations=migrations) for one in databases)
        )
        assert await rows.fetch("SELECT a FROM migrated") == [(1,)]
        assert [line for line in caplog.messages if "was migrated" in line] == [
            f"The database was migrated from schema version {current} to {current + 1}."
        ]
        assert await rows.fetch("SELECT value FROM setting WHERE name = 'schema'") == [
            (str(current + 1),)
        ]
        with pytest.raises(NewerSchema):
            await PostgresStore.open(backend.location)
    finally:
        for database in databases:
            await database.close()
        await rows.fetch("DROP TABLE IF EXISTS migrated")
        await rows.fetch("UPDATE setting SET value = $1 WHERE name = 'schema'", str(current))


_OLD = Path(__file__).parents[1] / "schemas" / "postgres-1.sql"
# What makes a schema: columns, indexes, constraints and functions.
_SCHEMA = """
SELECT format('%s %s %s %s %s', table_name, column_name, data_type, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
UNION SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
ORDER BY 1
"""


async def test_an_old_store_is_migrated_and_no_other_than_a_new_one(postgres: Cluster) -> None:
    url = postgres.create_database("old")
    postgres.sql(
        _OLD.read_text(),
        "INSERT INTO setting VALUES ('schema', '1'), ('chunk_size', '4096')",
        # A folder that was left behind, and one in which there is a file.
        "INSERT INTO entry (path) VALUES ('a'), ('a/b'), ('c')",
        "INSERT INTO manifest VALUES (1, decode(repeat('00', 32), 'hex'), 0, 4096, NULL, 0, NULL)",
        "INSERT INTO entry (path, manifest, digest, size, chunk_size, media_type)"
        " SELECT 'c/d', id, digest, size, chunk_size, 'x/y' FROM manifest",
        database="old",
    )
    with pytest.raises(StoreUnusable, match="old"):
        await PostgresStore.open(url, read_only=True)
    store = await PostgresStore.open(url)
    await collect_all(store.maintenance, 3600)
    await store.close()
    assert postgres.sql("SELECT path FROM entry ORDER BY path", database="old") == "c\nc/d"
    new = await PostgresStore.open(postgres.create_database("new"))
    await new.close()
    assert postgres.sql(_SCHEMA, database="old") == postgres.sql(_SCHEMA, database="new")


async def test_a_migration_sums_up_what_is_unfinished(postgres: Cluster) -> None:
    script = Path(__file__).parents[1] / "schemas" / "postgres-1.sql"
    url = postgres.create_database("unfinished")
    postgres.sql(
        script.read_text() + "INSERT INTO setting VALUES ('schema', '1'), ('id', 'x')",
        database="unfinished",
    )
    for number, (kind, received, extent, used, digest) in enumerate(OLD_UPLOADS):
        manifest = number if digest is None else "NULL"
        known = "NULL" if digest is None else f"decode('{digest.hex()}', 'hex')"
        postgres.sql(
            "INSERT INTO upload (id, kind, manifest, chunk_size, received, extent, used, digest,"
            " created, expires, media_type, conditions, checks, metadata) VALUES"
            f" ('{number}', '{kind}', {manifest}, 4096, {received}, {extent}, {used}, {known},"
            " 0, 1, '', '{}', '{}', '')",
            database="unfinished",
        )
    store = await PostgresStore.open(url)
    with closing(PostgresRows(url)) as rows:
        assert await unfinished(rows) == OLD_UNFINISHED
        await collect_all(store.maintenance, 0)
        assert await unfinished(rows) == NOTHING
    await store.close()


async def test_a_migration_converts_lists_and_finds_those_that_are_damaged(
    postgres: Cluster, random_bytes: RandomBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_conversion, "_PLACES_A_STEP", 2)
    monkeypatch.setattr(list_conversion, "_MANIFESTS_A_STEP", 2)
    url = postgres.create_database("lists")
    postgres.sql(
        _OLD.read_text() + "INSERT INTO setting VALUES ('schema', '1'), ('chunk_size', '4096')",
        database="lists",
    )
    contents = {name: random_bytes(5 * CHUNK_SIZE + 7) for name in ("a", "damaged", "lacking")}
    contents |= {"empty": b"", "again": contents["a"]}
    with closing(PostgresRows(url)) as rows:
        for manifest, (name, content) in enumerate(contents.items(), start=5):
            await plant_old(rows, manifest, content, name)
        part = random_bytes(2 * CHUNK_SIZE)
        await plant_old(rows, 50, part, None)
        await rows.fetch(
            "INSERT INTO upload (id, kind, manifest, chunk_size, received, extent, length, whole,"
            " created, expires, media_type, conditions, checks, metadata, tail) VALUES"
            f" ('{'p' * 43}', 'part', 50, 4096, {2 * CHUNK_SIZE + 4}, {2 * CHUNK_SIZE + 4},"
            f" {2 * CHUNK_SIZE + 4}, true, 0, 1::bigint << 52, '', '{{}}', '{{}}', '', 'tail')"
        )
        await rows.fetch("DELETE FROM manifest_chunk WHERE manifest = 6 AND seq = 3")
        await rows.fetch("SET session_replication_role = replica")
        digest = Digest.of(contents["lacking"][:CHUNK_SIZE]).raw
        await rows.fetch("DELETE FROM chunk WHERE digest = $1", digest)
    store = await PostgresStore.open(url)
    try:
        for name in ("a", "empty", "again"):
            assert await get(store, name) == contents[name]
        for name in ("damaged", "lacking"):
            with pytest.raises(StoreDamaged):
                await get(store, name)
            # It is known to be damaged.
            await put(store, name, contents[name])
            assert await get(store, name) == contents[name]
        completed = await complete(store, "p" * 43, part + b"tail")
        assert await get(store, completed.file.name) == part + b"tail"
        await collect_all(store.maintenance, 0)
        assert not any(step.damage for step in await scrub(store))
        with closing(PostgresRows(url)) as rows:
            assert await rows.broken() == []
    finally:
        await store.close()


async def plant_old(rows: PostgresRows, manifest: int, content: bytes, name: str | None) -> None:
    """Make a file of schema version 1, or without a name the list of an upload."""
    digest, size = (Digest.of(content).raw, len(content)) if name else (None, None)
    await rows.fetch(
        "INSERT INTO manifest (id, digest, size, chunk_size, created) VALUES ($1, $2, $3, 4096, 0)",
        *(manifest, digest, size),
    )
    for seq, chunk in enumerate(cut(content)):
        columns = (chunk.digest.raw, len(chunk.content))
        await rows.fetch(
            "INSERT INTO chunk (digest, size, stored_size, codec, created)"
            " VALUES ($1, $2, $2, 0, 0) ON CONFLICT DO NOTHING",
            *columns,
        )
        await rows.fetch(
            "INSERT INTO chunk_data VALUES ($1, $2) ON CONFLICT DO NOTHING",
            *(chunk.digest.raw, chunk.content),
        )
        await rows.fetch("INSERT INTO chunk_ref VALUES ($1, $2)", chunk.digest.raw, manifest)
        await rows.fetch(
            "INSERT INTO manifest_chunk VALUES ($1, $2, $3)", manifest, seq, chunk.digest.raw
        )
    if name:
        await rows.fetch(
            "INSERT INTO entry (path, manifest, digest, size, chunk_size, media_type, created,"
            " modified) VALUES ($1, $2, $3, $4, 4096, 'x/y', 0, 0)",
            *(name, manifest, digest, size),
        )


async def test_what_is_no_store_is_refused_and_left_alone(postgres: Cluster) -> None:
    url = postgres.create_database("of_another_program")
    with pytest.raises(StoreUnusable, match="empty"):
        await PostgresStore.open(url, create=False)
    postgres.sql("CREATE TABLE setting (id integer)", database="of_another_program")
    for read_only in (False, True):
        with pytest.raises(NotAStore):
            await PostgresStore.open(url, read_only=read_only)
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
                        database="of_another_program") == "1"  # fmt: skip


async def test_citus_must_be_there_to_distribute(postgres: Cluster) -> None:
    url = postgres.create_database("not_distributed")
    with pytest.raises(StoreUnusable, match="citus"):
        await schema.create_distributed(url)
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
                        database="not_distributed") == "0"  # fmt: skip


async def test_a_database_that_cannot_be_reached(postgres: Cluster) -> None:
    with pytest.raises(StoreUnusable):
        await PostgresStore.open("postgresql://postgres@127.0.0.1:1/none")
    with pytest.raises(StoreUnusable, match="none"):
        await PostgresStore.open(postgres.url("none"))


def test_a_server_that_beats_is_not_taken_for_dead() -> None:
    assert presence._DEAD_AFTER_MICROSECONDS > 5 * presence._BEAT_SECONDS * 1_000_000


@on_postgres
async def test_a_start_that_fails_says_no_more_that_it_lives(backend: Backend, rows: Rows) -> None:
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    await store.close()
    await rows.fetch("INSERT INTO server (id, beat, seen, held) VALUES ('dead', 0, 0, '{}')")
    await rows.fetch(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN IF OLD.id = 'dead' THEN RAISE 'no'; END IF; RETURN OLD; END$$"
    )
    await rows.fetch(
        "CREATE TRIGGER refuse BEFORE DELETE ON server FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        with pytest.raises(StoreError):
            await PostgresStore.open(backend.location)
        assert "heartbeat" not in {task.get_name() for task in asyncio.all_tasks()}
        assert await rows.fetch("SELECT id FROM server") == [("dead",)]
    finally:
        await rows.fetch("DROP FUNCTION refuse() CASCADE")
        await rows.fetch("DELETE FROM server WHERE id = 'dead'")
