"""Fixtures shared by all tests."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient, AiohttpServer
from aiohttp.test_utils import TestClient
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from chunkstore.http import create_app
from chunkstore.store.contract.store import Store
from tests.backends import CHUNK_SIZE as CHUNK_SIZE
from tests.backends import FRESH, Backend, PostgresBackend, SQLiteBackend
from tests.postgres import Cluster, Programs, find_programs
from tests.store.rows import Rows

# Nothing is held to a time, which a busy machine would break.
settings.register_profile(
    "chunkstore", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("chunkstore")

pytest.register_assert_rewrite(
    "tests.store.conformance",
    "tests.store.edit_conformance",
    "tests.store.model",
    "tests.store.upload_conformance",
    "tests.store.part_conformance",
    "tests.store.record_conformance",
    "tests.store.strict_conformance",
    "tests.crash.load",
    "tests.crash.inspection",
)

pytest_plugins = [
    "tests.crash.options",
    "tests.clients.options",
    "tests.http.options",
    "tests.store.options",
]

BACKENDS = ["sqlite", "postgres"]
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("backend", ["postgres"], indirect=True)
on_each_backend = pytest.mark.parametrize("backend", BACKENDS, indirect=True)

RandomBytes = Callable[[int], bytes]


@pytest.fixture(autouse=True, scope="session")
def _blocking_fails() -> Iterator[BlockBuster]:
    """Fail the test in which chunkstore's code blocks the event loop."""
    with blockbuster_ctx("chunkstore") as blockbuster:
        for function in blockbuster.functions.values():
            # It runs once, before anything is served.
            function.can_block_in("chunkstore/http/app.py", "create_app")
            # asyncpg looks for a file with passwords, and for certificates, when it connects.
            function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        yield blockbuster


@pytest.fixture
def random_bytes() -> RandomBytes:
    """Return a source of incompressible bytes that are the same in every run."""
    return random.Random(20230521).randbytes


@pytest.fixture(scope="session")
def postgres_programs() -> Iterator[Programs]:
    """Return the programs of PostgreSQL."""
    with find_programs() as programs:
        yield programs


@pytest.fixture(scope="session")
def postgres(postgres_programs: Programs) -> Iterator[Cluster]:
    """Return a PostgreSQL server for all tests that do it no harm."""
    with Cluster.running(postgres_programs) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgres_backend(postgres: Cluster) -> Iterator[PostgresBackend]:
    """Return the database that tests have one after the other."""
    with closing(PostgresBackend(postgres.create_database("test"))) as backend:
        yield backend


@pytest.fixture(scope="session")
def another_postgres_backend(postgres: Cluster) -> Iterator[PostgresBackend]:
    """Return a second one, which is to be cleared."""
    with closing(PostgresBackend(postgres.create_database("another"))) as backend:
        yield backend


@pytest.fixture
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Return an empty store, in SQLite unless the parameter, one of BACKENDS, says otherwise."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return SQLiteBackend(tmp_path / "test.db")
    backend: PostgresBackend = request.getfixturevalue("postgres_backend")
    await backend.clear()
    return backend


@pytest.fixture
def rows(backend: Backend) -> Rows:
    """Return what is in the database behind `store`."""
    return backend.rows


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """Return an empty store with small chunks, kept as they are."""
    opened = await backend.open()
    yield opened
    await opened.close()


@pytest.fixture
async def client(
    store: Store, aiohttp_server: AiohttpServer, aiohttp_client: AiohttpClient
) -> TestClient[web.BaseRequest, None]:
    """Return a client of a server that serves `store` on a real socket."""
    server = await aiohttp_server(create_app(store, limits=FRESH), auto_decompress=False)
    return await aiohttp_client(server)
