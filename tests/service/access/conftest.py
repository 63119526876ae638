"""Fixtures of those who use a store."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store
from tests.service.access.clock import SetClock

PASSWORD = "correct horse battery"
OTHER_PASSWORD = "staple correct horse"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def people(store: Store, clock: SetClock) -> AsyncIterator[People]:
    """Return those of an empty store."""
    people = People(store.records, clock, store.names)
    yield people
    people.close()


@pytest.fixture
async def elsewhere(store: Store, clock: SetClock, people: People) -> AsyncIterator[People]:
    """Return the same as another server knows them."""
    people = People(store.records, clock, store.names)
    yield people
    people.close()
