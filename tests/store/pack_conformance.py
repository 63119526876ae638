"""What sends and fetches only what is missing, as tests: see `conformance`.

Chunks that are known, and packs that an upload holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Final

import pytest

from chunkstore.core.chunking import AnyChunk, Chunk, KnownChunk, size_of
from chunkstore.core.compression import Codec, Compression, Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ChunksMissing,
    ChunkstoreError,
    Forbidden,
    NotFound,
    TooLarge,
    TooMuchUnfinished,
    UploadCompleted,
    UploadSuperseded,
)
from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Delete, Put, Received
from chunkstore.store.contract.resumable import Failure, ResumableUpload, UploadSpec
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.upload_state import Acquire, Append, AppendLast, Fail, Progress
from chunkstore.store.contract.upload_state import Delete as DeleteUpload
from chunkstore.store.contract.values import Committed
from tests.backends import Backend
from tests.conftest import RandomBytes
from tests.store.conformance import CHUNK_SIZE, Reopen, Suite, cut, get, name_of, put
from tests.store.edits import get_file
from tests.store.rows import Rows
from tests.store.upload_conformance import (
    FILE,
    PART,
    acquire,
    apply,
    begin,
    complete,
    concatenation,
    delete,
    fail,
    later,
    sum_of,
    unfinished,
)

# What a chunk that is only referred to counts for.
_ROW: Final = 64


def known(chunks: Sequence[AnyChunk]) -> list[KnownChunk]:
    """Return chunks without their bytes."""
    return [KnownChunk(chunk.digest, chunk.size) for chunk in chunks]


async def put_chunks(
    store: Store, name: str, batches: Sequence[Sequence[AnyChunk]], content: bytes
) -> Committed:
    """Put a file, all batches but the last appended before."""
    upload = store.contents.begin()
    try:
        for batch in batches[:-1]:
            await upload.append(batch)
        received = Received(upload, batches[-1], Digest.of(content), len(content))
        [committed] = await store.names.apply([Put(name_of(name), received, "text/plain")])
    finally:
        await upload.abort()
    return committed


async def hold(
    store: Store,
    upload_id: str,
    chunks: Sequence[Chunk],
    *,
    appended: int = 0,
    max_unfinished: int | None = None,
) -> ResumableUpload:
    """Send a pack, its first `appended` chunks in a batch of their own."""
    pack = store.contents.begin()
    try:
        if appended:
            await pack.append(chunks[:appended])
        return await store.uploads.hold(upload_id, pack, chunks[appended:], later(), max_unfinished)
    finally:
        await pack.abort()


async def held(store: Store, upload_id: str) -> list[Digest]:
    """Return all that an upload holds, page by page."""
    page = await store.uploads.held(upload_id)
    digests = list(page.digests)
    while page.next is not None:
        page = await store.uploads.held(upload_id, page.next)
        digests += page.digests
    return digests


async def refer(
    store: Store, upload_id: str, chunks: Sequence[AnyChunk], *, whole: bool = False
) -> ResumableUpload:
    """Append to an upload's list and confirm it, under a lease of its own."""
    upload = await acquire(store, upload_id)
    offset = upload.offset + size_of(chunks)
    progress = Progress(offset, b"", offset if whole else None, later())
    kind = AppendLast if whole else Append
    return await apply(store, upload_id, kind(upload.epoch, upload.offset, chunks, progress))


async def list_of(store: Store, manifest: Manifest, most: int) -> list[KnownChunk]:
    """Return a whole list, page by page."""
    found: list[KnownChunk] = []
    whole = ListHasher()
    while size_of(found) < manifest.size:
        page = await store.chunks.entries(manifest, size_of(found), most, whole)
        assert 0 < len(page) <= most
        found += page
    assert await store.chunks.entries(manifest, manifest.size, most, whole) == ()
    assert whole.proves(manifest)
    return found


class PackConformance(Suite):
    """What every backend must pass."""

    # Known chunks

    async def test_what_is_known_needs_no_bytes(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(5 * CHUNK_SIZE + 9)
        await put(store, "a", content)
        chunks = known(cut(content))
        for batches in ([chunks], [chunks[:2], chunks[2:]], [chunks, []]):
            committed = await put_chunks(store, "b", batches, content)
            assert (committed.new_chunks, committed.new_size) == (0, 0)
            assert await get(store, "b") == content
        assert await rows.count("chunk") == 6
        assert await rows.broken() == []

    @pytest.mark.parametrize("appended", range(4))
    async def test_known_and_new_chunks_in_one_batch(
        self, store: Store, random_bytes: RandomBytes, appended: int
    ) -> None:
        old, new = cut(random_bytes(3 * CHUNK_SIZE + 5)), cut(random_bytes(3 * CHUNK_SIZE + 7))
        await put(store, "old", b"".join(chunk.content for chunk in old))
        mixed = [each for pair in zip(known(old), new, strict=True) for each in pair]
        content = b"".join(a.content + b.content for a, b in zip(old, new, strict=True))
        size = 2 * appended
        committed = await put_chunks(store, "a", [mixed[:size], mixed[size:]], content)
        assert committed.new_chunks == 4
        assert await get(store, "a") == content

    @pytest.mark.parametrize("why", ["never there", "damaged", "another size", "collected"])
    async def test_what_is_missing_is_told_and_nothing_is_changed(
        self, store: Store, rows: Rows, random_bytes: RandomBytes, why: str
    ) -> None:
        content, extra = random_bytes(3 * CHUNK_SIZE), random_bytes(CHUNK_SIZE)
        chunks = cut(content)
        if why != "never there":
            await put(store, "there", content)
        named = known(chunks)
        match why:
            case "damaged":
                await rows.mark_damaged()
            case "another size":
                named = [KnownChunk(chunk.digest, chunk.size - 1) for chunk in chunks]
            case "collected":
                assert len(await store.chunks.find_sizes([one.digest for one in named])) == 3
                await _remove(store, "there")
        missing = [str(chunk.digest) for chunk in chunks]
        there = await rows.count("chunk"), await rows.count("manifest"), await rows.count("place")
        upload = store.contents.begin()
        with pytest.raises(ChunksMissing) as caught:
            await upload.append([named[0], *named, named[2]])
        assert (caught.value.digests, caught.value.offset) == (missing, None)
        with pytest.raises(ChunksMissing) as caught:
            await put_chunks(store, "a", [[Chunk.of(b"little"), *named]], content)
        assert (caught.value.digests, caught.value.edit) == (missing, 0)
        upload_id = await begin(store)
        await refer(store, upload_id, cut(extra))
        with pytest.raises(ChunksMissing) as caught:
            await refer(store, upload_id, named, whole=True)
        assert (caught.value.digests, caught.value.offset) == (missing, CHUNK_SIZE)
        assert (await store.uploads.get(upload_id)).offset == CHUNK_SIZE
        await upload.abort()
        await delete(store, upload_id)
        await collect_all(store.maintenance, 0)
        now = await rows.count("chunk"), await rows.count("manifest"), await rows.count("place")
        assert now == there
        assert await store.names.find(name_of("a")) is None

    async def test_an_upload_goes_on_after_chunks_were_missing(
        self, store: Store, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(9 * CHUNK_SIZE)
        chunks = cut(content)
        upload = store.contents.begin()
        for start in range(0, 9, 3):
            last = known(chunks[start + 2 : start + 3])
            mixed: list[AnyChunk] = [*chunks[start : start + 2], *last]
            with pytest.raises(ChunksMissing):
                await upload.append(mixed)
            await upload.append(chunks[start : start + 3])
        received = Received(upload, [], Digest.of(content), len(content))
        await store.names.apply([Put(name_of("a"), received, "text/plain")])
        assert await get(store, "a") == content

    async def test_so_does_a_resumable_one(
        self, store: Store, random_bytes: RandomBytes, rows: Rows
    ) -> None:
        content = random_bytes(9 * CHUNK_SIZE)
        chunks = cut(content)
        upload_id = await begin(store)
        appending = store.uploads.appending(await acquire(store, upload_id))
        epoch = (await store.uploads.get(upload_id)).epoch
        try:
            for start in range(0, 9, 3):
                progress = Progress((start + 3) * CHUNK_SIZE, b"", None, later())
                batch = chunks[start : start + 3]
                mixed: list[AnyChunk] = [*batch[:2], *known(batch[2:])]
                append = Append(epoch, start * CHUNK_SIZE, mixed, progress)
                prepared = await appending.prepare(mixed)
                with pytest.raises(ChunksMissing):
                    await appending.append(append, prepared)
                append = Append(epoch, start * CHUNK_SIZE, batch, progress)
                await appending.append(append, await appending.prepare(batch))
            await appending.settle()
            end = Progress(len(content), b"", len(content), later())
            last = AppendLast(epoch, len(content), [], end)
            await appending.append(last, await appending.prepare([]))
        finally:
            await appending.close()
        await complete(store, upload_id, content)
        assert await get(store, "a") == content
        await collect_all(store.maintenance, 0)
        assert await rows.unused() == []

    async def test_an_older_lease_is_told_of_that_first(self, store: Store) -> None:
        upload_id = await begin(store)
        older = await acquire(store, upload_id)
        await acquire(store, upload_id)
        progress = Progress(5, b"", None, later())
        missing = [KnownChunk(Digest.of(b"x"), 5)]
        with pytest.raises(UploadSuperseded):
            await store.uploads.apply(upload_id, Append(older.epoch, 0, missing, progress))

    async def test_many_known_chunks_of_any_size(self, store: Store) -> None:
        chunks = [Chunk.of(str(number).encode()) for number in range(4096)]
        content = b"".join(chunk.content for chunk in chunks)
        await put_chunks(store, "a", [chunks[:2048], chunks[2048:]], content)
        upload_id = await begin(store)
        await refer(store, upload_id, known(chunks))
        await refer(store, upload_id, known(chunks[::-1]), whole=True)
        content += b"".join(chunk.content for chunk in chunks[::-1])
        await complete(store, upload_id, content)
        manifest = (await get_file(store, name_of("a"))).manifest
        assert await store.contents.read(manifest, 0, manifest.size) == content
        assert await list_of(store, manifest, 3000) == known([*chunks, *chunks[::-1]])

    async def test_known_chunks_may_be_larger_than_new_ones(
        self, backend: Backend, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(5 * CHUNK_SIZE)
        chunks = known([Chunk.of(content[: 4 * CHUNK_SIZE]), Chunk.of(content[4 * CHUNK_SIZE :])])
        store = await backend.open(chunk_size=4 * CHUNK_SIZE)
        await put_chunks(store, "old", [[Chunk.of(content[: 4 * CHUNK_SIZE])]], content)
        await put_chunks(store, "old2", [[Chunk.of(content[4 * CHUNK_SIZE :])]], content)
        await store.close()
        store = await backend.open(chunk_size=CHUNK_SIZE)
        try:
            committed = await put_chunks(store, "a", [chunks[:1], chunks[1:]], content)
            assert committed.file.manifest.chunk_size == 4 * CHUNK_SIZE
            upload_id = await begin(store, FILE)
            upload = await refer(store, upload_id, chunks[1:])
            assert upload.chunks is not None
            assert upload.chunks.chunk_size == CHUNK_SIZE
            upload = await refer(store, upload_id, chunks[:1], whole=True)
            assert upload.chunks is not None
            assert upload.chunks.chunk_size == 4 * CHUNK_SIZE
            content = content[4 * CHUNK_SIZE :] + content[: 4 * CHUNK_SIZE]
            committed = await complete(store, upload_id, content)
            assert committed.file.manifest.chunk_size == 4 * CHUNK_SIZE
            assert await get(store, "a") == content
            assert await rows.broken() == []
        finally:
            await store.close()

    # Packs

    @pytest.mark.parametrize("appended", [0, 1, 4])
    async def test_what_is_held_stays_until_the_upload_is_complete(
        self, reopen: Reopen, rows: Rows, random_bytes: RandomBytes, appended: int
    ) -> None:
        store = await reopen()
        content = random_bytes(3 * CHUNK_SIZE + 5)
        chunks = cut(content)
        upload_id = await begin(store)
        before = await store.uploads.get(upload_id)
        upload = await hold(store, upload_id, chunks, appended=appended)
        assert upload == await store.uploads.get(upload_id)
        assert (upload.offset, upload.epoch) == (0, before.epoch)
        assert upload.expires >= before.expires
        for _ in range(2):
            await collect_all(store.maintenance, 0)
            store = await reopen()
        assert set(await held(store, upload_id)) == {chunk.digest for chunk in chunks}
        assert await rows.count("chunk") == 4
        await refer(store, upload_id, known(chunks[:2]))
        await refer(store, upload_id, known(chunks[2:]), whole=True)
        committed = await complete(store, upload_id, content)
        assert (committed.new_chunks, committed.new_size) == (4, len(content))
        assert await held(store, upload_id) == []
        await collect_all(store.maintenance, 0)
        assert await get(store, "a") == content
        assert await rows.count("manifest") == 1
        assert await rows.broken() == await rows.unused() == []

    async def test_packs_come_in_any_order_and_at_once(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(24 * CHUNK_SIZE)
        chunks = cut(content)
        upload_id = await begin(store)
        lease = await acquire(store, upload_id)
        await asyncio.gather(
            *(
                hold(store, upload_id, chunks[start::8] + chunks[:2], appended=start % 3)
                for start in range(8)
            ),
            collect_all(store.maintenance, 0),
        )
        assert set(await held(store, upload_id)) == {chunk.digest for chunk in chunks}
        # Nobody lost the lease by that.
        progress = Progress(len(content), b"", len(content), later())
        await apply(store, upload_id, AppendLast(lease.epoch, 0, known(chunks), progress))
        committed = await complete(store, upload_id, content)
        assert await get(store, "a") == content
        assert committed.new_chunks == 24
        await collect_all(store.maintenance, 0)
        assert await rows.broken() == await rows.unused() == []

    async def test_a_pack_of_many_chunks_is_told_in_pages(self, store: Store) -> None:
        chunks = [Chunk.of(str(number).encode()) for number in range(4500)]
        upload_id = await begin(store)
        assert await held(store, upload_id) == await held(store, "none") == []
        for start in range(0, 4500, 1500):
            await hold(store, upload_id, chunks[start : start + 1500], appended=700)
        found = await held(store, upload_id)
        assert len(found) == 4500
        assert set(found) == {chunk.digest for chunk in chunks}

    @pytest.mark.parametrize(
        ("how", "error"),
        [
            ("whole", UploadCompleted),
            ("complete", UploadCompleted),
            ("failed", TooLarge),
            ("deleted", NotFound),
            ("expired", NotFound),
            ("a concatenation", Forbidden),
        ],
    )
    async def test_what_takes_no_bytes_holds_no_pack(
        self,
        store: Store,
        rows: Rows,
        random_bytes: RandomBytes,
        how: str,
        error: type[ChunkstoreError],
    ) -> None:
        spec: UploadSpec = FILE
        if how == "a concatenation":
            spec = concatenation([await begin(store, PART)])
        upload_id = await begin(store, spec)
        await _bring_to(store, rows, upload_id, how)
        for appended in (0, 2):
            with pytest.raises(error):
                await hold(store, upload_id, cut(random_bytes(3 * CHUNK_SIZE)), appended=appended)
        assert await held(store, upload_id) == []
        for row in await rows.uploads():
            await delete(store, row.id)
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
        assert await rows.count("upload_pack") == 0
        assert await rows.count("chunk") == (1 if how == "complete" else 0)

    async def test_a_pack_is_held_once(self, store: Store, random_bytes: RandomBytes) -> None:
        content = random_bytes(2 * CHUNK_SIZE)
        pack = store.contents.begin()
        await pack.append(cut(content))
        first, second = await begin(store), await begin(store)
        await store.uploads.hold(first, pack, [], later())
        with pytest.raises(NotFound):
            await store.uploads.hold(second, pack, [], later())
        received = Received(pack, [], Digest.of(content), len(content))
        with pytest.raises(NotFound):
            await store.names.apply([Put(name_of("a"), received, "text/plain")])
        await pack.abort()
        await collect_all(store.maintenance, 0)
        assert len(await held(store, first)) == 2

    @pytest.mark.parametrize("how", ["complete", "failed", "deleted", "expired"])
    async def test_what_ends_an_upload_lets_its_packs_go(
        self, store: Store, rows: Rows, random_bytes: RandomBytes, how: str
    ) -> None:
        upload_id = await begin(store)
        for appended in (0, 2):
            await hold(store, upload_id, cut(random_bytes(3 * CHUNK_SIZE)), appended=appended)
        if how == "expired":
            await rows.expire_uploads()
            would = await collect_all(store.maintenance, 0, dry_run=True)
            assert would == await collect_all(store.maintenance, 0)
            assert (would.manifests, would.chunks) == (3, 6)
        else:
            await _bring_to(store, rows, upload_id, how)
        assert await rows.count("upload_pack") == 0
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
        assert await rows.count("chunk") == (1 if how == "complete" else 0)
        assert await rows.count("place") == await rows.count("chunk")
        assert await rows.broken() == []

    async def test_a_pack_that_nobody_held_leaves_nothing(
        self, reopen: Reopen, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        store = await reopen()
        upload_id = await begin(store)
        for aborted in (True, False):
            pack = store.contents.begin()
            await pack.append(cut(random_bytes(5 * CHUNK_SIZE)))
            if aborted:
                await pack.abort()
        store = await reopen()
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
        assert await rows.count("chunk") == await rows.count("place") == 0
        assert await rows.count("manifest") == await rows.count("upload") == 1
        assert await held(store, upload_id) == []

    async def test_what_counts_among_the_unfinished(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        content = random_bytes(3 * CHUNK_SIZE)
        chunks = cut(content)
        await put(store, "known", content)
        upload_id = await begin(store)

        async def extent() -> int:
            [row] = await rows.uploads()
            assert await unfinished(rows) == sum_of([row])
            return row.extent

        # What was known counts for its places.
        await refer(store, upload_id, known(chunks * 3))
        assert await extent() == CHUNK_SIZE
        await refer(store, upload_id, known(chunks * 20))
        assert await extent() == 69 * _ROW
        # A pack counts whole, and for its rows, whether its chunks were known or not.
        pack = cut(random_bytes(2 * CHUNK_SIZE)) + chunks[:1]
        await hold(store, upload_id, pack, appended=1)
        sent = 3 * CHUNK_SIZE + 4 * _ROW
        assert await extent() == 69 * _ROW + sent
        await refer(store, upload_id, known(pack))
        assert await extent() == 72 * _ROW + sent
        await refer(store, upload_id, cut(random_bytes(CHUNK_SIZE)))
        assert await extent() == 72 * _ROW + sent + CHUNK_SIZE
        assert await extent() == 72 * _ROW + sent + CHUNK_SIZE
        await acquire(store, upload_id)
        assert await extent() == 72 * _ROW + sent + CHUNK_SIZE

    async def test_packs_are_bounded(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        upload_id = await begin(store)
        chunks = cut(random_bytes(3 * CHUNK_SIZE))
        limit = 8 * CHUNK_SIZE
        await hold(store, upload_id, chunks, max_unfinished=limit)
        before = await store.uploads.get(upload_id)
        for appended in (0, 2):
            again = cut(random_bytes(5 * CHUNK_SIZE))
            with pytest.raises(TooMuchUnfinished):
                await hold(store, upload_id, again, appended=appended, max_unfinished=limit)
        assert await store.uploads.get(upload_id) == before
        assert set(await held(store, upload_id)) == {chunk.digest for chunk in chunks}
        # What was refused can be held yet.
        pack = store.contents.begin()
        await pack.append(again)
        with pytest.raises(TooMuchUnfinished):
            await store.uploads.hold(upload_id, pack, [], later(), limit)
        await store.uploads.hold(upload_id, pack, [], later())
        assert len(await held(store, upload_id)) == 8
        # Small ones are bounded by their rows.
        small = (
            hold(store, upload_id, [Chunk.of(bytes([number]))], max_unfinished=limit)
            for number in range(limit // _ROW)
        )
        with pytest.raises(TooMuchUnfinished):
            await _one_by_one(small)

    async def test_a_pack_is_held_or_not_when_the_upload_ends_at_the_same_moment(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        for turn in range(8):
            upload_id = await begin(store)
            packs = (
                hold(store, upload_id, cut(random_bytes(3 * CHUNK_SIZE)), appended=number % 3)
                for number in range(4)
            )
            end = DeleteUpload() if turn % 2 else Fail(Failure("too-large", ""))
            ended = store.uploads.apply(upload_id, end)
            for outcome in await asyncio.gather(*packs, ended, return_exceptions=True):
                assert isinstance(outcome, ResumableUpload | NotFound | TooLarge), outcome
            assert await rows.count("upload_pack") == 0
            assert await unfinished(rows) == sum_of(await rows.uploads())
        for row in await rows.uploads():
            await delete(store, row.id)
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
        assert await rows.count("manifest") == await rows.count("chunk") == 0

    async def test_a_pack_is_held_whole_or_not_when_the_call_is_cancelled(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        upload_id = await begin(store)
        for steps in range(0, 60, 3):
            chunks = cut(random_bytes(3 * CHUNK_SIZE))
            before = len(await held(store, upload_id))
            call = asyncio.create_task(hold(store, upload_id, chunks, appended=steps % 4))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            await collect_all(store.maintenance, 0)
            # Whether it takes effect is known once what was begun has ended.
            await apply(store, upload_id, Acquire())
            after = await held(store, upload_id)
            assert len(after) in (before, before + 3)
            assert await unfinished(rows) == sum_of(await rows.uploads())
            there = await store.chunks.find_sizes(after)
            assert there.keys() == set(after)
        await delete(store, upload_id)
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
        assert await rows.count("manifest") == await rows.count("chunk") == 0

    async def test_packs_and_lists_beside_collections(
        self, store: Store, rows: Rows, random_bytes: RandomBytes
    ) -> None:
        contents = [random_bytes(6 * CHUNK_SIZE) for _ in range(3)]
        stop = asyncio.Event()

        async def collect() -> None:
            while not stop.is_set():
                await collect_all(store.maintenance, 0)
                await asyncio.sleep(0)

        async def send(number: int) -> None:
            content = contents[number % 3]
            chunks = cut(content)
            upload_id = await begin(store, UploadSpec(FILE.kind, name_of(f"f{number}"), ""))
            missing = {chunk.digest for chunk in chunks}
            missing -= (await store.chunks.find_sizes(list(missing))).keys()
            while True:
                new = [chunk for chunk in chunks if chunk.digest in missing]
                await asyncio.gather(
                    hold(store, upload_id, new[::2]), hold(store, upload_id, new[1::2], appended=1)
                )
                try:
                    await refer(store, upload_id, known(chunks), whole=True)
                    break
                except ChunksMissing as error:
                    missing = {Digest.parse(digest) for digest in error.digests}
                    assert missing
            await complete(store, upload_id, content)
            assert await get(store, f"f{number}") == content
            await _remove(store, f"f{number}")

        collecting = asyncio.create_task(collect())
        for first in range(0, 12, 4):
            await asyncio.gather(*(send(first + number) for number in range(4)))
        stop.set()
        await collecting
        await collect_all(store.maintenance, 0)
        await collect_all(store.maintenance, 0)
        assert await rows.count("chunk") == await rows.count("upload_pack") == 0
        assert await rows.broken() == []

    async def test_what_came_compressed_is_kept_as_it_came(
        self, reopen: Reopen, rows: Rows
    ) -> None:
        content = b"".join(str(number).encode() for number in range(1000))
        came = Encoded(Codec.ZSTD, Compression(19).encode(content).content)
        assert came != Compression(1).encode(content)
        for compression in (Compression(None), Compression(1)):
            store = await reopen(compression)
            for appended in (0, 1):
                upload_id = await begin(store)
                chunk = Chunk(Digest.of(content), content, came)
                await hold(store, upload_id, [chunk], appended=appended)
                [row] = (await rows.chunks()).values()
                assert (row.codec, row.bytes, row.size) == (1, came.content, len(content))
                await delete(store, upload_id)
                await collect_all(store.maintenance, 0)
                await collect_all(store.maintenance, 0)

    async def test_an_upload_keeps_its_bases_and_how_it_is_cut(self, reopen: Reopen) -> None:
        store = await reopen()
        bases = (name_of("é/a"), name_of('"'))
        spec = UploadSpec(FILE.kind, FILE.target, "", bases=bases, chunking="fastcdc", owner="a1")
        begun = await store.uploads.create(spec, None, later())
        store = await reopen()
        found = await store.uploads.get(begun.id)
        assert (found.spec.bases, found.spec.chunking) == (bases, "fastcdc")
        assert found.spec.owner == "a1"
        await hold(store, begun.id, cut(b"x"))
        assert (await store.uploads.get(begun.id)).spec == found.spec


async def _remove(store: Store, name: str) -> None:
    """Delete a file and all that nothing needs then."""
    await store.names.apply([Delete(name_of(name))])
    await collect_all(store.maintenance, 0)
    await collect_all(store.maintenance, 0)


async def _one_by_one(calls: Iterable[Awaitable[object]]) -> None:
    for call in calls:
        await call


async def _bring_to(store: Store, rows: Rows, upload_id: str, how: str) -> None:
    """Bring an upload that takes bytes to where it takes none."""
    match how:
        case "whole" | "complete":
            content = b"w" * CHUNK_SIZE
            await refer(store, upload_id, cut(content), whole=True)
            if how == "complete":
                await complete(store, upload_id, content)
        case "failed":
            await fail(store, upload_id, Failure("too-large", ""))
        case "deleted":
            await delete(store, upload_id)
        case "expired":
            await rows.expire_uploads(upload_id)
            await collect_all(store.maintenance, 0)
