"""What calls wait for, and how long: for each other, for much to be done, for the database."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from chunkstore.core.errors import StoreUnavailable
from chunkstore.core.names import FolderName
from chunkstore.store.postgres import connection, database
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_postgres
from tests.store.conformance import get, names, put
from tests.store.edits import copy, delete, move
from tests.store.rows import Rows

pytestmark = on_postgres


async def test_a_large_folder_takes_the_time_that_it_takes(
    backend: Backend, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statements that grow with the store may run longer than any other."""
    monkeypatch.setattr(connection, "_STATEMENT_SECONDS", 1.0)
    monkeypatch.setattr(database, "_PATIENCE_SECONDS", 5.0)
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    await put(store, "a/b/c", b"x")
    await rows.fetch(
        "CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(1.5); RETURN coalesce(NEW, OLD); END'"
    )
    try:
        await rows.fetch(
            "CREATE TRIGGER slow_to_add BEFORE INSERT ON entry FOR EACH ROW"
            " WHEN (NEW.path = 'copy/b/c') EXECUTE FUNCTION take_long()"
        )
        await rows.fetch(
            "CREATE TRIGGER slow_to_remove BEFORE DELETE ON entry FOR EACH ROW"
            " WHEN (OLD.path LIKE '%/b/c') EXECUTE FUNCTION take_long()"
        )
        await copy(store, FolderName("a/"), FolderName("copy/"))
        assert await names(store) == ["a/b/c", "copy/b/c"]
        await delete(store, FolderName("copy/"))
        await move(store, FolderName("a/"), FolderName("moved/"))
        assert await names(store) == ["moved/b/c"]
    finally:
        await store.close()
        await rows.fetch("DROP FUNCTION take_long CASCADE")


async def test_many_large_folders_leave_connections_to_others(
    backend: Backend, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_LARGE_AT_ONCE", 2)
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE, connections=3)
    await put(store, "a/b", b"x")
    for statement in (
        "CREATE TABLE gate (opened boolean)",
        "CREATE FUNCTION wait_for_gate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
        " WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP;"
        " RETURN NEW; END'",
        "CREATE TRIGGER gated BEFORE INSERT ON entry FOR EACH ROW"
        " WHEN (NEW.path LIKE 'copy/%/b') EXECUTE FUNCTION wait_for_gate()",
    ):
        await rows.fetch(statement)
    try:
        copies = [
            asyncio.create_task(copy(store, FolderName("a/"), FolderName(f"copy/{turn}/")))
            for turn in range(6)
        ]
        for turn in range(10):
            await put(store, f"free/{turn}", b"y")
        assert not any(copy.done() for copy in copies)
        await rows.fetch("INSERT INTO gate VALUES (true)")
        await asyncio.gather(*copies)
    finally:
        await store.close()
        await rows.fetch("DROP FUNCTION wait_for_gate CASCADE")
        await rows.fetch("DROP TABLE gate")


async def test_who_waits_for_a_folder_keeps_nobody_else_waiting(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_LOCK_MILLISECONDS", 50)
    monkeypatch.setattr(database, "_PATIENCE_SECONDS", 600.0)
    # So that one who holds it lets nobody else in.
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE, connections=1)
    await put(store, "busy/a", b"x")
    other = await asyncpg.connect(backend.location)
    async with other.transaction():
        await other.fetch("SELECT FROM entry WHERE path = 'busy' FOR UPDATE")
        waiting = asyncio.create_task(put(store, "busy/b", b"y"))
        for turn in range(5):
            await put(store, f"free/{turn}", b"z")
            await get(store, "busy/a")
        assert not waiting.done()
    await waiting
    # And if it takes too long, that is told.
    monkeypatch.setattr(database, "_PATIENCE_SECONDS", 0.0)
    async with other.transaction():
        await other.fetch("SELECT FROM entry WHERE path = 'busy' FOR UPDATE")
        with pytest.raises(StoreUnavailable):
            await put(store, "busy/c", b"y")
    await other.close()
    await store.close()
