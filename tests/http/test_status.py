"""Health and figures."""

from __future__ import annotations

import pytest

from chunkstore.scrub import scrub_all
from chunkstore.store.base import Store
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http.steps import Client, on_shared_server, problem, put, stats
from tests.store.rows import Rows


@on_shared_server
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/health/live", {"status": "ok"}),
        ("/health/ready", {"status": "ok", "faults": [], "scrub": None}),
    ],
)
async def test_healthy(shared: Client, path: str, told: dict[str, object]) -> None:
    response = await shared.get(path)
    assert response.status == 200
    assert await response.json() == told
    assert response.headers["Cache-Control"] == "no-store"


async def test_store_that_does_not_answer_is_not_ready(client: Client, rows: Rows) -> None:
    async with rows.hidden_settings():
        await problem(await client.get("/health/ready"), 500)
        assert (await client.get("/health/live")).status == 200
    assert (await client.get("/health/ready")).status == 200


async def test_empty_store(client: Client, rows: Rows) -> None:
    held = await stats(client)
    assert held.pop("database_size") == await rows.size()
    assert set(held.pop("versions")) >= {"chunkstore", "schema", rows.database, "blake3"}
    assert held == {
        "files": 0,
        "contents": 0,
        "chunks": 0,
        "damaged": 0,
        "logical_size": 0,
        "unique_size": 0,
        "stored_size": 0,
        "ratio": None,
        "deduplication": None,
        "compression": None,
        "chunk_size": CHUNK_SIZE,
        "scrub": None,
    }


async def test_each_byte_counts_once(client: Client, random_bytes: RandomBytes) -> None:
    content = random_bytes(2 * CHUNK_SIZE)
    await put(client, "a", content)
    await put(client, "b", content)
    await put(client, "c", content[:CHUNK_SIZE])
    await put(client, "empty", b"")
    held = await stats(client)
    assert (held["files"], held["contents"], held["chunks"]) == (4, 3, 2)
    assert (held["logical_size"], held["stored_size"]) == (5 * CHUNK_SIZE, 2 * CHUNK_SIZE)
    assert held["ratio"] == 2.5
    assert held["database_size"] > held["stored_size"]


async def test_figures_are_not_cached(client: Client) -> None:
    assert (await client.get("/stats")).headers["Cache-Control"] == "no-store"
    await put(client, "a")
    assert (await stats(client))["files"] == 1
    await client.delete("/files/a")
    assert (await stats(client))["files"] == 0


async def test_the_last_scrub_is_told(client: Client, store: Store) -> None:
    await put(client, "a", b"x")
    await store.put_scrub_report(await scrub_all(store, lambda _: None))
    told = (await stats(client))["scrub"]
    assert (told["chunks"], told["size"], told["damaged"]) == (1, 1, 0)
    assert told["started"] <= told["finished"]
    assert (await (await client.get("/health/ready")).json())["scrub"] == told
