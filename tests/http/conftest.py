"""Fixtures of the tests over HTTP."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient, AiohttpServer
from aiohttp.test_utils import TestClient, TestServer

from chunkstore.core.client_limits import Limits
from chunkstore.core.compression import DEFAULT_COMPRESSION
from chunkstore.http import create_app
from chunkstore.http.message.request import SERVICE
from chunkstore.http.runtime.runner import ProblemRunner
from chunkstore.service.memory import MemoryBudget
from chunkstore.store.contract.store import Store
from tests.backends import FRESH, Backend, PostgresBackend, SQLiteBackend
from tests.conftest import BACKENDS, RandomBytes
from tests.http.raw import Server
from tests.http.steps import MIB, Client
from tests.postgres import Cluster

_NUMBERS: Final = itertools.count(1)

# What these modules test is decided above the store. With a store for each test on PostgreSQL they
# take minutes; on the server that tests share they run on both.
NO_DATABASE: Final = {
    "test_chunking",
    "test_bounds",
    "test_codes",
    "test_conditional",
    "test_cors",
    "test_errors",
    "test_foot",
    "test_form",
    "test_head",
    "test_hot_files",
    "test_lock_marks",
    "test_memory_held",
    "test_mounted",
    "test_options",
    "test_page",
    "test_proxies",
    "test_ranges",
    "test_second_factor_page",
    "test_security",
    "test_single_sign_on",
    "test_slow_clients",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests on each backend; with a store of their own, those of NO_DATABASE on SQLite."""
    if "shared" in metafunc.fixturenames:
        metafunc.parametrize("shared", BACKENDS, indirect=True)
    if "backend" in metafunc.fixturenames:
        alone = metafunc.module.__name__.rpartition(".")[2] in NO_DATABASE
        everywhere = not alone or metafunc.config.getoption("--all-on-postgres")
        metafunc.parametrize("backend", BACKENDS if everywhere else ["sqlite"], indirect=True)


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


@asynccontextmanager
async def _serving(backend: Backend) -> AsyncIterator[Client]:
    store = await backend.open(compression=DEFAULT_COMPRESSION)
    async with TestClient(ServedAsInProduction(create_app(store, limits=FRESH))) as client:
        yield client
    await store.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Return a client of the server with a store in SQLite that tests share."""
    backend = SQLiteBackend(tmp_path_factory.mktemp("shared") / "shared.db")
    async with _serving(backend) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_postgres(postgres: Cluster) -> AsyncIterator[Client]:
    """Return a client of the server with a store in PostgreSQL that tests share."""
    with closing(PostgresBackend(postgres.create_database("shared"))) as backend:
        async with _serving(backend) as client:
            yield client


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Client:
    """Return a client of one server for all tests that need none of their own.

    Such tests are marked `on_shared_server`, and use names that no other test uses. It saves most
    of their time. The servers of both databases stay, in whichever order tests ask for them.
    """
    client: Client = request.getfixturevalue(f"shared_{request.param}")
    return client


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
        server = await aiohttp_server(
            create_app(store, **{"limits": FRESH, **options}), auto_decompress=False
        )
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
            app = create_app(store, memory=memory, limits=Limits(stats_seconds=0, **limits))
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
        create_app(store, memory=MIB, limits=FRESH),
        auto_decompress=False,
        handler_cancellation=request.param == "handlers are cancelled",
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield Address(host, port)
    await runner.cleanup()
