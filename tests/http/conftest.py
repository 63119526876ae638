"""Fixtures of the tests over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient, AiohttpServer
from aiohttp.test_utils import TestClient, TestServer

from chunkstore.http import create_app
from chunkstore.http.context import SERVICE
from chunkstore.http.limits import Limits
from chunkstore.http.protocol import ProblemRunner
from chunkstore.memory import MemoryBudget
from chunkstore.store.base import Store
from chunkstore.store.sqlite.store import SQLiteStore
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http.raw import Server
from tests.http.steps import MIB, Client, Query

_NUMBERS: Final = itertools.count(1)


class Serve(Protocol):
    """Starts another server of the same store, with options of `create_app`."""

    def __call__(self, **options: Any) -> Awaitable[Client]: ...  # noqa: ANN401


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


class ServedAsInProduction(TestServer):
    """A server of the kind that `chunkstore serve` runs."""

    async def _make_runner(self, **kwargs: Any) -> web.AppRunner:  # noqa: ANN401
        return ProblemRunner(self.app, auto_decompress=False, **kwargs)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Return a client of one server for all tests that need none of their own.

    Such tests are marked `on_shared_server`, and use names that no other test uses. It saves most
    of their time.
    """
    path = tmp_path_factory.mktemp("shared") / "shared.db"
    store = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE)
    async with TestClient(ServedAsInProduction(create_app(store))) as client:
        yield client
    await store.close()


@pytest.fixture
def name() -> str:
    """Return a name, plain and short, that no other test has."""
    # Of one length, so that a name with a digit behind it is not the name of another test.
    return f"n{next(_NUMBERS):05}"


@pytest.fixture
def new_bytes(name: str) -> RandomBytes:
    """Return a source of incompressible bytes that no other test has."""
    return Random(name).randbytes


@pytest.fixture
def serve(store: Store, aiohttp_server: AiohttpServer, aiohttp_client: AiohttpClient) -> Serve:
    """Return what starts a server with options."""

    async def start(**options: Any) -> Client:  # noqa: ANN401 - those of `create_app`
        server = await aiohttp_server(create_app(store, **options), auto_decompress=False)
        return await aiohttp_client(server)

    return start


@dataclass(frozen=True, slots=True)
class Limited:
    """A client of a server with limits of its own, and the server's memory."""

    client: Client
    budget: MemoryBudget


class ServeLimited(Protocol):
    """Starts a server of the same store with `Limits`, and `memory` in bytes."""

    def __call__(self, *, memory: int = MIB, **limits: Any) -> Awaitable[Limited]: ...  # noqa: ANN401


@pytest.fixture
async def limited(store: Store) -> AsyncIterator[ServeLimited]:
    """Return what starts a server of the kind that `chunkstore serve` runs."""
    async with AsyncExitStack() as servers:

        async def start(*, memory: int = MIB, **limits: Any) -> Limited:  # noqa: ANN401
            app = create_app(store, memory=memory, limits=Limits(**limits))
            server = ServedAsInProduction(app)
            client = await servers.enter_async_context(TestClient(server))
            return Limited(client, app[SERVICE].budget)

        yield start


@pytest.fixture(params=["handlers are cancelled", "handlers are not cancelled"])
async def any_server(request: pytest.FixtureRequest, store: Store) -> AsyncIterator[Server]:
    """Return a server that ends handlers of lost connections, and one that lets them find out.

    Every TestServer does the former, `chunkstore serve` the latter. They have little memory, so
    that they append to the store early.
    """
    runner = ProblemRunner(
        create_app(store, memory=MIB),
        auto_decompress=False,
        handler_cancellation=request.param == "handlers are cancelled",
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield Address(host, port)
    await runner.cleanup()


@pytest.fixture
def query(tmp_path: Path) -> Query:
    """Return what runs one SQL statement on the store's database, past the store."""

    def run(sql: str, parameters: Sequence[Any]) -> Sequence[Sequence[Any]]:
        with closing(sqlite3.connect(tmp_path / "test.db")) as db, db:
            # The server's connection alone may checkpoint.
            db.execute("PRAGMA wal_autocheckpoint = 0")
            return db.execute(sql, parameters).fetchall()

    async def run_in_thread(sql: str, *parameters: Any) -> Sequence[Sequence[Any]]:  # noqa: ANN401
        return await asyncio.to_thread(run, sql, parameters)

    return run_in_thread
