"""What a server does while its PostgreSQL is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient, AiohttpServer
from aiohttp.test_utils import TestClient

from chunkstore.http import create_app
from chunkstore.service.maintenance.collect import collecting
from chunkstore.service.maintenance.scrub import scrubbing
from chunkstore.store.postgres import connection, database, presence
from chunkstore.store.postgres.store import PostgresStore
from tests.conftest import CHUNK_SIZE
from tests.http.steps import Client
from tests.postgres import Cluster, Programs

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
PATIENCE_SECONDS = 2.5


@pytest.fixture
def cluster(postgres_programs: Programs) -> Iterator[Cluster]:
    with Cluster.running(postgres_programs) as cluster:
        yield cluster


@pytest.fixture
async def store(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    monkeypatch.setattr(database, "_PATIENCE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(presence, "_BEAT_SECONDS", 0.1)
    store = await PostgresStore.open(cluster.url(), chunk_size=CHUNK_SIZE)
    upkeep = [
        collecting(store.maintenance, 0.1, 3600),
        scrubbing(store.maintenance, 0.1, 1_000_000),
    ]
    for task in upkeep:
        task.start()
    yield store
    for task in upkeep:
        await task.stop()
    await store.close()


@pytest.fixture
async def client(
    store: PostgresStore, aiohttp_server: AiohttpServer, aiohttp_client: AiohttpClient
) -> TestClient[web.BaseRequest, None]:
    return await aiohttp_client(await aiohttp_server(create_app(store), auto_decompress=False))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log has but the requests and what goes well."""
    assert not [record for record in caplog.records if record.exc_info]
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_the_log_says_once_that_it_goes_and_once_that_it_comes_back(
    client: Client, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.put("/files/a", data=b"x" * 9 * CHUNK_SIZE)).status == 201
    await asyncio.to_thread(cluster.stop)
    loop = asyncio.get_running_loop()
    calls = [
        client.request(method, path, data=b"y" * 300_000 if method == "PUT" else None)
        for method, path in [
            ("PUT", "/files/b"),
            ("GET", "/files/a"),
            ("DELETE", "/files/a"),
            ("GET", "/files/"),
            ("GET", "/stats"),
            ("POST", "/uploads"),
        ]
        for _ in range(5)
    ]
    answers = asyncio.gather(*calls)
    while not answers.done():
        began = loop.time()
        ready = await client.get("/health/ready")
        assert ready.status == 503
        assert "Retry-After" in ready.headers
        # It does not wait as patiently as others do.
        assert loop.time() - began < PATIENCE_SECONDS
        await asyncio.sleep(0.1)
    assert {answer.status for answer in await answers} <= {503, 400, 412}
    [line] = told(caplog)
    assert line.startswith("The database does not answer: ")
    await asyncio.to_thread(cluster.start)
    while (await client.get("/health/ready")).status != 200:
        pass
    assert (await client.get("/files/a")).status == 200
    _, line = told(caplog)
    assert line.startswith("The database answers again, after ")


async def test_readiness_does_not_hang_with_the_database(
    client: Client, store: PostgresStore, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    with cluster.hanging():
        for _ in range(4):
            answers = await asyncio.gather(*(client.get("/health/ready") for _ in range(3)))
            assert [answer.status for answer in answers] == [503] * 3
        # Whoever asks, there is one question that waits.
        assert len(store._opened.database._asking) == 1
    while (await client.get("/health/ready")).status != 200:
        pass
    lines = told(caplog)
    assert len(lines) == 2, lines


async def test_readiness_does_not_wait_for_jobs(client: Client, cluster: Cluster) -> None:
    """All connections are in use, and the database is well."""
    locking, watching = [await asyncpg.connect(cluster.url()) for _ in range(2)]
    async with locking.transaction():
        await locking.fetch("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE")
        calls = [asyncio.create_task(client.get("/files/")) for _ in range(40)]
        while await watching.fetchval(WAITING) < connection.CONNECTIONS:
            pass
        assert (await client.get("/health/ready")).status == 200
    await asyncio.gather(*calls)
    await locking.close()
    await watching.close()
