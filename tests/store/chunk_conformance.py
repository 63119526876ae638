"""Chunks and lists by themselves, told and as they are kept, as tests: see `conformance`."""

from __future__ import annotations

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Compression
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.upload_state import Append
from tests.conftest import RandomBytes
from tests.store.conformance import CHUNK_SIZE, Reopen, Suite, cut, name_of, put
from tests.store.pack_conformance import known, list_of, put_chunks, refer
from tests.store.rows import ListDamage, Rows
from tests.store.upload_conformance import apply, begin


async def kept(store: Store, manifest: Manifest) -> bytes:
    """Return a content by its chunks as they are kept, as one who fetches them decodes them."""
    whole = ListHasher()
    parts: list[bytes] = []
    start = 0
    while start < manifest.size:
        found = await store.chunks.read_kept(manifest, start, manifest.size, CHUNK_SIZE, whole)
        assert found.start == start
        parts += [record.to_chunk().content for record in found.records]
        start = found.stop
    return b"".join(parts)


class ChunkConformance(Suite):
    """What every backend must pass."""

    async def test_the_sizes_of_chunks_that_are_there(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(2 * CHUNK_SIZE + 3)
        await put(store, "a", content)
        chunks = cut(content)
        asked = [Digest.of(b"other"), *(chunk.digest for chunk in chunks), chunks[0].digest]
        found = await store.chunks.find_sizes(asked)
        assert found == {chunk.digest: chunk.size for chunk in chunks}
        assert await store.chunks.find_sizes([]) == {}
        await rows.mark_damaged()
        assert await store.chunks.find_sizes(asked) == {}

    async def test_a_list_is_told_from_any_chunk_on(
        self, store: Store, random_bytes: RandomBytes
    ) -> None:
        sizes = [1, CHUNK_SIZE, 7, 7, 100, CHUNK_SIZE]
        chunks = [Chunk.of(random_bytes(size)) for size in sizes]
        content = b"".join(chunk.content for chunk in chunks)
        manifest = (await put_chunks(store, "a", [chunks[:3], chunks[3:]], content)).file.manifest
        for most in (1, 2, 6, 10_000):
            assert await list_of(store, manifest, most) == known(chunks)
        start = 0
        for number, chunk in enumerate(chunks):
            for inside in {start, start + chunk.size - 1}:
                found = await store.chunks.entries(manifest, inside, 2)
                assert list(found) == known(chunks[number : number + 2])
            start += chunk.size
        for outside in (-1, manifest.size + 1):
            with pytest.raises(ValueError, match="range"):
                await store.chunks.entries(manifest, outside, 1)

    async def test_the_list_of_an_upload_is_told_as_far_as_it_is_confirmed(
        self, store: Store, random_bytes: RandomBytes
    ) -> None:
        chunks = cut(random_bytes(4 * CHUNK_SIZE))
        upload_id = await begin(store)
        upload = await refer(store, upload_id, chunks[:2])
        await apply(store, upload_id, Append(upload.epoch, upload.offset, chunks[2:], None))
        upload = await store.uploads.get(upload_id)
        assert upload.chunks is not None
        assert list(await store.chunks.entries(upload.chunks, 0, 9)) == known(chunks[:2])
        found = await store.chunks.read_kept(upload.chunks, 0, 2 * CHUNK_SIZE, 9 * CHUNK_SIZE)
        assert [record.digest for record in found.records] == [one.digest for one in chunks[:2]]

    async def test_tiny_chunks_are_read_few_at_once(self, store: Store) -> None:
        chunks = [Chunk.of(bytes([number % 251])) for number in range(CHUNK_SIZE)]
        content = b"".join(chunk.content for chunk in chunks)
        manifest = (await put_chunks(store, "a", [chunks], content)).file.manifest
        hasher, read = ListHasher(), b""
        while len(read) < len(content):
            part = await store.contents.read(manifest, len(read), len(content), CHUNK_SIZE, hasher)
            assert 0 < len(part) <= CHUNK_SIZE // 32
            found = await store.chunks.read_kept(manifest, len(read), len(content), CHUNK_SIZE)
            assert b"".join(record.to_chunk().content for record in found.records) == part
            read += part
        assert read == content
        assert hasher.proves(manifest)
        assert await store.contents.read(manifest, 0, len(content)) == content

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(start=st.integers(0, 400), length=st.integers(0, 400), most=st.integers(1, 300))
    async def test_chunks_are_told_as_they_are_kept(
        self, store: Store, start: int, length: int, most: int
    ) -> None:
        sizes = [1, 100, 7, 50, 100, 90]
        chunks = [Chunk.of(bytes([number]) * size) for number, size in enumerate(sizes)]
        content = b"".join(chunk.content for chunk in chunks)
        manifest = (await put_chunks(store, "a", [chunks], content)).file.manifest
        start = min(start, len(content))
        stop = min(start + length, len(content))
        found = await store.chunks.read_kept(manifest, start, stop, most)
        starts = [sum(sizes[:number]) for number in range(len(sizes))]
        places = list(zip(starts, chunks, strict=True))
        hit = [(at, one) for at, one in places if at < stop and at + one.size > start]
        if start == stop:
            hit = []
        assert len(found.records) <= len(hit)
        assert bool(found.records) == bool(hit)
        hit = hit[: len(found.records)]
        assert [record.to_chunk() for record in found.records] == [one for _, one in hit]
        assert found.start == (hit[0][0] if hit else start)
        assert found.stop == found.start + sum(one.size for _, one in hit)
        if found.stop < stop:
            reached = next(at + one.size for at, one in places if at + one.size > found.stop)
            assert reached > start + most

    async def test_they_are_not_decoded(
        self, reopen: Reopen, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        store = await reopen(Compression(1))
        content = b"compressible" * 1000 + random_bytes(CHUNK_SIZE)
        manifest = (await put(store, "a", content)).file.manifest
        found = await store.chunks.read_kept(manifest, 0, manifest.size, manifest.size)
        stored = await rows.chunks()
        for record in found.records:
            row = stored[record.digest.raw]
            assert (record.encoded.codec, record.encoded.content) == (row.codec, row.bytes)
        assert {record.encoded.codec for record in found.records} == {0, 1}
        assert await kept(store, manifest) == content

    async def test_who_decodes_them_finds_damage(self, store: Store, rows: Rows) -> None:
        content = b"x" * CHUNK_SIZE + b"end"
        manifest = (await put(store, "a", content)).file.manifest
        await rows.set_bytes(blake3(b"end").digest(), b"END")
        found = await store.chunks.read_kept(manifest, 0, manifest.size, manifest.size)
        with pytest.raises(ValueError, match="digest"):
            found.records[1].to_chunk()

    @pytest.mark.parametrize("how", ["lost", "too short", "too long", "codec"])
    async def test_bytes_that_cannot_be_a_chunk_are_not_told(
        self, store: Store, rows: Rows, how: str
    ) -> None:
        content = b"x" * CHUNK_SIZE + b"end"
        manifest = (await put(store, "a", content)).file.manifest
        digest = blake3(b"end").digest()
        match how:
            case "lost":
                await rows.lose_bytes(digest)
            case "too short":
                await rows.set_bytes(digest, b"EN")
            case "too long":
                await rows.set_bytes(digest, b"ENDE")
            case "codec":
                await rows.set_codec(digest, 9)
        with pytest.raises(StoreDamaged):
            await store.chunks.read_kept(manifest, 0, manifest.size, manifest.size)
        assert Digest(digest) not in await store.chunks.find_sizes([Digest(digest)])
        # The next upload of it repairs it.
        await put(store, "b", b"end")
        assert await kept(store, manifest) == content

    @pytest.mark.parametrize("damage", ListDamage)
    async def test_a_damaged_list_is_told_by_nobody(
        self, store: Store, rows: Rows, random_bytes: RandomBytes, damage: ListDamage
    ) -> None:
        content = random_bytes(2 * CHUNK_SIZE + 3)
        manifest = (await put(store, "a", content)).file.manifest
        assert await store.chunks.find_equal(manifest.list_digest, []) in (None, manifest.digest)
        await rows.break_list(damage)
        if damage is not ListDamage.WRONG_SIZE and damage is not ListDamage.WRONG_LIST:
            for call in (list_of(store, manifest, 9), kept(store, manifest)):
                with pytest.raises(StoreDamaged):
                    await call
        if self.shares_manifests or damage not in (ListDamage.WRONG_SIZE, ListDamage.WRONG_LIST):
            assert await store.chunks.find_equal(manifest.list_digest, [name_of("a")]) is None

    async def test_an_equal_list_tells_the_digest(
        self, store: Store, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(2 * CHUNK_SIZE + 3)
        manifest = (await put(store, "a", content)).file.manifest
        await put(store, "b", b"other")
        names = [name_of("none"), name_of("b"), name_of("a")]
        find = store.chunks.find_equal
        assert await find(manifest.list_digest, names) == Digest.of(content)
        assert await find(Digest.of(b"another list"), names) is None
        found = await find(manifest.list_digest, names[:2])
        assert found == (Digest.of(content) if self.shares_manifests else None)
