"""The order of the audit log's entries is that in which they are committed, whatever the clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chunkstore.store.contract.audit import Action, AuditFilter, Who
from chunkstore.store.contract.store import Store
from tests.backends import Backend
from tests.conftest import on_sqlite

pytestmark = on_sqlite

SECOND = 1_000_000


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    store = await backend.open()
    yield store
    await store.close()


async def test_times_go_on_where_the_clock_is_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append_at(now: int) -> int:
        monkeypatch.setattr("chunkstore.store.sqlite.audit.now_microseconds", lambda: now)
        await store.audit.append(Who("anna", "none"), [Action("first"), Action("second")])
        entries = await store.audit.list(AuditFilter())
        found = sorted(entries, key=lambda entry: entry.time)[-1].time
        return round(found.timestamp() * SECOND)

    assert await append_at(10 * SECOND) == 10 * SECOND + 1
    # In the same microsecond, as it is set back a little, and as it goes on.
    assert await append_at(10 * SECOND) == 10 * SECOND + 3
    assert await append_at(9 * SECOND) == 10 * SECOND + 5
    assert await append_at(11 * SECOND) == 11 * SECOND + 1
    # Where it had been quite wrong, times are right again.
    assert await append_at(5 * SECOND) == 11 * SECOND + 1
    assert min(entry.time for entry in await store.audit.list(AuditFilter())).timestamp() == 5
