"""What is removed and rewritten of segments, and what goes on meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import (
    BATCH,
    FEW,
    collect,
    damage_in,
    delete,
    files_of,
    pieces,
    put,
    read,
)


async def test_a_segment_goes_with_the_last_of_its_chunks(store: SQLiteStore, path: Path) -> None:
    one, two = pieces(2 * BATCH), pieces(2 * BATCH, 1)
    await put(store, "a", one)
    await put(store, "b", two)
    async with store.contents.open(FileName("a")) as file:
        assert file is not None
        await delete(store, "a")
        await collect(store)
        # It is still being downloaded.
        assert len(files_of(path)) == 2
        assert await store.contents.read(file.manifest, 0, file.manifest.size) == b"".join(one)
    await collect(store)
    assert len(files_of(path)) == 1
    assert await read(store, "b") == b"".join(two)


async def test_compaction_keeps_what_lives_and_gives_back_the_rest(
    store: SQLiteStore, path: Path
) -> None:
    parts = [pieces(2 * BATCH, seed) for seed in range(6)]
    kept = [each[:2] for each in parts]
    for number, each in enumerate(parts):
        await put(store, f"{number}", each)
        await put(store, f"kept{number}", kept[number])
        await delete(store, f"{number}")
    assert len(files_of(path)) == 6
    await collect_all(store.maintenance, 0)
    before = files_of(path)
    assert len(before) == 6
    # A download that has looked up where its chunks are, in another process.
    reader = await SQLiteStore.open(path, read_only=True)
    for number, each in enumerate(kept[:3]):
        assert await read(reader, f"kept{number}") == b"".join(each)
    await store.maintenance.compact()
    assert len(files_of(path)) == 1
    assert not set(before) & set(files_of(path))
    for number, each in enumerate(kept):
        assert await read(store, f"kept{number}") == b"".join(each)
        assert await read(reader, f"kept{number}") == b"".join(each)
    await reader.close()
    assert await damage_in(store) == []
    reclaimable = (await store.maintenance.stats()).reclaimable
    assert reclaimable is not None
    assert reclaimable.stored_size == 0


async def test_many_small_segments_become_one(store: SQLiteStore, path: Path) -> None:
    parts = [pieces(FEW, seed) for seed in range(40)]
    for number, each in enumerate(parts):
        await put(store, f"{number}", each)
    assert len(files_of(path)) == 40
    await store.maintenance.compact()
    assert len(files_of(path)) == 1
    for number, each in enumerate(parts):
        assert await read(store, f"{number}") == b"".join(each)


async def test_downloads_go_on_while_their_chunks_are_moved(store: SQLiteStore, path: Path) -> None:
    parts = [pieces(FEW, seed) for seed in range(40)]
    for number, each in enumerate(parts):
        await put(store, f"{number}", each)
    stopped = asyncio.Event()

    async def download(number: int) -> int:
        count = 0
        while not stopped.is_set():
            assert await read(store, f"{number}") == b"".join(parts[number])
            count += 1
        return count

    downloads = [asyncio.create_task(download(number)) for number in range(0, 40, 5)]
    for _ in range(3):
        await store.maintenance.compact()
    stopped.set()
    assert all(await asyncio.gather(*downloads))
    assert await damage_in(store) == []


async def test_compactions_at_once_do_it_once(store: SQLiteStore, path: Path) -> None:
    for number in range(20):
        await put(store, f"{number}", pieces(FEW, number))
    await asyncio.gather(*(store.maintenance.compact() for _ in range(3)))
    assert len(files_of(path)) == 1


async def test_a_compaction_that_is_broken_off_loses_nothing(
    store: SQLiteStore, path: Path
) -> None:
    parts = [pieces(FEW, seed) for seed in range(20)]
    for number, each in enumerate(parts):
        await put(store, f"{number}", each)
    for waits in range(0, 60, 7):
        task = asyncio.create_task(store.maintenance.compact())
        for _ in range(waits):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    for number, each in enumerate(parts):
        assert await read(store, f"{number}") == b"".join(each)
    await collect(store)
    assert len(files_of(path)) == 1
