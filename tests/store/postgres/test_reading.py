"""Reading lists of chunks of any length, and what of them is read at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random

import pytest

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import ListHasher
from chunkstore.core.names import FileName
from chunkstore.store.contract.edits import Put, Received
from chunkstore.store.contract.values import File
from chunkstore.store.postgres import reading
from chunkstore.store.postgres.store import PostgresStore
from tests.backends import Backend
from tests.conftest import CHUNK_SIZE, on_postgres
from tests.store.rows import Rows

pytestmark = on_postgres

PLACES = 3 * reading._SPAN + 7


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.open(backend.location, chunk_size=CHUNK_SIZE)
    yield store
    await store.close()


def cut_anywhere(random: Random, count: int) -> list[Chunk]:
    return [Chunk.of(random.randbytes(random.choice((1, 7, 100, 900)))) for _ in range(count)]


async def put_chunks(store: PostgresStore, name: str, chunks: list[Chunk]) -> File:
    """Put a file of these chunks, in some batches."""
    upload = store.contents.begin()
    content = b"".join(chunk.content for chunk in chunks)
    while len(chunks) > 300:
        await upload.append(chunks[:300])
        chunks = chunks[300:]
    received = Received(upload, chunks, Digest.of(content), len(content))
    await store.names.apply([Put(FileName(name), received, "text/plain")])
    async with store.contents.open(FileName(name)) as file:
        assert file is not None
        return file


async def test_any_range_of_chunks_of_any_length_is_read(store: PostgresStore) -> None:
    random = Random(5)
    chunks = cut_anywhere(random, PLACES)
    content = b"".join(chunk.content for chunk in chunks)
    ends = {0}
    for chunk in chunks:
        ends.add(max(ends) + len(chunk.content))
    manifest = (await put_chunks(store, "a", chunks)).manifest
    assert (manifest.size, manifest.chunk_count) == (len(content), PLACES)
    for _ in range(150):
        start, stop = sorted(random.randrange(len(content) + 1) for _ in range(2))
        stop = min(stop, start + random.choice((1, 50, 5000, 300_000)))
        most = random.choice((None, CHUNK_SIZE, 3 * CHUNK_SIZE, 2**40))
        read = await store.contents.read(manifest, start, stop, most)
        assert content.startswith(read, start)
        if most is None or stop - start <= most:
            assert start + len(read) == stop
        else:
            assert CHUNK_SIZE - 900 < len(read) <= most
            assert start + len(read) in ends


async def test_all_of_a_list_is_read_in_order(store: PostgresStore) -> None:
    random = Random(6)
    chunks = cut_anywhere(random, PLACES)
    content = b"".join(chunk.content for chunk in chunks)
    manifest = (await put_chunks(store, "a", chunks)).manifest
    whole, read = ListHasher(), b""
    while len(read) < manifest.size:
        read += await store.contents.read(manifest, len(read), manifest.size, 10_000, whole)
    assert read == content
    assert whole.proves(manifest)


async def test_a_list_that_goes_on_behind_its_end_is_not_what_was_sealed(
    store: PostgresStore, rows: Rows
) -> None:
    random = Random(7)
    short, long = cut_anywhere(random, 3), cut_anywhere(random, 20)
    manifest = (await put_chunks(store, "short", short)).manifest
    await put_chunks(store, "long", short + long)
    # It has the places of the other, and claims that they are its own.
    await rows.fetch("SET session_replication_role = replica")
    await rows.fetch("DELETE FROM place WHERE manifest = $1", manifest.id)
    await rows.fetch(
        "UPDATE place SET manifest = $1 WHERE manifest = $2",
        *(manifest.id, await rows.manifest_of("long")),
    )
    await rows.fetch("SET session_replication_role = origin")
    with pytest.raises(StoreDamaged):
        await store.contents.read(manifest, 0, manifest.size)


async def test_damage_is_in_the_way_of_those_alone_who_need_what_is_damaged(
    store: PostgresStore, rows: Rows
) -> None:
    chunks = cut_anywhere(Random(8), 50)
    content = b"".join(chunk.content for chunk in chunks)
    manifest = (await put_chunks(store, "a", chunks)).manifest
    starts = [start for start, _ in await rows.places(manifest.id)]
    for damaged in (0, 1, 17, 49):
        change = "UPDATE place SET tie = tie # 1 WHERE start = $1"
        await rows.fetch(change, starts[damaged])
        store.contents._reader._spans.clear()
        for start, stop in zip(starts, [*starts[1:], len(content)], strict=True):
            if start == starts[damaged]:
                with pytest.raises(StoreDamaged):
                    await store.contents.read(manifest, start, stop)
            else:
                assert await store.contents.read(manifest, start, stop) == content[start:stop]
        await rows.fetch(change, starts[damaged])
