"""Two servers on PostgreSQL lose one of them, then the primary: no acknowledged file is lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreUnavailable
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.maintenance.scrub import scrub_all
from chunkstore.store.contract.edits import Put, Received
from chunkstore.store.postgres.store import PostgresStore
from tests.conftest import RandomBytes
from tests.crash.load import BROKEN, Client, Figures, Moments, session_with, verify_all
from tests.crash.operations import CHUNK_SIZE, Operation, schedule
from tests.postgres import DURABLE, Cluster, Programs
from tests.process import ServerProcess, served
from tests.store.conformance import get, put
from tests.store.postgres.rows import PostgresRows

FOLDERS = ("one", "two", "three", "four", "five", "six")
MOMENTS_BEFORE_A_FAULT = 60
OPERATIONS_AFTER_IT = 6
DATABASE = "shared"
# More than a failover takes, which requests wait for or are refused in.
OUTAGE_SECONDS = 120
POLL_SECONDS = 0.2


@pytest.fixture
def primary(postgres_programs: Programs) -> Iterator[Cluster]:
    """Return a server that keeps what it has committed, whatever happens to it."""
    with Cluster.running(postgres_programs, DURABLE) as cluster:
        yield cluster


@pytest.fixture
def standby(primary: Cluster) -> Iterator[Cluster]:
    """Return a copy of it that each commit waits for."""
    primary.create_database(DATABASE)
    with primary.standby() as cluster:
        yield cluster


@pytest.fixture
def rows(standby: Cluster) -> Iterator[PostgresRows]:
    """Return what the standby has."""
    rows = PostgresRows(standby.url(DATABASE))
    yield rows
    rows.close()


def url_of(*clusters: Cluster) -> str:
    hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in clusters)
    return f"postgresql://postgres@{hosts}/{DATABASE}?target_session_attrs=read-write"


async def load_until(moments: Moments, client: Client, session: aiohttp.ClientSession) -> None:
    """Send operations until the moment is reached."""
    for operation in schedule(f"before {client.folder}"):
        if moments.reached.is_set():
            return
        try:
            await client.perform(session, operation, moments.tick)
        except BROKEN:
            if not moments.reached.is_set():
                raise
            return


async def load_through_it(client: Client, session: aiohttp.ClientSession) -> None:
    """Send some operations; of one that is refused, find out what came of it, and go on."""
    operations = schedule(f"after {client.folder}")
    for operation in (next(operations) for _ in range(OPERATIONS_AFTER_IT)):
        await perform_or_settle(client, session, operation)


async def perform_or_settle(
    client: Client, session: aiohttp.ClientSession, operation: Operation
) -> None:
    await client.perform(session, operation, lambda: None)
    if client.doubt is not None:
        await wait_until_ready(session)
        await client.verify(session)


async def wait_until_ready(session: aiohttp.ClientSession) -> None:
    """Wait until the server answers for its database again; until then it tells when to retry."""
    async with asyncio.timeout(OUTAGE_SECONDS):
        while True:
            async with session.get("health/ready") as response:
                if response.status == HTTPStatus.OK:
                    return
                assert response.status == HTTPStatus.SERVICE_UNAVAILABLE
                assert response.headers["Retry-After"].isdigit()
            await asyncio.sleep(POLL_SECONDS)


async def wait_until_quiet(database: Cluster) -> None:
    """Wait until what a killed server had begun is committed or rolled back."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'chunkstore' AND xact_start IS NOT NULL"
    )
    while await asyncio.to_thread(database.sql, query) != "0":  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(POLL_SECONDS)


async def kill_a_server(killed: ServerProcess, other: ServerProcess, clients: list[Client]) -> None:
    """Load both servers, kill one, and check on the other what both have acknowledged."""
    moments = Moments(MOMENTS_BEFORE_A_FAULT)
    async with session_with(killed) as doomed, session_with(other) as session:

        async def kill() -> None:
            await moments.reached.wait()
            killed.signal(signal.SIGKILL)

        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(load_until(moments, client, (doomed, session)[number % 2]))
            group.create_task(kill())
    assert killed.wait() == -signal.SIGKILL


async def fail_over(
    sessions: list[aiohttp.ClientSession],
    clients: list[Client],
    primary: Cluster,
    standby: Cluster,
) -> None:
    """Kill the primary under load and promote the standby; the servers go on by themselves."""
    moments = Moments(MOMENTS_BEFORE_A_FAULT)

    async def end_primary() -> None:
        await moments.reached.wait()
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(standby.promote)

    async def load(client: Client, session: aiohttp.ClientSession) -> None:
        for operation in schedule(f"during {client.folder}"):
            await perform_or_settle(client, session, operation)
            moments.tick()
            if moments.reached.is_set():
                break
        await load_through_it(client, session)

    async with asyncio.TaskGroup() as group:
        for number, client in enumerate(clients):
            group.create_task(load(client, sessions[number % 2]))
        group.create_task(end_primary())


@pytest.mark.fault(
    "SIGKILL of one of two servers on PostgreSQL, then of the primary",
    "six clients load two servers whose database has a synchronous standby; the other server has"
    " what both acknowledged; the standby is promoted, both servers go on by themselves, and"
    " everything acknowledged is there",
)
async def test_two_servers_lose_one_and_then_the_primary(
    tmp_path: Path,
    primary: Cluster,
    standby: Cluster,
    rows: PostgresRows,
    report_figures: Callable[[object], None],
) -> None:
    figures = Figures()
    clients = [Client(folder, figures) for folder in FOLDERS]
    options = ("--db", url_of(primary, standby), "--chunk-size", str(CHUNK_SIZE))
    collecting = (*options, "--memory", "1MiB", "--collect-every", "200ms", "--grace", "0s")
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with served(folders[1], *options) as second:
        with served(folders[0], *collecting) as first:
            await kill_a_server(first, second, clients)
            figures.kills += 1
        await wait_until_quiet(primary)
        async with AsyncExitStack() as open_sessions:
            session = await open_sessions.enter_async_context(session_with(second))
            await verify_all(session, clients)
            with served(folders[0], *collecting) as first:
                another = await open_sessions.enter_async_context(session_with(first))
                await fail_over([session, another], clients, primary, standby)
                figures.kills += 1
                for one in (session, another):
                    await verify_all(one, clients)
                assert first.running
                assert second.running
    await check_rows(standby, rows)
    report_figures(figures)


@pytest.mark.fault(
    "a failover that loses batches of uploads, whose commits were not waited for",
    "the Put fails, and so does the next batch of an upload that goes on; no chunk list has a gap,"
    " and the same content can be put again",
)
async def test_a_failover_loses_batches_that_nothing_has_synced(
    primary: Cluster, standby: Cluster, random_bytes: RandomBytes
) -> None:
    store = await PostgresStore.open(url_of(primary, standby), chunk_size=CHUNK_SIZE)
    try:
        chunks = [Chunk.of(random_bytes(CHUNK_SIZE)) for _ in range(4)]
        content = b"".join(chunk.content for chunk in chunks)
        uploads = [store.contents.begin() for _ in range(2)]
        for upload in uploads:
            await upload.append(chunks[:1])
        # This is synced, and the first batches with it.
        await put(store, "before", b"x")
        standby.kill()
        for upload in uploads:
            # Else it would wait for the standby.
            await upload.append(chunks[1:2])
        primary.kill()
        standby.start()
        standby.promote()
        with pytest.raises(StoreUnavailable, match="failover"):
            await uploads[0].append(chunks[2:3])
        for upload in uploads:
            whole = Received(upload, chunks[2:], Digest.of(content), len(content))
            with pytest.raises(StoreUnavailable, match="failover"):
                await store.names.apply([Put(FileName("lost"), whole, "text/plain")])
            await upload.abort()
        assert await store.names.find(FileName("lost")) is None
        await put(store, "lost", content)
        assert await get(store, "lost") == content
        assert await get(store, "before") == b"x"
    finally:
        await store.close()
    with closing(PostgresRows(standby.url(DATABASE))) as rows:
        await check_rows(standby, rows)


async def check_rows(database: Cluster, rows: PostgresRows) -> None:
    """Check that nothing is damaged, nothing dangles, and a collection leaves what is needed."""
    store = await PostgresStore.open(database.url(DATABASE))
    try:
        await rows.fetch("DELETE FROM server WHERE id <> $1", store._opened.presence.server)
        await rows.fetch("UPDATE upload SET expires = 0")
        await collect_all(store.maintenance, 0)
        assert (await scrub_all(store.maintenance, lambda _: None)).damaged == 0
    finally:
        await store.close()
    for what, query in (rows.broken_rows | rows.unused_rows).items():
        assert await rows.fetch(query) == [], what
