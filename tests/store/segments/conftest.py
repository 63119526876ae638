"""Fixtures of the tests of segments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where a store can be."""
    return tmp_path / "files.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    """Return a store there whose large contents go to segments."""
    store = await opened(path)
    yield store
    await store.close()
