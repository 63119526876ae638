"""Fixtures shared by all tests."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient, AiohttpServer
from aiohttp.test_utils import TestClient
from blockbuster import BlockBuster, blockbuster_ctx

from chunkstore.compression import NO_COMPRESSION
from chunkstore.http import create_app
from chunkstore.store.base import Store
from chunkstore.store.sqlite.store import SQLiteStore

pytest.register_assert_rewrite(
    "tests.store.conformance",
    "tests.store.upload_conformance",
    "tests.crash.load",
    "tests.crash.inspection",
)

pytest_plugins = ["tests.crash.options", "tests.clients.options"]

# Small, so that small contents have many chunks.
CHUNK_SIZE = 4096

RandomBytes = Callable[[int], bytes]


@pytest.fixture(autouse=True, scope="session")
def _blocking_fails() -> Iterator[BlockBuster]:
    """Fail the test in which chunkstore's code blocks the event loop."""
    with blockbuster_ctx("chunkstore") as blockbuster:
        for function in blockbuster.functions.values():
            # It runs once, before anything is served.
            function.can_block_in("chunkstore/http/app.py", "create_app")
        yield blockbuster


@pytest.fixture
def random_bytes() -> RandomBytes:
    """Return a source of incompressible bytes that are the same in every run."""
    return random.Random(20230521).randbytes


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """Return an empty SQLite store with small chunks, kept as they are."""
    opened = await SQLiteStore.open(
        tmp_path / "test.db", chunk_size=CHUNK_SIZE, compression=NO_COMPRESSION
    )
    yield opened
    await opened.close()


@pytest.fixture
async def client(
    store: Store, aiohttp_server: AiohttpServer, aiohttp_client: AiohttpClient
) -> TestClient[web.BaseRequest, None]:
    """Return a client of a server that serves `store` on a real socket."""
    server = await aiohttp_server(create_app(store), auto_decompress=False)
    return await aiohttp_client(server)
