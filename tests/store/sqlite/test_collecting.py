"""Collection on SQLite: short transactions, few of them, none synced."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from chunkstore.core.compression import NO_COMPRESSION
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.reports import Collected
from chunkstore.store.shared.pins import Pins
from chunkstore.store.sqlite import collecting, manifests
from chunkstore.store.sqlite.engine.connection import Job
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.store import SQLiteStore
from tests.conftest import CHUNK_SIZE
from tests.store.conformance import cut, put
from tests.store.edits import delete, get_file, put_of
from tests.store.sqlite.test_log_owner import crash_image
from tests.store.upload_conformance import FILE, later

T = TypeVar("T")
MANY = 3_000
PLANT = """
    WITH RECURSIVE number(value) AS (
        SELECT 1 UNION ALL SELECT value + 1 FROM number WHERE value < ?
    )
    INSERT INTO chunk (id, digest, size, stored_size, created)
    SELECT value, randomblob(32), 4096, 4096, 1 FROM number;
"""
PLANT_REST = """
    INSERT INTO chunk_data SELECT id, randomblob(4096) FROM chunk;
    INSERT INTO manifest
    SELECT id, randomblob(32), 4096, 4096, 1, randomblob(32), 0, 0, 1 FROM chunk;
    INSERT INTO place SELECT id, 0, id, 0 FROM chunk;
"""


@dataclass(slots=True)
class Jobs:
    """What the writer was given: of each job, how many rows it changed and whether to sync it."""

    changes: list[int] = field(default_factory=list)
    durable: list[bool] = field(default_factory=list)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Return a record of all jobs from here on."""
    record = Jobs()
    run = Writer.run

    async def recorded(self: Writer, job: Job[T], **options: Any) -> T:  # noqa: ANN401
        def counted(db: sqlite3.Connection) -> T:
            before = db.total_changes
            result = job(db)
            record.changes.append(db.total_changes - before)
            record.durable.append(options.get("durable", True))
            return result

        return await run(self, counted, **options)

    monkeypatch.setattr(Writer, "run", recorded)
    # Time must not decide what a test sees.
    monkeypatch.setattr(collecting, "_STEP_SECONDS", math.inf)
    return record


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE, compression=NO_COMPRESSION)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def planted(tmp_path: Path) -> Path:
    """Return a store of many small contents that no file needs."""
    path = tmp_path / "store.db"
    async with opened(path):
        pass
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(PLANT, (MANY,))
        db.executescript(PLANT_REST)
    return path


def rows_left(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as db:
        tables = ("chunk", "chunk_data", "manifest", "place")
        return {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables
        }


NOTHING = {"chunk": 0, "chunk_data": 0, "manifest": 0, "place": 0}


async def test_many_small_contents_go_in_few_transactions_and_no_sync(
    planted: Path, jobs: Jobs
) -> None:
    size = planted.stat().st_size
    async with opened(planted) as store:
        assert await collect_all(store.maintenance, 0) == Collected(MANY, MANY, 4096 * MANY)
    assert rows_left(planted) == NOTHING
    assert planted.stat().st_size < size / 10
    # Condemned, removed, their chunks deleted, pages given back: four times as many rows.
    assert len(jobs.changes) < 4 * MANY / 100
    assert max(jobs.changes) < 1000
    synced = [
        changes for changes, durable in zip(jobs.changes, jobs.durable, strict=True) if durable
    ]
    assert not any(synced)


async def test_a_step_ends_when_its_time_is_over(
    planted: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_STEP_SECONDS", 0)
    async with opened(planted) as store:
        steps = store.maintenance.collect(0)
        assert await anext(aiter(steps)) == Collected(manifests=1)
        # One records the greatest id, others condemn, and the first removes a list with its place.
        changes = [changed for changed in jobs.changes if changed]
        assert len(changes) == 1 + MANY + 1
        assert changes[:-1] == [1] * (1 + MANY)


async def test_what_is_interrupted_is_found_again(planted: Path, jobs: Jobs) -> None:
    async with opened(planted) as store:
        async for _ in store.maintenance.collect(0):
            break
        assert 0 < rows_left(planted)["manifest"] < MANY
        assert (await collect_all(store.maintenance, 0)).chunks == MANY
    assert rows_left(planted) == NOTHING


async def test_no_long_list_goes_in_one_transaction(
    tmp_path: Path, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "_PLACES_FORGOTTEN", 100)
    long = b"x" * CHUNK_SIZE * 1000

    async def commit(store: SQLiteStore, name: str) -> None:
        upload = store.contents.begin()
        await upload.append(cut(long))
        jobs.changes.clear()
        digest = Digest.of(long)
        await store.names.apply(
            [put_of(upload, [], digest, len(long), FileName(name), "text/plain")]
        )

    path = tmp_path / "store.db"
    async with opened(path) as store:
        upload = store.contents.begin()
        await upload.append(cut(long))
        jobs.changes.clear()
        await upload.abort()
        await commit(store, "a")
        # The content is known, so this one's list is not needed.
        await commit(store, "b")
        assert max(jobs.changes) < 110
        await collect_all(store.maintenance, 0)
        assert rows_left(path) == {
            "chunk": 1,
            "chunk_data": 1,
            "manifest": 1,
            "place": 1000,
        }
        await delete(store, FileName("a"))
        await delete(store, FileName("b"))
        await collect_all(store.maintenance, 0)
        # Of the two that were left behind, a piece of each.
        assert max(jobs.changes) < 210
        assert rows_left(path) == NOTHING


async def test_an_upload_that_nobody_ended_is_collected_and_one_that_runs_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        left, running = store.contents.begin(), store.contents.begin()
        await left.append(cut(b"left"))
        await running.append(cut(b"r" * CHUNK_SIZE))
        del left
        assert await collect_all(store.maintenance, 0) == Collected(1, 1, 4)
        content = b"r" * CHUNK_SIZE + b"end"
        await store.names.apply(
            [
                put_of(
                    running,
                    cut(b"end"),
                    Digest.of(content),
                    len(content),
                    FileName("a"),
                    "text/plain",
                )
            ]
        )
        await put(store, "b", b"other")
        assert await collect_all(store.maintenance, 0) == Collected()


async def test_what_a_clock_that_was_ahead_has_stamped_is_collected(tmp_path: Path) -> None:
    hour, path = 3_600_000_000, tmp_path / "store.db"
    async with opened(path) as store:
        for name in ("ahead", "now"):
            await put(store, name, name.encode())
            await delete(store, FileName(name))
        with closing(sqlite3.connect(path)) as db, db:
            for table in ("chunk", "manifest"):
                db.execute(f"UPDATE {table} SET created = created + ? WHERE size = 5", (2 * hour,))
        ahead = Collected(manifests=1, chunks=1, size=5)
        dry_run = [step async for step in store.maintenance.collect(3600, dry_run=True)]
        assert sum(dry_run, Collected()) == ahead
        assert await collect_all(store.maintenance, 3600) == ahead
        assert await collect_all(store.maintenance, 3600) == Collected()
        assert await collect_all(store.maintenance, 0) == Collected(1, 1, 3)


@pytest.mark.parametrize("clean", [True, False], ids=["closed", "crashed"])
async def test_no_id_of_a_list_is_given_again(tmp_path: Path, clean: bool) -> None:
    """What another process reads by an id is never the content of another file."""
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await put(store, "kept", b"kept")
        await put(store, "a", b"content")
        old = await get_file(store, FileName("a"))
        await delete(store, old.name)
        await collect_all(store.maintenance, 0)
        if not clean:
            path = crash_image(path, tmp_path / "image")
    async with opened(path) as store:
        await put(store, "b", b"another")
        assert (await get_file(store, FileName("b"))).manifest.id > old.manifest.id
        with pytest.raises(StoreDamaged):
            await store.contents.read(old.manifest, 0, 7)


async def test_a_pack_that_is_held_while_a_collection_looks_is_spared(
    tmp_path: Path,
) -> None:
    path = tmp_path / "files.db"
    store = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE, compression=NO_COMPRESSION)
    upload = await store.uploads.create(FILE, None, later())
    pack = store.contents.begin()
    chunks = cut(b"".join(bytes([number]) * CHUNK_SIZE for number in range(3)))
    await pack.append(chunks)
    readers, writer = store._database.readers, store._database.writable

    class Readers:
        """Runs jobs; has the pack held when the collection has found that it is open."""

        async def run(self, job: Job[T]) -> T:
            found = await readers.run(job)
            if isinstance(getattr(job, "__self__", None), collecting._Rows):
                rows = job.__self__  # type: ignore[attr-defined]
                if rows.query == "open_manifests":
                    assert len(found) == 1  # type: ignore[arg-type]
                    await store.uploads.hold(upload.id, pack, [], later())
            return found

    running = store.contents.open_manifests
    async for _ in collecting.collect(Readers(), writer, Pins(), running, 0):
        pass
    page = await store.uploads.held(upload.id)
    assert set(page.digests) == {chunk.digest for chunk in chunks}
    await store.close()
