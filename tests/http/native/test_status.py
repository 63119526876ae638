"""Health and figures."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest

from chunkstore.core.client_limits import Limits
from chunkstore.core.errors import StoreError, StoreUnavailable
from chunkstore.core.periodic import Periodic
from chunkstore.http.native.status import Figures
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.maintenance.scrub import scrub_all
from chunkstore.store.contract.maintenance import Maintenance
from chunkstore.store.contract.store import Store
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http.conftest import Serve
from tests.http.steps import Client, on_shared_server, problem, put, stats
from tests.store.rows import Rows


@on_shared_server
async def test_healthy(shared: Client) -> None:
    for path in ("/health/live", "/health/ready"):
        response = await shared.get(path)
        assert response.status == 200
        assert (await response.json())["status"] == "ok"
        assert response.headers["Cache-Control"] == "no-store"


async def test_readiness_tells_how_tasks_ended(store: Store, serve: Serve) -> None:
    turns: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def work() -> None:
        error = await turns.get()
        turns.task_done()
        if error is not None:
            raise error

    task = Periodic("work", partial(asyncio.sleep, 0), work)
    client = await serve(tasks=[task])
    names = {"work", "subtrees", *(one.name for one in store.maintenance.tasks)}
    task.start()
    told = []
    for error in (None, StoreError("It is away."), OSError("/a/path"), None):
        tasks = (await (await client.get("/health/ready")).json())["tasks"]
        assert set(tasks) == names
        told.append(tasks["work"])
        turns.put_nowait(error)
        await turns.join()
        await asyncio.sleep(0)
    await task.stop()
    assert [one["ended"] for one in told] == [
        None,
        "ok",
        "failed: It is away.",
        # No internals for whoever asks.
        "failed: OSError; the log says more",
    ]
    assert told[0]["last"] is None
    assert told[1]["last"] < told[2]["last"] < told[3]["last"]


async def test_a_heartbeat_that_fails_goes_on(store: Store, serve: Serve, rows: Rows) -> None:
    if rows.database != "postgresql":
        pytest.skip("SQLite has one server.")
    [heartbeat] = store.maintenance.tasks
    beats: asyncio.Queue[None] = asyncio.Queue()
    waiting: asyncio.Queue[None] = asyncio.Queue()

    async def wait() -> None:
        waiting.put_nowait(None)
        await beats.get()

    await heartbeat.stop()
    heartbeat._wait = wait
    heartbeat.start()
    await waiting.get()
    client = await serve()

    async def beat() -> str:
        beats.put_nowait(None)
        await waiting.get()
        tasks = (await (await client.get("/health/ready")).json())["tasks"]
        return str(tasks["heartbeat"]["ended"])

    await rows.fetch("ALTER TABLE server RENAME TO lost")
    assert (await beat()).startswith("failed: ")
    await rows.fetch("ALTER TABLE lost RENAME TO server")
    assert await beat() == "ok"


async def test_store_that_does_not_answer_is_not_ready(client: Client, rows: Rows) -> None:
    async with rows.hidden_settings():
        await problem(await client.get("/health/ready"), 500)
        assert (await client.get("/health/live")).status == 200
    assert (await client.get("/health/ready")).status == 200


async def test_empty_store(client: Client, rows: Rows) -> None:
    held = await stats(client)
    assert held.pop("database_size") == await rows.size()
    # PostgreSQL does not tell.
    assert held.pop("reclaimable_size") == (0 if rows.database == "sqlite" else None)
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
        "quotas": [],
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


async def test_what_was_deleted_is_told_apart(
    client: Client, store: Store, rows: Rows, random_bytes: RandomBytes
) -> None:
    kept = random_bytes(2 * CHUNK_SIZE)
    await put(client, "kept", kept)
    await put(client, "again", kept)
    for name in ("deleted", "deleted too"):
        await put(client, name.replace(" ", "%20"), random_bytes(8 * CHUNK_SIZE))
        await client.delete(f"/files/{name}")
    held = await stats(client)
    assert held["stored_size"] == 18 * CHUNK_SIZE
    if rows.database == "sqlite":
        assert held["reclaimable_size"] >= 16 * CHUNK_SIZE
        assert (held["ratio"], held["deduplication"], held["compression"]) == (2, 2, 1)
    else:
        # Where nobody knows how much of it is for files, nothing is claimed.
        assert held["reclaimable_size"] is held["ratio"] is held["deduplication"] is None
    await collect_all(store.maintenance, 0)
    held = await stats(client)
    assert held["ratio"] == 2
    assert held["reclaimable_size"] in (0, None)


async def test_figures_are_not_cached(client: Client) -> None:
    assert (await client.get("/stats")).headers["Cache-Control"] == "no-store"
    await put(client, "a")
    assert (await stats(client))["files"] == 1
    await client.delete("/files/a")
    assert (await stats(client))["files"] == 0


async def test_the_last_scrub_is_told(client: Client, store: Store) -> None:
    await put(client, "a", b"x")
    await store.maintenance.put_scrub_report(await scrub_all(store.maintenance, lambda _: None))
    told = (await stats(client))["scrub"]
    assert (told["chunks"], told["size"], told["damaged"]) == (1, 1, 0)
    assert told["started"] <= told["finished"]
    assert (await (await client.get("/health/ready")).json())["scrub"] == told


class Counting:
    """A store whose figures are numbers of how often they were counted, when the test says."""

    def __init__(self) -> None:
        self.counted = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def stats(self) -> Any:  # noqa: ANN401 - what it is makes no difference here
        self.counted += 1
        await self.may_end.wait()
        if self.counted == 13:
            raise StoreUnavailable
        return self.counted


@dataclass
class Clock:
    """A clock that the test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def figures(store: Counting, clock: Clock) -> Any:  # noqa: ANN401 - of numbers in place of figures
    return Figures(cast(Maintenance, store), 5, clock)


async def test_figures_are_counted_once_for_all_who_ask_together() -> None:
    store = Counting()
    store.may_end.clear()
    shared = figures(store, Clock())
    asking = [asyncio.create_task(shared.get()) for _ in range(100)]
    await asyncio.sleep(0)
    # One who goes away ends it for nobody.
    asking.pop(0).cancel()
    store.may_end.set()
    assert await asyncio.gather(*asking) == [(1, 0)] * 99
    assert store.counted == 1


async def test_figures_are_kept_for_some_seconds_and_say_how_old_they_are() -> None:
    clock = Clock()
    kept = figures(Counting(), clock)
    for now, told in [(0, (1, 0)), (4.9, (1, 4.9)), (5, (2, 0)), (6, (2, 1))]:
        clock.now = now
        assert await kept.get() == told


async def test_a_count_that_fails_is_tried_again() -> None:
    store = Counting()
    store.counted = 12
    failing = figures(store, Clock())
    for told in await asyncio.gather(failing.get(), failing.get(), return_exceptions=True):
        assert isinstance(told, StoreUnavailable)
    assert await failing.get() == (14, 0)


async def test_answers_tell_the_age_of_figures(serve: Serve) -> None:
    client = await serve(limits=Limits(stats_seconds=3600))
    held = await stats(client)
    await put(client, "a")
    async with client.get("/stats") as response:
        assert int(response.headers["Age"]) < 3600
        assert await response.json() == held
