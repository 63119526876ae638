"""Reading chunks from a standby, and doing without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chunkstore.store.postgres.store import PostgresStore
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.postgres import FAST, Cluster, Programs
from tests.store.conformance import get, put

LOGGED = {**FAST, "log_statement": "all"}


@pytest.fixture
def primary(postgres_programs: Programs) -> Iterator[Cluster]:
    with Cluster.running(postgres_programs, LOGGED) as cluster:
        yield cluster


async def test_chunks_come_from_a_standby_and_what_it_lacks_from_the_primary(
    primary: Cluster, random_bytes: RandomBytes
) -> None:
    url = primary.create_database("test")
    with primary.standby() as standby:
        store = await PostgresStore.open(url, read_url=standby.url("test"), chunk_size=CHUNK_SIZE)
        contents = [random_bytes(30 * CHUNK_SIZE) for _ in range(3)]
        await put(store, "a", contents[0])
        assert await get(store, "a") == contents[0]
        asked = "stored_chunks("
        assert asked in standby.log()
        # It stands still, so it lacks what comes now.
        standby.sql("SELECT pg_wal_replay_pause()")
        primary.set("synchronous_standby_names", "")
        await put(store, "b", contents[1])
        assert await get(store, "b") == contents[1]
        assert asked in primary.log()
        standby.kill()
        await put(store, "c", contents[2])
        for name, content in zip("abc", contents, strict=True):
            assert await get(store, name) == content
        await store.close()
