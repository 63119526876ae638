"""Following the audit log while transactions are open, whose entries come when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from chunkstore.store.contract.audit import Action, AuditFilter, Who
from chunkstore.store.postgres import audit
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import on_postgres

pytestmark = on_postgres

ANNA = Who("anna", "token:1")


@pytest.fixture
async def stores(backend: Backend) -> AsyncIterator[Sequence[PostgresStore]]:
    """Return those of two servers."""
    stores = [await PostgresStore.open(backend.location) for _ in range(2)]
    yield stores
    for store in stores:
        await store.close()


async def told(store: PostgresStore) -> list[str]:
    return [entry.action for entry in await store.audit.list(AuditFilter())]


async def test_an_entry_waits_for_those_that_may_come_before_it(
    stores: Sequence[PostgresStore],
) -> None:
    one, other = stores
    inserted, may_commit = asyncio.Event(), asyncio.Event()

    async def slowly(db: Connection) -> None:
        await audit.add_actions(db, ANNA, [Action("first")])
        inserted.set()
        await may_commit.wait()

    await one.audit.append(ANNA, [Action("before")])
    writing = asyncio.create_task(one._opened.database.write(slowly))
    await inserted.wait()
    await other.audit.append(ANNA, [Action("second")])
    assert await told(other) == await told(one) == ["before"]
    may_commit.set()
    await writing
    assert await told(other) == ["before", "first", "second"]


async def test_an_open_transaction_that_tells_nothing_holds_nothing_back(
    stores: Sequence[PostgresStore],
) -> None:
    one, other = stores
    began, may_end = asyncio.Event(), asyncio.Event()

    async def quietly(db: Connection) -> None:
        await db.fetch("SELECT count(*) FROM audit")
        await db.execute("INSERT INTO vacated (path) VALUES ('a')")
        began.set()
        await may_end.wait()

    open_one = asyncio.create_task(one._opened.database.write(quietly))
    await began.wait()
    await other.audit.append(ANNA, [Action("told")])
    assert await told(other) == ["told"]
    may_end.set()
    await open_one
