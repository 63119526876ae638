"""Fixtures of servers that have accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.http import create_app
from chunkstore.service.access.people import People
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http.access.people import Site, furnish
from tests.http.conftest import ServedAsInProduction


@pytest.fixture
async def site(store: Store) -> AsyncIterator[Site]:
    """Return a server that has an administrator."""
    people = People.of(store)
    app = create_app(store, limits=FRESH, people=people, cors_origins=["http://elsewhere.example"])
    async with TestClient(ServedAsInProduction(app)) as client:
        site = Site(client, store, people)
        await furnish(site)
        yield site
