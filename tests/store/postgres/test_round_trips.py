"""How often a call waits for the database server to answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import pytest

from chunkstore.core.conditional import (
    CREATE_ONLY,
    UNCONDITIONAL,
    Conditions,
    EntityTag,
    EntityTags,
)
from chunkstore.core.dav.if_header import ResourceTag, TagCondition, TagFormula
from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.audit import AuditFilter, Who
from chunkstore.store.contract.locks import UNGUARDED, Guard, WantedLock
from chunkstore.store.contract.quotas import Usage
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_postgres
from tests.postgres import Cluster
from tests.store.conformance import put, whole_put
from tests.store.edits import delete
from tests.store.rows import Rows

Count = Callable[[Callable[[], Awaitable[object]]], Awaitable[int]]

READY_FOR_QUERY = b"Z\0\0\0\5"


class CountingProxy:
    """Passes bytes on to a server; counts how often that says that it is ready for the next."""

    def __init__(self, port: int) -> None:
        self.round_trips = 0
        self.port = 0
        self._target = port

    async def serve(self) -> asyncio.Server:
        """Listen on a port of its own."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connect(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        server, requests = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._pass(client, requests), self._pass(server, answers, count=True))

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(65536):
                # Small answers come in one piece, whose end is this message.
                self.round_trips += count and piece[-6:-1] == READY_FOR_QUERY
                target.write(piece)
                await target.drain()
        target.close()


@pytest.fixture
async def proxy(postgres: Cluster) -> AsyncIterator[CountingProxy]:
    proxy = CountingProxy(postgres.port)
    server = await proxy.serve()
    yield proxy
    server.close()


@pytest.fixture
async def store(backend: Backend, proxy: CountingProxy) -> AsyncIterator[PostgresStore]:
    url = urlsplit(backend.location)
    assert url.hostname is not None
    url = url._replace(netloc=f"{url.username}@{url.hostname}:{proxy.port}")
    store = await PostgresStore.open(urlunsplit(url), chunk_size=CHUNK_SIZE, connections=1)
    # Its beats would be counted too.
    await store._opened.presence.stop()
    yield store
    await store.close()


@pytest.fixture
def trips(proxy: CountingProxy) -> Count:
    async def count(call: Callable[[], Awaitable[object]]) -> int:
        before = proxy.round_trips
        await call()
        return proxy.round_trips - before

    return count


@on_postgres
async def test_a_small_put_takes_one_however_deep_its_folder(
    store: PostgresStore, trips: Count
) -> None:
    async def put_all(name: str) -> list[int]:
        return [
            await trips(lambda: put(store, name, b"new")),
            await trips(lambda: put(store, name, b"replaced")),
            await trips(lambda: put(store, f"{name} only", b"x", CREATE_ONLY)),
            await trips(lambda: put(store, f"{name} of three", b"x" * 3 * CHUNK_SIZE)),
            await trips(lambda: delete(store, FileName(name))),
        ]

    # Statements are prepared once for each connection.
    await put_all("first")
    deep = "/".join("abcdefghij")
    assert await put_all(f"{deep}/file") == [1, 1, 1, 1, 4]
    # What is asked before a body that is not small.
    await store.names.check_put(FileName("first/a"))
    assert await trips(lambda: store.names.check_put(FileName(f"{deep}/new"))) == 2


@on_postgres
async def test_a_drive_and_a_lock_cost_a_small_put_none(store: PostgresStore, trips: Count) -> None:
    a, b = FileName("d/a"), FileName("d/b")

    async def apply(
        name: FileName, content: bytes, guard: Guard = UNGUARDED, etag: bytes | None = None
    ) -> None:
        conditions = UNCONDITIONAL if etag is None else Conditions(if_match=tag_of(etag))
        edit = replace(whole_put(store, name, content, conditions), strict=True)
        await store.names.apply([edit], guard=guard)

    async def put_all(first: FileName, second: FileName, guard: Guard) -> list[int]:
        tag = (ResourceTag(first), TagCondition(str(Digest.of(b"replaced"))))
        tagged = replace(guard, tags=TagFormula(((tag,),)))
        return [
            await trips(lambda: apply(first, b"new", guard)),
            await trips(lambda: apply(first, b"replaced", guard)),
            await trips(lambda: apply(first, b"matched", guard, b"replaced")),
            await trips(lambda: apply(first, b"replaced", guard, b"matched")),
            await trips(lambda: apply(second, b"x" * 3 * CHUNK_SIZE, guard)),
            await trips(lambda: apply(first, b"tagged", tagged)),
        ]

    await put(store, "d/x", b"x")
    await put_all(FileName("d/prepared"), FileName("d/prepared of three"), UNGUARDED)
    assert await put_all(a, b, UNGUARDED) == [1] * 6
    # Another's lock elsewhere.
    await store.locks.take(WantedLock(FileName("e"), True, True, "", "bob"))
    taken = await store.locks.take(WantedLock(FolderName("d/"), True, True, "", "ann"))
    guard = Guard(frozenset({taken.lock.token}), "ann")
    assert await put_all(a, b, guard) == [1] * 6
    assert await put_all(FileName("d/c"), FileName("d/d"), guard) == [1] * 6
    assert await trips(lambda: put(store, "f", b"x")) == 1


def tag_of(content: bytes) -> EntityTags:
    return EntityTags(frozenset({EntityTag(str(Digest.of(content)))}))


@on_postgres
async def test_a_small_file_and_its_content_take_one(store: PostgresStore, trips: Count) -> None:
    contents = {"empty": b"", "small": b"x", "of three": b"x" * (2 * CHUNK_SIZE) + b"y"}
    found: dict[str, bytes | None] = {}

    async def open_file(name: str) -> None:
        async with store.contents.open(FileName(name), inline=3 * CHUNK_SIZE) as file:
            found[name] = None if file is None else file.content

    for name, content in contents.items():
        await put(store, name, content)
    await open_file("small")
    for name in contents:
        assert await trips(partial(open_file, name)) == 1
    assert await trips(partial(open_file, "none")) == 1
    assert found == contents | {"none": None}


@on_postgres
async def test_a_collection_asks_for_those_folders_only_that_were_vacated(
    store: PostgresStore, rows: Rows, trips: Count
) -> None:
    for number in range(30):
        await put(store, f"{number}/inner/file", b"x")
    collect = partial(collect_all, store.maintenance, 3600)
    await collect()
    few = await trips(collect)
    await delete(store, FileName("7/inner/file"))
    after = await trips(collect)
    # Two folders are gone with it, a transaction each.
    assert after - few <= 2 * 3 + 2
    assert await trips(collect) == few < 30
    paths = {path for (path,) in await rows.fetch("SELECT path FROM entry")}
    assert "7/inner" not in paths
    assert "7" not in paths
    assert len(paths) == 29 * 3
    assert await rows.fetch("SELECT path FROM vacated") == []


@on_postgres
async def test_quotas_and_the_audit_log_cost_a_small_put_none(
    store: PostgresStore, trips: Count
) -> None:
    anna = Who("anna", "session")

    async def put_told(content: bytes) -> None:
        await store.names.apply([whole_put(store, "d/a", content)], anna)

    for turn in range(2):
        if turn:
            await store.quotas.set(FolderName("d/"), 1000, 1000)
        # Statements are prepared once for each connection.
        await put(store, "d/a", b"first")
        assert await trips(lambda: put(store, "d/a", b"other")) == 1
        assert await trips(lambda: put_told(b"by somebody")) == 1
        [entry] = await store.audit.list(AuditFilter())
        assert (entry.actor, entry.action, entry.name) == ("anna", "replace", "d/a")
        await store.audit.remove_before(datetime.now(UTC) + timedelta(days=1))
    [quota] = await store.quotas.list()
    assert quota.used == Usage(len(b"by somebody"), 1)
