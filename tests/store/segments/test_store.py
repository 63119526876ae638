"""A store whose large contents are in segments: what goes there, and what survives what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chunkstore.core.chunking import Chunk
from chunkstore.core.errors import StoreFull
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.sqlite.engine.connection import SyncFailed
from chunkstore.store.sqlite.engine.disk_space import DiskReserve
from chunkstore.store.sqlite.segments import writing
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import (
    BATCH,
    CHUNK,
    FEW,
    collect,
    commit,
    copy_crashed,
    damage_in,
    delete,
    files_of,
    fill,
    found,
    opened,
    pieces,
    put,
    query,
    read,
)


async def test_large_batches_are_written_once_beside_the_database(
    store: SQLiteStore, path: Path
) -> None:
    parts = pieces(5 * BATCH)
    committed = await put(store, "a", parts)
    assert (committed.new_chunks, committed.new_size) == (len(parts), len(parts) * CHUNK)
    assert await read(store, "a") == b"".join(parts)
    assert query(path, "SELECT count(*) FROM chunk_data") == [(0,)]
    assert len(files_of(path)) == 3
    sizes = query(path, "SELECT size FROM segment ORDER BY size")
    assert sizes == [(BATCH * CHUNK,), (2 * BATCH * CHUNK,), (2 * BATCH * CHUNK,)]
    stats = await store.maintenance.stats()
    assert stats.database_size > sum(file.stat().st_size for file in files_of(path))
    assert await damage_in(store) == []


async def test_small_batches_go_to_the_database(store: SQLiteStore, path: Path) -> None:
    await put(store, "a", pieces(1))
    assert files_of(path) == []
    assert query(path, "SELECT count(*) FROM chunk_data") == [(1,)]


async def test_a_store_that_is_one_file_stays_one(path: Path) -> None:
    parts = pieces(3 * BATCH)
    store = await opened(path, one_file=True)
    await put(store, "a", parts)
    await store.close()
    # It remembers.
    store = await opened(path)
    await put(store, "b", pieces(3 * BATCH, 1))
    assert files_of(path) == []
    await store.close()
    store = await opened(path, one_file=False)
    await put(store, "c", pieces(3 * BATCH, 2))
    assert len(files_of(path)) == 2
    assert await read(store, "a") == b"".join(parts)
    await store.close()


async def test_a_store_that_is_to_be_one_file_becomes_one(path: Path) -> None:
    parts = pieces(3 * BATCH)
    store = await opened(path)
    await put(store, "a", parts)
    await store.close()
    store = await opened(path, one_file=True)
    assert await read(store, "a") == b"".join(parts)
    await collect(store)
    assert files_of(path) == []
    assert query(path, "SELECT count(*) FROM segment") == [(0,)]
    assert await read(store, "a") == b"".join(parts)
    assert await damage_in(store) == []
    await store.close()


async def test_known_and_new_chunks_in_one_batch_and_the_same_one_again(
    store: SQLiteStore,
) -> None:
    old, new = pieces(BATCH), pieces(3 * BATCH, 1)
    await put(store, "a", old)
    mixed = [*old[:4], *new[:6], new[0], *old[4:], *new, *new, old[0]]
    committed = await put(store, "b", mixed)
    assert committed.new_chunks == len(new)
    assert await read(store, "b") == b"".join(mixed)
    # Equal content shares its manifest.
    await put(store, "c", mixed)
    assert (await found(store, "b")).manifest == (await found(store, "c")).manifest
    assert await damage_in(store) == []


async def test_a_chunk_that_is_collected_after_it_was_looked_up_is_written_again(
    store: SQLiteStore,
) -> None:
    old = pieces(4)
    await put(store, "a", old)
    parts = [*old, *pieces(FEW, 1)]
    upload = store.contents.begin()
    batch = await upload.prepare([Chunk.of(part) for part in parts])
    await delete(store, "a")
    await collect_all(store.maintenance, 0)
    await batch.store()
    await commit(store, "b", upload, parts)
    assert await read(store, "b") == b"".join(parts)


async def test_two_uploads_of_the_same_chunks_share_those_of_the_first(
    store: SQLiteStore, path: Path
) -> None:
    parts = pieces(2 * BATCH)
    one, two = store.contents.begin(), store.contents.begin()
    # Neither can be published before both are written.
    batches = [
        (upload, await upload.prepare([Chunk.of(part) for part in parts])) for upload in (one, two)
    ]
    for _, batch in batches:
        await batch.store()
    new = [
        (await commit(store, name, upload, parts)).new_chunks
        for name, upload in (("a", one), ("b", two))
    ]
    assert sum(new) == len(parts)
    assert await read(store, "a") == b"".join(parts)
    assert await read(store, "b") == b"".join(parts)
    assert query(path, "SELECT count(*) FROM chunk") == [(len(parts),)]
    # What the second one wrote is nobody's.
    reclaimable = (await store.maintenance.stats()).reclaimable
    assert reclaimable is not None
    assert reclaimable.free_size >= len(parts) * CHUNK
    await collect(store)
    assert len(files_of(path)) == 1


@pytest.mark.parametrize("batches", [1, 2, 3])
async def test_an_upload_that_is_aborted_leaves_what_was_sealed_to_collection(
    store: SQLiteStore, path: Path, batches: int
) -> None:
    upload = store.contents.begin()
    await fill(upload, pieces(batches * BATCH))
    await upload.abort()
    assert len(files_of(path)) == batches // 2
    await collect(store)
    assert files_of(path) == []
    assert query(path, "SELECT count(*) FROM chunk") == [(0,)]


async def test_an_upload_whose_batch_is_cancelled_leaves_nothing(
    store: SQLiteStore, path: Path
) -> None:
    upload = store.contents.begin()
    chunks = [Chunk.of(part) for part in pieces(BATCH)]
    for waits in range(12):
        task = asyncio.create_task(upload.append(chunks))
        for _ in range(waits):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await upload.abort()
    await collect(store)
    assert files_of(path) == []


async def test_a_failed_sync_fails_the_upload_and_nothing_else(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    parts = pieces(BATCH)
    upload = store.contents.begin()
    await fill(upload, parts)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "sync_data", fail)
        with pytest.raises(SyncFailed):
            await commit(store, "a", upload, parts)
    with pytest.raises(SyncFailed):
        await commit(store, "a", upload, parts)
    await upload.abort()
    assert files_of(path) == []
    await put(store, "a", parts)
    assert await read(store, "a") == b"".join(parts)


async def test_without_room_the_upload_fails_and_what_it_took_is_free_again(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = store.contents.begin()
    await fill(upload, pieces(BATCH))
    with monkeypatch.context() as patch:
        patch.setattr(DiskReserve, "why_full", lambda reserve, size: "It is full.")
        with pytest.raises(StoreFull, match="It is full"):
            await fill(upload, pieces(BATCH, 1))
    await upload.abort()
    assert files_of(path) == []


@pytest.mark.parametrize("committed", [False, True])
async def test_a_publication_that_may_have_failed_is_found_out_about(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    writer = store._database.writable
    run = type(writer).run

    async def fail(self: object, job: Any, **options: Any) -> Any:  # noqa: ANN401 - as `run`
        if committed:
            await run(writer, job, **options)
        raise SyncFailed

    parts = pieces(BATCH)
    upload = store.contents.begin()
    await fill(upload, parts)
    with monkeypatch.context() as patch:
        patch.setattr(type(writer), "run", fail)
        with pytest.raises(SyncFailed):
            await commit(store, "a", upload, parts)
    assert len(files_of(path)) == 1
    if committed:
        # Nobody has aborted the upload yet, so its chunks are in use.
        await collect_all(store.maintenance, 0)
        assert len(files_of(path)) == 1
    await upload.abort()
    await collect_all(store.maintenance, 0)
    assert files_of(path) == []


async def test_what_a_crash_left_is_removed_at_the_start(path: Path) -> None:
    store = await opened(path)
    parts = pieces(2 * BATCH)
    await put(store, "a", parts)
    upload = store.contents.begin()
    await fill(upload, pieces(BATCH, 1))
    assert len(files_of(path)) == 2
    crashed = path.with_name("crashed.db")
    copy_crashed(path, crashed)
    store = await replaced(store, crashed)
    assert len(files_of(crashed)) == 1
    assert await read(store, "a") == b"".join(parts)
    await store.close()


async def replaced(store: SQLiteStore, path: Path) -> SQLiteStore:
    await store.close()
    return await opened(path)


async def test_segments_of_another_database_are_left_alone(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = pieces(2 * BATCH)
    store = await opened(path)
    await put(store, "a", parts)
    await store.close()
    # It is moved away, and a server starts without it.
    away = path.with_name("away.db")
    path.rename(away)
    store = await opened(path)
    await put(store, "b", parts)
    await collect(store)
    assert len(files_of(path)) == 2
    await store.close()
    assert "are not of this database (1, as " in caplog.text
    # And comes back.
    away.rename(path)
    store = await opened(path)
    assert await read(store, "a") == b"".join(parts)
    assert (await store.maintenance.health()).faults == []
    await store.close()
