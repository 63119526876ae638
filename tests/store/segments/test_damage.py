"""Segments that are damaged or missing: told, never sent, and repaired."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chunkstore.core.compression import NO_COMPRESSION
from chunkstore.core.errors import StoreDamaged
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import (
    BATCH,
    BOUNDS,
    collect,
    damage_in,
    files_of,
    opened,
    pieces,
    put,
    query,
    read,
)


@pytest.mark.parametrize("damage", ["missing", "empty", "flipped"])
async def test_a_damaged_segment_is_told_and_repaired_by_the_same_content(
    path: Path, damage: str
) -> None:
    parts, others = pieces(2 * BATCH), pieces(2 * BATCH, 1)
    store = await opened(path)
    await put(store, "a", parts)
    [file] = files_of(path)
    await put(store, "b", others)
    await store.close()
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        place = content.index(parts[3])
        content[place] ^= 1
        file.write_bytes(content)
    store = await opened(path)
    faults = (await store.maintenance.health()).faults
    assert (file.name in "".join(faults)) == (damage == "missing")
    with pytest.raises(StoreDamaged):
        await read(store, "a")
    assert await read(store, "b") == b"".join(others)
    assert ("chunk", ["a"]) in await damage_in(store)
    await put(store, "a", parts)
    assert await read(store, "a") == b"".join(parts)
    assert await damage_in(store) == []
    await collect(store)
    assert await read(store, "a") == b"".join(parts)
    assert (await store.maintenance.health()).faults == []
    await store.close()


@pytest.mark.parametrize("noticed_by", ["health", "collection"])
async def test_no_upload_relies_on_a_segment_that_is_missing(path: Path, noticed_by: str) -> None:
    parts = pieces(2 * BATCH)
    store = await opened(path)
    await put(store, "a", parts)
    [file] = files_of(path)
    away = path.with_name("away")
    file.rename(away)
    if noticed_by == "health":
        assert file.name in "".join((await store.maintenance.health()).faults)
    else:
        await collect(store)
    await put(store, "b", parts)
    await store.close()
    store = await opened(path)
    assert await read(store, "a") == await read(store, "b") == b"".join(parts)
    await collect(store)
    assert (await store.maintenance.health()).faults == []
    assert await damage_in(store) == []
    await store.close()


async def test_a_missing_segment_that_is_put_back_is_whole_again(path: Path) -> None:
    parts = pieces(2 * BATCH)
    store = await opened(path)
    await put(store, "a", parts)
    [file] = files_of(path)
    await store.close()
    away = path.with_name("away")
    file.rename(away)
    store = await opened(path)
    assert await damage_in(store) != []
    away.rename(file)
    assert await damage_in(store) == []
    assert await read(store, "a") == b"".join(parts)
    assert (await store.maintenance.stats()).damaged == 0
    assert (await store.maintenance.health()).faults == []
    await store.close()


async def test_a_chunk_moves_from_the_database_to_a_segment_when_it_is_repaired(
    store: SQLiteStore, path: Path
) -> None:
    parts = pieces(1)
    await put(store, "a", parts)
    query(path, "UPDATE chunk_data SET bytes = x'00'")
    assert await damage_in(store) == [("chunk", ["a"])]
    more = [*parts, *pieces(BATCH - 1, 1)]
    await put(store, "b", more)
    assert query(path, "SELECT count(*) FROM chunk_data") == [(0,)]
    assert await read(store, "a") == parts[0]
    assert await damage_in(store) == []


PAGE = 32 * 1024


async def test_whatever_byte_of_a_segment_flips_what_is_read_is_what_was_put(
    path: Path,
) -> None:
    # So large that a chunk has more than one page, and the table an inner page.
    parts = [random.Random(number).randbytes(40_000) for number in range(4)]
    store = await SQLiteStore.open(
        path, chunk_size=64 * 1024, segment_bounds=BOUNDS, compression=NO_COMPRESSION
    )
    await put(store, "a", parts)
    [file] = files_of(path)
    content = file.read_bytes()
    rng = random.Random(3)
    # The header, the schema, the head of each page, and some of the rest.
    places = {
        *range(200),
        *(page + byte for page in range(0, len(content), PAGE) for byte in range(16)),
        *(page + PAGE - byte for page in range(0, len(content), PAGE) for byte in range(1, 8)),
        *rng.sample(range(len(content)), 100),
    }
    whole = damaged = 0
    for place in sorted(places):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        store._database.segments.readers.forget(int(file.stem, 16))
        try:
            assert await read(store, "a") == b"".join(parts), place
            whole += 1
        except StoreDamaged:
            damaged += 1
    file.write_bytes(content)
    store._database.segments.readers.forget(int(file.stem, 16))
    assert await damage_in(store) == []
    assert await read(store, "a") == b"".join(parts)
    assert whole > 50
    assert damaged > 50
    await store.close()
