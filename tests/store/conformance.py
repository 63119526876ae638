"""The store contract as tests. Each backend's test file says only which it is.

The suite plants and reads rows by raw SQL as well (`tests.store.rows`), so that one mistake cannot
hide on both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import ClassVar, Protocol

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.chunkers import FixedChunker
from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import DEFAULT_COMPRESSION, NO_COMPRESSION, Codec, Compression
from chunkstore.core.conditional import (
    CREATE_ONLY,
    UNCONDITIONAL,
    Conditions,
    EntityTag,
    EntityTags,
)
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    AlreadyExists,
    Forbidden,
    InvalidName,
    NameConflict,
    NotFound,
    PreconditionFailed,
    StoreDamaged,
)
from chunkstore.core.names import FileName, FolderName, parse_file_name
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.maintenance.scrub import scrub_all
from chunkstore.store.contract.edits import Put
from chunkstore.store.contract.reports import Collected, Damage, Scrubbed
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import Committed
from tests.backends import CHUNK_SIZE as CHUNK_SIZE
from tests.backends import Backend
from tests.store.edits import copy, delete, folder_exists, get_file, make_folder, move, put_of
from tests.store.rows import ListDamage, Rows, StoredChunk

SIZES = [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE, 5 * CHUNK_SIZE + 17]
ODD_NAMES = [
    " ", "!", "%", "%2F", "'", '"', "*", "+", "-", "?", "\\", "_", "a", "a b", "a'--", "aa",
    "a%", "a_", "b", "é", "ß", "ÿ", "߿", "ࠀ", "中文",
    "\ud7ff", "\ue000", "\uffff", "😀", "\U0010ffff",
]  # fmt: skip


class Reopen(Protocol):
    """Closes the store and opens it anew, by default so that rows hold chunks as they are."""

    def __call__(self, compression: Compression = NO_COMPRESSION) -> Awaitable[Store]: ...


def name_of(text: str) -> FileName:
    return parse_file_name(text)


def etag(content: bytes) -> EntityTags:
    return EntityTags(frozenset({EntityTag(blake3(content).hexdigest())}))


def cut(content: bytes) -> list[Chunk]:
    chunker = FixedChunker(CHUNK_SIZE)
    return [Chunk.of(chunk) for chunk in chunker.feed(content) + chunker.finish()]


async def put(
    store: Store,
    name: str,
    content: bytes,
    conditions: Conditions = UNCONDITIONAL,
    *,
    appended: int = 0,
) -> Committed:
    """Put a file, its first `appended` chunks in a batch of their own."""
    upload = store.contents.begin()
    chunks = cut(content)
    try:
        if appended:
            await upload.append(chunks[:appended])
        [committed] = await store.names.apply(
            [
                put_of(
                    upload=upload,
                    last=chunks[appended:],
                    digest=Digest.of(content),
                    size=len(content),
                    name=name_of(name),
                    media_type="text/plain",
                    conditions=conditions,
                )
            ]
        )
    finally:
        await upload.abort()
    return committed


def whole_put(
    store: Store, name: str, content: bytes, conditions: Conditions = UNCONDITIONAL
) -> Put:
    """Return the edit that puts a file of which nothing was appended before."""
    upload, digest = store.contents.begin(), Digest.of(content)
    return put_of(
        upload, cut(content), digest, len(content), name_of(name), "text/plain", conditions
    )


async def get(store: Store, name: str) -> bytes:
    """Return a file's content, read window by window."""
    manifest = (await get_file(store, name_of(name))).manifest
    window = 2 * CHUNK_SIZE + 5
    parts = [
        await store.contents.read(manifest, start, min(start + window, manifest.size))
        for start in range(0, manifest.size, window)
    ]
    return b"".join(parts)


async def names(store: Store, prefix: str = "", **options: str | int) -> list[str]:
    """Return all entries of a list, in pages."""
    found: list[str] = []
    after = None
    while True:
        page = await store.names.list(prefix, after=after, **options)  # type: ignore[arg-type]
        found += sorted([*page.folders, *(file.name for file in page.files)])
        after = page.next
        if after is None:
            return found
        assert after == found[-1]


async def scrub(store: Store) -> list[Scrubbed]:
    return [step async for step in store.maintenance.scrub()]


class Suite:
    """The fixtures of all suites. A subclass is run on its `backend`, and says how that differs."""

    shares_manifests: ClassVar[bool]
    """Whether equal contents have one manifest. Their chunks are shared always."""
    keeps_apart: ClassVar[bool] = False
    """Whether no row tells of what is appended before the upload ends."""

    @pytest.fixture
    async def reopen(self, backend: Backend) -> AsyncIterator[Reopen]:
        """Return what closes the store, if it is open, and opens it again, at first empty."""
        opened: list[Store] = []

        async def reopen(compression: Compression = NO_COMPRESSION) -> Store:
            while opened:
                await opened.pop().close()
            opened.append(await backend.open(compression=compression))
            return opened[0]

        yield reopen
        for store in opened:
            await store.close()

    @pytest.fixture
    async def store(self, reopen: Reopen) -> Store:
        return await reopen()

    def manifests(self, puts: int) -> int:
        """Return how many manifests there are once a content has been put so often."""
        return 1 if self.shares_manifests else puts


class StoreConformance(Suite):
    """What every backend must pass."""

    # Contents

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("appended", [0, 1])
    async def test_content_comes_back(
        self, store: Store, random_bytes: Callable[[int], bytes], size: int, appended: int
    ) -> None:
        content = random_bytes(size)
        committed = await put(store, "a", content, appended=appended)
        assert await get(store, "a") == content
        assert committed.file.manifest.size == size
        assert str(committed.file.manifest.digest) == blake3(content).hexdigest()
        assert committed.new_chunks == committed.file.manifest.chunk_count == -(-size // CHUNK_SIZE)
        assert committed.new_size == size
        assert not committed.replaced

    @settings(
        max_examples=50,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    async def test_any_range_is_the_slice(
        self, store: Store, random_bytes: Callable[[int], bytes], data: st.DataObject
    ) -> None:
        content = random_bytes(data.draw(st.sampled_from(SIZES)))
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, len(content)))
        file = (await put(store, "a", content)).file
        assert await store.contents.read(file.manifest, start, stop) == content[start:stop]

    async def test_rows_are_what_the_design_says(self, store: Store, rows: Rows) -> None:
        chunk, other = b"x" * CHUNK_SIZE, b"y" * 10
        await put(store, "a", chunk * 2 + other)
        await put(store, "b", chunk + other)
        first, last = blake3(chunk).digest(), blake3(other).digest()
        assert await rows.chunks() == {
            first: StoredChunk(CHUNK_SIZE, CHUNK_SIZE, Codec.IDENTITY, chunk),
            last: StoredChunk(len(other), len(other), Codec.IDENTITY, other),
        }
        places = await rows.places(await rows.manifest_of("a"))
        assert places == [(0, first), (CHUNK_SIZE, first), (2 * CHUNK_SIZE, last)]
        assert await rows.broken() == await rows.unused() == []

    async def test_planted_rows_are_read(self, store: Store, rows: Rows) -> None:
        content = b"planted" * 1000
        parts = [content[:CHUNK_SIZE], content[CHUNK_SIZE:]]
        await rows.plant("p", parts, CHUNK_SIZE, created=1_000_000, modified=2_000_000)
        assert await get(store, "p") == content
        file = await get_file(store, name_of("p"))
        assert file.created == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
        assert file.modified == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)

    async def test_equal_chunks_share_one_row(self, store: Store, rows: Rows) -> None:
        await put(store, "a", b"x" * (10 * CHUNK_SIZE))
        known = await put(store, "b", b"x" * (20 * CHUNK_SIZE))
        assert await rows.count("chunk") == 1
        assert (known.new_chunks, known.new_size) == (0, 0)
        assert await get(store, "b") == b"x" * (20 * CHUNK_SIZE)

    async def test_same_content_again_adds_no_chunk(self, store: Store, rows: Rows) -> None:
        content = b"x" * (3 * CHUNK_SIZE)
        await put(store, "a", content)
        for appended in (0, 2):
            again = await put(store, "b", content, appended=appended)
            assert (again.new_chunks, again.new_size) == (0, 0)
        assert await rows.count("chunk") == 1
        assert await rows.count("manifest") == self.manifests(3)
        assert await rows.count("place") == 3 * self.manifests(3)
        assert await get(store, "b") == content

    async def test_same_content_by_many_at_the_same_moment(
        self, store: Store, rows: Rows, random_bytes: Callable[[int], bytes]
    ) -> None:
        content = random_bytes(8 * CHUNK_SIZE + 1)
        committed = await asyncio.gather(
            *(put(store, f"f{index}", content, appended=index % 5) for index in range(40))
        )
        assert await rows.count("chunk") == 9
        assert await rows.count("manifest") == self.manifests(40)
        assert sum(one.new_chunks for one in committed) == 9
        assert sum(one.new_size for one in committed) == len(content)
        for index in range(40):
            assert await get(store, f"f{index}") == content

    async def test_damage_is_never_returned(self, store: Store, rows: Rows) -> None:
        content = bytes(range(256)) * 64
        file = (await put(store, "a", content)).file
        first = blake3(content[:CHUNK_SIZE]).digest()
        damaged = bytes([content[0] ^ 1]) + content[1:CHUNK_SIZE]
        for planted in (damaged, content[: CHUNK_SIZE - 1], b""):
            await rows.set_bytes(first, planted)
            with pytest.raises(StoreDamaged):
                await store.contents.read(file.manifest, 100, 200)
        await rows.lose_bytes(first)
        with pytest.raises(StoreDamaged):
            await store.contents.read(file.manifest, 0, file.manifest.size)

    # Uploads

    @pytest.mark.parametrize("appended", [0, 40])
    async def test_what_can_be_compressed_is_and_comes_back(
        self, reopen: Reopen, rows: Rows, random_bytes: Callable[[int], bytes], appended: int
    ) -> None:
        store = await reopen(DEFAULT_COMPRESSION)
        noise = random_bytes(20 * CHUNK_SIZE)
        text = b"".join(b"%6d lines of text\n" % line for line in range(5000))
        committed = await put(store, "a", noise + text, appended=appended)
        assert committed.new_size == len(noise + text)
        assert await get(store, "a") == noise + text
        stats = await store.maintenance.stats()
        assert stats.unique_size == len(noise + text)
        assert stats.stored_size < len(noise) + len(text) / 2
        assert stats.deduplication == 1
        assert stats.compression == stats.ratio == stats.unique_size / stats.stored_size
        kept = await rows.chunks()
        for chunk in cut(noise):
            assert kept.pop(chunk.digest.raw) == StoredChunk(
                CHUNK_SIZE, CHUNK_SIZE, Codec.IDENTITY, chunk.content
            )
        assert {chunk.codec for chunk in kept.values()} == {Codec.ZSTD}
        for stored in kept.values():
            assert stored.bytes is not None
            assert len(stored.bytes) == stored.stored_size < stored.size

    async def test_compression_can_change(self, reopen: Reopen, rows: Rows) -> None:
        old, new = bytes(4 * CHUNK_SIZE), b"x" * 4 * CHUNK_SIZE
        await put(await reopen(), "a", old)
        store = await reopen(DEFAULT_COMPRESSION)
        await put(store, "b", old + new)
        for _ in range(2):
            assert [await get(store, name) for name in ("a", "b")] == [old, old + new]
            codecs = {digest: chunk.codec for digest, chunk in (await rows.chunks()).items()}
            assert codecs == {
                blake3(old[:CHUNK_SIZE]).digest(): Codec.IDENTITY,
                blake3(new[:CHUNK_SIZE]).digest(): Codec.ZSTD,
            }
            store = await reopen()

    async def test_damage_of_what_is_compressed_is_never_returned(
        self, reopen: Reopen, rows: Rows
    ) -> None:
        store = await reopen(DEFAULT_COMPRESSION)
        content = b"".join(b"%5d" % number for number in range(CHUNK_SIZE // 5))
        await put(store, "a", content)
        [(digest, stored)] = (await rows.chunks()).items()
        whole = stored.bytes
        assert whole is not None
        for place in range(0, len(whole), 7):
            damaged = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
            await rows.set_bytes(digest, damaged)
            # Of a frame's header a bit may be wrong without changing what it stands for.
            with suppress(StoreDamaged):
                assert await get(store, "a") == content
        assert (await store.maintenance.stats()).damaged == 1
        committed = await put(store, "a", content)
        assert committed.new_chunks == 1
        assert await get(store, "a") == content
        assert (await store.maintenance.stats()).damaged == 0

    async def test_an_upload_is_invisible_until_its_commit(self, store: Store) -> None:
        upload = store.contents.begin()
        await upload.append(cut(b"x" * CHUNK_SIZE))
        assert await store.names.find(name_of("a")) is None
        assert await names(store) == []
        assert (await store.maintenance.stats()).files == 0
        await upload.abort()

    async def test_chunks_are_prepared_while_those_before_are_not_added_yet(
        self, store: Store, random_bytes: Callable[[int], bytes]
    ) -> None:
        first = random_bytes(2 * CHUNK_SIZE)
        content = first + random_bytes(CHUNK_SIZE) + first
        upload = store.contents.begin()
        batches = [cut(first), cut(content)[2:4], cut(content)[4:]]
        stores = [await upload.prepare(batch) for batch in batches]
        assert upload.begun == self.keeps_apart
        for store_batch in stores:
            await store_batch.store()
        assert upload.begun
        commit = put_of(upload, [], Digest.of(content), len(content), name_of("a"), "text/plain")
        [committed] = await store.names.apply([commit])
        assert (committed.new_chunks, committed.new_size) == (3, 3 * CHUNK_SIZE)
        assert await get(store, "a") == content

    async def test_an_aborted_upload_leaves_no_manifest(self, store: Store, rows: Rows) -> None:
        upload = store.contents.begin()
        await upload.append(cut(b"x" * CHUNK_SIZE))
        await upload.abort()
        await upload.abort()
        assert await rows.count("manifest") == await rows.count("place") == 0

    async def test_an_upload_of_a_dead_process_is_forgotten(
        self, reopen: Reopen, rows: Rows
    ) -> None:
        store = await reopen()
        await store.contents.begin().append(cut(b"x" * CHUNK_SIZE))
        assert await rows.count("manifest") == 1 - self.keeps_apart
        await reopen()
        assert await rows.count("manifest") == await rows.count("place") == 0

    @pytest.mark.parametrize("turns", range(12))
    async def test_a_cancelled_put_is_whole_or_nothing(
        self, store: Store, rows: Rows, turns: int
    ) -> None:
        await put(store, "a", b"old")
        new = bytes(range(256)) * 100
        putting = asyncio.create_task(put(store, "a", new, appended=3))
        for _ in range(turns):
            await asyncio.sleep(0)
        putting.cancel()
        await asyncio.wait({putting})
        assert await get(store, "a") in (b"old", new)
        assert await rows.unfinished() == 0
        await put(store, "a", b"newest")
        assert await get(store, "a") == b"newest"

    async def test_a_failed_commit_changes_nothing(self, store: Store, rows: Rows) -> None:
        await put(store, "a", b"old")
        with pytest.raises(PreconditionFailed):
            await put(store, "a", b"new", CREATE_ONLY)
        assert await get(store, "a") == b"old"
        assert await rows.count("manifest") == await rows.count("chunk") == 1

    async def test_commits_together_are_all_or_none(self, store: Store) -> None:
        def commit(name: str, content: bytes) -> Put:
            return put_of(
                upload=store.contents.begin(),
                last=cut(content),
                digest=Digest.of(content),
                size=len(content),
                name=name_of(name),
                media_type="text/plain",
                conditions=CREATE_ONLY,
            )

        await store.names.apply([commit("a", b"1"), commit("b", b"2")])
        with pytest.raises(PreconditionFailed):
            await store.names.apply([commit("c", b"3"), commit("b", b"4")])
        assert await names(store) == ["a", "b"]
        assert await get(store, "b") == b"2"

    async def test_of_one_name_in_a_commit_the_last_content_stays(self, store: Store) -> None:
        committed = await store.names.apply(
            [
                put_of(
                    upload=store.contents.begin(),
                    last=cut(content),
                    digest=Digest.of(content),
                    size=len(content),
                    name=name_of("a"),
                    media_type="text/plain",
                )
                for content in (b"1", b"2", b"3")
            ]
        )
        assert [one.replaced for one in committed] == [False, True, True]
        assert [one.file.manifest.digest for one in committed] == [
            Digest.of(content) for content in (b"1", b"2", b"3")
        ]
        assert await get(store, "a") == b"3"

    # Names and conditions

    async def test_replacing_keeps_the_time_of_creation(self, store: Store) -> None:
        before = datetime.now(UTC) - timedelta(seconds=1)
        first = (await put(store, "a", b"1")).file
        second = await put(store, "a", b"2")
        assert second.replaced
        assert second.file.created == first.created >= before
        assert second.file.modified >= first.modified
        assert await get(store, "a") == b"2"

    async def test_of_100_create_only_puts_one_wins(self, store: Store) -> None:
        contents = [str(index).encode() for index in range(100)]
        results = await asyncio.gather(
            *(put(store, "a", content, CREATE_ONLY) for content in contents),
            return_exceptions=True,
        )
        winners = [index for index, result in enumerate(results) if isinstance(result, Committed)]
        losers = [result for result in results if isinstance(result, PreconditionFailed)]
        assert (len(winners), len(losers)) == (1, 99)
        assert await get(store, "a") == contents[winners[0]]

    async def test_of_100_replacements_of_one_state_one_wins(self, store: Store) -> None:
        await put(store, "a", b"old")
        conditions = Conditions(if_match=etag(b"old"))
        results = await asyncio.gather(
            *(put(store, "a", str(index).encode(), conditions) for index in range(100)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Committed) for result in results) == 1
        assert sum(isinstance(result, PreconditionFailed) for result in results) == 99

    async def test_delete(self, store: Store) -> None:
        await put(store, "a", b"x")
        with pytest.raises(PreconditionFailed):
            await delete(store, name_of("a"), Conditions(if_match=etag(b"y")))
        await delete(store, name_of("a"), Conditions(if_match=etag(b"x")))
        assert await store.names.find(name_of("a")) is None
        with pytest.raises(NotFound):
            await delete(store, name_of("a"))
        with pytest.raises(NotFound):
            await get_file(store, name_of("a"))

    @pytest.mark.parametrize("verb", ["copy", "move"])
    async def test_copy_and_move(self, store: Store, rows: Rows, verb: str) -> None:
        transfer = partial(copy if verb == "copy" else move, store)
        source = (await put(store, "a", b"x")).file
        assert not await transfer(name_of("a"), name_of("d/b"))
        target = await get_file(store, name_of("d/b"))
        assert target.manifest == source.manifest
        assert target.media_type == source.media_type
        assert (await store.names.find(name_of("a")) is not None) == (verb == "copy")
        if verb == "move":
            assert (target.created, target.modified) == (source.created, source.modified)
        assert await rows.count("chunk") == 1

    @pytest.mark.parametrize("verb", ["copy", "move"])
    async def test_copy_and_move_replace_only_if_they_may(self, store: Store, verb: str) -> None:
        transfer = partial(copy if verb == "copy" else move, store)
        await put(store, "a", b"x")
        await put(store, "b", b"y")
        with pytest.raises(AlreadyExists):
            await transfer(name_of("a"), name_of("b"), overwrite=False)
        with pytest.raises(PreconditionFailed):
            await transfer(name_of("a"), name_of("b"), conditions=Conditions(if_match=etag(b"y")))
        with pytest.raises(Forbidden):
            await transfer(name_of("a"), name_of("a"))
        with pytest.raises(NotFound):
            await transfer(name_of("none"), name_of("b"))
        with pytest.raises(NameConflict):
            await transfer(name_of("a"), name_of("b/c"))
        assert await get(store, "b") == b"y"
        assert await transfer(name_of("a"), name_of("b"))
        assert await get(store, "b") == b"x"

    @pytest.mark.parametrize("verb", ["copy", "move"])
    async def test_what_conflicts_is_judged_before_anything_moves(
        self, store: Store, verb: str
    ) -> None:
        transfer = partial(copy if verb == "copy" else move, store)
        await put(store, "a", b"x")
        await put(store, "d/b", b"y")
        for source, target in (("a", "a/b"), ("d/b", "d")):
            with pytest.raises(NameConflict):
                await transfer(name_of(source), name_of(target))
        assert await names(store) == ["a", "d/b"]

    async def test_a_file_and_a_folder_cannot_share_a_name(self, store: Store) -> None:
        await put(store, "a/b", b"x")
        await make_folder(store, FolderName("made/"))
        for name in ("a", "a/b/c", "a/b/c/d", "made"):
            with pytest.raises(NameConflict):
                await put(store, name, b"y")
        with pytest.raises(AlreadyExists):
            await make_folder(store, FolderName("a/b/"))
        with pytest.raises(NameConflict):
            await make_folder(store, FolderName("a/b/c/"))
        await put(store, "a/bb", b"z")
        assert await names(store) == ["a/b", "a/bb"]

    # Folders

    async def test_a_folder_exists_while_a_name_lies_under_it_or_it_was_made(
        self, store: Store
    ) -> None:
        assert await folder_exists(store, FolderName(""))
        assert not await folder_exists(store, FolderName("a/"))
        await put(store, "a/b/c", b"x")
        assert await folder_exists(store, FolderName("a/"))
        assert await folder_exists(store, FolderName("a/b/"))
        assert not await folder_exists(store, FolderName("a/b/c/"))
        await make_folder(store, FolderName("a/made/"))
        await delete(store, name_of("a/b/c"))
        assert not await folder_exists(store, FolderName("a/b/"))
        assert await folder_exists(store, FolderName("a/made/"))

    async def test_make_folder_refuses(self, store: Store) -> None:
        await make_folder(store, FolderName("a/"))
        with pytest.raises(AlreadyExists):
            await make_folder(store, FolderName("a/"))
        with pytest.raises(AlreadyExists):
            await make_folder(store, FolderName(""))
        with pytest.raises(NotFound):
            await make_folder(store, FolderName("none/b/"))

    async def test_delete_folder_takes_what_lies_in_it_and_nothing_else(self, store: Store) -> None:
        for name in ("a", "d/1", "d/e/2", "d0", "d-", "dd/3"):
            await put(store, name, b"x")
        await make_folder(store, FolderName("d/made/"))
        await delete(store, FolderName("d/"))
        assert await names(store) == ["a", "d-", "d0", "dd/3"]
        assert not await folder_exists(store, FolderName("d/"))
        with pytest.raises(NotFound):
            await delete(store, FolderName("d/"))

    @pytest.mark.parametrize("verb", ["copy", "move"])
    async def test_transfer_of_a_folder(self, store: Store, verb: str) -> None:
        transfer = partial(copy if verb == "copy" else move, store)
        for name in ("d/ü1", "d/e/2", "d0", "t/old"):
            await put(store, name, name.encode())
        await make_folder(store, FolderName("d/made/"))
        with pytest.raises(AlreadyExists):
            await transfer(FolderName("d/"), FolderName("t/"), overwrite=False)
        assert await transfer(FolderName("d/"), FolderName("t/"))
        kept = ["d/e/2", "d/ü1"] if verb == "copy" else []
        assert await names(store) == [*kept, "d0", "t/e/2", "t/ü1"]
        assert await get(store, "t/ü1") == "d/ü1".encode()
        assert await folder_exists(store, FolderName("t/made/"))
        assert await folder_exists(store, FolderName("d/")) == (verb == "copy")

    @pytest.mark.parametrize("verb", ["copy", "move"])
    async def test_transfer_of_a_folder_refuses(self, store: Store, verb: str) -> None:
        transfer = partial(copy if verb == "copy" else move, store)
        await put(store, "d/" + "x" * 1000, b"x")
        await put(store, "f", b"x")
        for target in ("d/", "d/e/"):
            with pytest.raises(Forbidden):
                await transfer(FolderName("d/"), FolderName(target))
        for target in ("f/", "f/g/"):
            with pytest.raises(NameConflict):
                await transfer(FolderName("d/"), FolderName(target))
        with pytest.raises(InvalidName):
            await transfer(FolderName("d/"), FolderName("y" * 30 + "/"))
        with pytest.raises(NotFound):
            await transfer(FolderName("none/"), FolderName("t/"))
        assert await names(store) == ["d/" + "x" * 1000, "f"]

    # Lists

    @pytest.mark.parametrize("limit", [1, 2, 7, 1000])
    async def test_list_of_every_odd_name_in_order(self, store: Store, limit: int) -> None:
        for name in ODD_NAMES:
            await put(store, name_of(name), b"x")
        expected = sorted({name_of(name) for name in ODD_NAMES}, key=str.encode)
        assert await names(store, limit=limit) == expected
        for prefix in ODD_NAMES:
            matching = [name for name in expected if name.startswith(prefix)]
            assert await names(store, prefix, limit=limit) == matching

    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        paths=st.sets(
            st.lists(
                st.sampled_from(["a", "b", "ab", "-", "0", "é", "\U0010ffff"]),
                min_size=1,
                max_size=3,
            ).map(tuple),
            max_size=12,
        ),
        prefix=st.sampled_from(["", "a", "a/", "ab", "b/a", "\U0010ffff", "é/"]),
        delimiter=st.sampled_from(["", "/", "b", "a/"]),
        limit=st.integers(1, 4),
    )
    async def test_list_agrees_with_an_independent_model(
        self,
        store: Store,
        rows: Rows,
        paths: set[tuple[str, ...]],
        prefix: str,
        delimiter: str,
        limit: int,
    ) -> None:
        # Left by another example.
        for old in await rows.names():
            await delete(store, name_of(old))
        stored: list[str] = []
        for path in sorted(paths):
            name = "/".join(path)
            if not any(
                a.startswith(b + "/") for other in stored for a, b in ((name, other), (other, name))
            ):
                await put(store, name, b"x")
                stored.append(name)
        rolled = set()
        for name in stored:
            if name.startswith(prefix):
                head, found, _ = name[len(prefix) :].partition(delimiter or "\0")
                rolled.add(prefix + head + found)
        expected = sorted(rolled, key=str.encode)
        listed = await names(store, prefix, delimiter=delimiter, limit=limit)
        assert listed == expected

    async def test_list_rolls_up_and_shows_made_folders(self, store: Store) -> None:
        for name in ("a", "d/1", "d/2", "e/f/3", "z"):
            await put(store, name, b"x")
        await make_folder(store, FolderName("d/made/"))
        await make_folder(store, FolderName("empty/"))
        page = await store.names.list("", delimiter="/")
        assert [file.name for file in page.files] == ["a", "z"]
        assert list(page.folders) == ["d/", "e/", "empty/"]
        assert list((await store.names.list("d/", delimiter="/")).folders) == ["d/made/"]
        assert list((await store.names.list("")).folders) == []

    async def test_list_goes_on_behind_any_cursor(self, store: Store) -> None:
        for name in ("a", "c/1", "c/2", "e"):
            await put(store, name, b"x")
        for after, expected in {
            "": ["a", "c/", "e"],
            "a": ["c/", "e"],
            "b": ["c/", "e"],
            "c/": ["e"],
            "c/1": ["e"],
            "e": [],
            "zz": [],
        }.items():
            page = await store.names.list("", delimiter="/", after=after)
            assert sorted([*page.folders, *(file.name for file in page.files)]) == expected
            assert page.next is None

    async def test_list_of_what_no_name_can_have(self, store: Store) -> None:
        await put(store, "a", b"x")
        for text in ("\0", "a\0", "\x7f\n", "a" * 5000):
            assert await names(store, text) == []
            assert await names(store, "", delimiter=text) == ["a"]
            expected = ["a"] if text < "a" else []
            listed = await store.names.list("", after=text)
            assert [file.name for file in listed.files] == expected

    # Collection

    async def test_what_nothing_needs_is_collected(self, store: Store, rows: Rows) -> None:
        await put(store, "kept", b"k" * CHUNK_SIZE + b"shared")
        await put(store, "gone", b"g" * CHUNK_SIZE + b"shared")
        await put(store, "replaced", b"r")
        await put(store, "replaced", b"s")
        upload = store.contents.begin()
        await upload.append(cut(b"u" * CHUNK_SIZE))
        await delete(store, name_of("gone"))
        expected = Collected(manifests=2, chunks=2, size=CHUNK_SIZE + 1)
        assert await collect_all(store.maintenance, 0, dry_run=True) == expected
        assert await rows.count("chunk") == 6 - self.keeps_apart
        assert await collect_all(store.maintenance, 0) == expected
        assert await collect_all(store.maintenance, 0) == Collected()
        left = 4 - self.keeps_apart
        assert await rows.count("chunk") == await rows.count("chunk_data") == left
        assert await get(store, "kept") == b"k" * CHUNK_SIZE + b"shared"
        assert await get(store, "replaced") == b"s"
        await upload.abort()
        assert (await collect_all(store.maintenance, 0)).chunks == 1 - self.keeps_apart

    async def test_what_is_young_stays(self, store: Store, rows: Rows) -> None:
        await put(store, "a", b"x")
        await delete(store, name_of("a"))
        assert await collect_all(store.maintenance, 3600) == Collected()
        await rows.make_older("manifest", 3601)
        assert await collect_all(store.maintenance, 3600) == Collected(manifests=1)
        await rows.make_older("chunk", 3601)
        assert await collect_all(store.maintenance, 3600) == Collected(chunks=1, size=1)

    @pytest.mark.parametrize("verb", ["delete", "replace"])
    async def test_a_running_download_finishes(
        self, store: Store, rows: Rows, random_bytes: Callable[[int], bytes], verb: str
    ) -> None:
        content = random_bytes(4 * CHUNK_SIZE)
        await put(store, "a", content)
        async with (
            store.contents.open(name_of("a")) as file,
            store.contents.open(name_of("a")) as again,
        ):
            assert file is not None
            assert again is not None
            begun = await store.contents.read(file.manifest, 0, CHUNK_SIZE)
            if verb == "delete":
                await delete(store, name_of("a"))
            else:
                await put(store, "a", b"new")
            assert await collect_all(store.maintenance, 0) == Collected()
            rest = await store.contents.read(file.manifest, CHUNK_SIZE, len(content))
            assert begun + rest == content
        assert (await collect_all(store.maintenance, 0)).chunks == 4
        assert await rows.count("manifest") == (verb == "replace")

    async def test_a_small_content_may_come_with_its_file(self, store: Store, rows: Rows) -> None:
        content = b"small" * 100
        await put(store, "a", content)
        async with store.contents.open(name_of("a"), inline=len(content)) as file:
            assert file is not None
            assert file.content in (None, content)
        async with store.contents.open(name_of("a"), inline=len(content) - 1) as file:
            assert file is not None
            assert file.content is None
        await rows.set_bytes(blake3(content).digest(), b"other" * 100)
        async with store.contents.open(name_of("a"), inline=len(content)) as file:
            assert file is not None
            assert file.content is None
            with pytest.raises(StoreDamaged):
                await store.contents.read(file.manifest, 0, len(content))

    @pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE])
    async def test_a_content_that_comes_with_its_file_is_the_whole(
        self, store: Store, rows: Rows, random_bytes: Callable[[int], bytes], size: int
    ) -> None:
        content = random_bytes(size)
        await put(store, "a", content)
        async with store.contents.open(name_of("a"), inline=4 * CHUNK_SIZE) as file:
            assert file is not None
            assert file.content in (None, content)
        for chunk in cut(content):
            await rows.lose_bytes(chunk.digest.raw)
        async with store.contents.open(name_of("a"), inline=4 * CHUNK_SIZE) as file:
            assert file is not None
            assert file.content in ((b"", None) if size == 0 else (None,))

    async def test_opened_finds_nothing(self, store: Store) -> None:
        async with store.contents.open(name_of("none")) as file:
            assert file is None

    async def test_a_chunk_that_an_upload_relies_on_stays(
        self, store: Store, random_bytes: Callable[[int], bytes]
    ) -> None:
        content = random_bytes(3 * CHUNK_SIZE)
        await put(store, "old", content)
        upload = store.contents.begin()
        await upload.append(cut(content)[:2])
        await delete(store, name_of("old"))
        await collect_all(store.maintenance, 0)
        await store.names.apply(
            [
                put_of(
                    upload=upload,
                    last=cut(content)[2:],
                    digest=Digest.of(content),
                    size=len(content),
                    name=name_of("new"),
                    media_type="text/plain",
                )
            ]
        )
        assert await get(store, "new") == content

    async def test_the_same_content_put_while_it_is_collected(
        self, store: Store, rows: Rows, random_bytes: Callable[[int], bytes]
    ) -> None:
        content = random_bytes(5 * CHUNK_SIZE)
        for _ in range(20):
            await put(store, "a", content)
            await delete(store, name_of("a"))
            await asyncio.gather(
                collect_all(store.maintenance, 0),
                put(store, "b", content, appended=2),
                collect_all(store.maintenance, 0),
                put(store, "c", content),
            )
            assert await get(store, "b") == await get(store, "c") == content
            await delete(store, name_of("b"))
            await delete(store, name_of("c"))
        await collect_all(store.maintenance, 0)
        assert await rows.count("chunk") == await rows.count("place") == 0

    # The whole

    async def test_everything_is_there_after_reopening(
        self, reopen: Reopen, random_bytes: Callable[[int], bytes]
    ) -> None:
        store = await reopen()
        contents = {f"f{size}": random_bytes(size) for size in SIZES}
        for name, content in contents.items():
            await put(store, name, content, appended=1)
        stats = await store.maintenance.stats()
        store = await reopen()
        for name, content in contents.items():
            assert await get(store, name) == content
        again = await store.maintenance.stats()
        assert (again.files, again.chunks, again.stored_size) == (
            stats.files,
            stats.chunks,
            stats.stored_size,
        )
        # New manifests do not take the place of old ones.
        await put(store, "new", b"new")
        for name, content in contents.items():
            assert await get(store, name) == content

    async def test_scrub_names_what_is_damaged_and_what_it_touches(
        self, store: Store, rows: Rows, random_bytes: Callable[[int], bytes]
    ) -> None:
        shared, other = random_bytes(CHUNK_SIZE), random_bytes(CHUNK_SIZE + 1)
        await put(store, "a", shared + other)
        await put(store, "b/c", shared)
        await put(store, "whole", other)
        await put(store, "empty", b"")
        steps = await scrub(store)
        assert sum(step.chunks for step in steps) == 3
        assert sum(step.size for step in steps) == len(shared + other)
        assert not any(step.damage for step in steps)
        damaged = shared[:-1] + bytes([shared[-1] ^ 1])
        await rows.set_bytes(blake3(shared).digest(), damaged)
        expected = [Damage("chunk", Digest.of(shared), [name_of("a"), name_of("b/c")])]
        assert [damage for step in await scrub(store) for damage in step.damage] == expected
        assert (await store.maintenance.stats()).damaged == 1
        assert (await put(store, "b/c", shared)).new_chunks == 1
        assert await get(store, "a") == shared + other
        assert not any(step.damage for step in await scrub(store))
        assert (await store.maintenance.stats()).damaged == 0

    async def test_scrub_takes_back_what_it_noted(self, store: Store, rows: Rows) -> None:
        await put(store, "a", b"x")
        await rows.mark_damaged()
        assert not any(step.damage for step in await scrub(store))
        assert (await store.maintenance.stats()).damaged == 0

    @pytest.mark.parametrize("change", ListDamage)
    async def test_scrub_finds_a_chunk_list_that_is_not_whole(
        self, store: Store, rows: Rows, change: ListDamage
    ) -> None:
        content = bytes(range(256)) * 32 + b"end"
        await put(store, "a", content)
        await rows.break_list(change)
        found = [damage for step in await scrub(store) for damage in step.damage]
        assert found == [Damage("content", Digest.of(content), [name_of("a")])]

    @pytest.mark.parametrize("change", ListDamage)
    async def test_the_next_upload_replaces_a_list_that_is_damaged(
        self, store: Store, rows: Rows, change: ListDamage
    ) -> None:
        content = bytes(range(256)) * 32 + b"end"
        await put(store, "a", content)
        await copy(store, name_of("a"), name_of("b"))
        await rows.break_list(change)
        for name in ("a", "b"):
            with suppress(StoreDamaged):
                assert await get(store, name) == content
        assert any(step.damage for step in await scrub(store))
        await put(store, "a", content)
        assert await get(store, "a") == await get(store, "b") == content
        await collect_all(store.maintenance, 0)
        assert not any(step.damage for step in await scrub(store))
        assert await rows.broken() == []

    async def test_scrub_goes_through_a_large_store(
        self, store: Store, random_bytes: Callable[[int], bytes]
    ) -> None:
        contents = [random_bytes(50 * CHUNK_SIZE) for _ in range(30)]
        for index, content in enumerate(contents):
            await put(store, f"f{index}", content)
        steps = await scrub(store)
        assert sum(step.chunks for step in steps) == 30 * 50
        assert max(step.size for step in steps) <= 5 * 1024 * 1024

    async def test_the_last_scrub_report_is_kept(self, reopen: Reopen) -> None:
        store = await reopen()
        assert (await store.maintenance.health()).scrub is None
        await put(store, "a", b"x")
        for _ in range(2):
            report = await scrub_all(store.maintenance, lambda _: None)
            await store.maintenance.put_scrub_report(report)
        store = await reopen()
        assert (
            (await store.maintenance.health()).scrub
            == report
            == (await store.maintenance.stats()).scrub
        )
        assert (report.chunks, report.size, report.damaged) == (1, 1, 0)

    async def test_stats(self, store: Store) -> None:
        empty = await store.maintenance.stats()
        assert (empty.files, empty.contents, empty.chunks, empty.logical_size) == (0, 0, 0, 0)
        assert empty.ratio is None
        await put(store, "a", b"x" * (2 * CHUNK_SIZE))
        await put(store, "b", b"x" * (2 * CHUNK_SIZE))
        await put(store, "c", b"y")
        stats = await store.maintenance.stats()
        assert (stats.files, stats.contents, stats.chunks) == (3, 2, 2)
        assert stats.logical_size == 4 * CHUNK_SIZE + 1
        assert stats.stored_size == CHUNK_SIZE + 1
        assert stats.ratio == (4 * CHUNK_SIZE + 1) / (CHUNK_SIZE + 1)
        assert stats.database_size > stats.stored_size
        assert stats.chunk_size == CHUNK_SIZE
        assert {"chunkstore", "schema", "blake3"} <= stats.versions.keys()

    async def test_many_uploads_interleave(
        self, store: Store, random_bytes: Callable[[int], bytes]
    ) -> None:
        contents = [random_bytes(6 * CHUNK_SIZE + index) for index in range(20)]

        async def put_piecewise(index: int) -> None:
            upload = store.contents.begin()
            chunks = cut(contents[index])
            for chunk, _ in pairwise(chunks):
                await upload.append([chunk])
            await store.names.apply(
                [
                    put_of(
                        upload=upload,
                        last=chunks[-1:],
                        digest=Digest.of(contents[index]),
                        size=len(contents[index]),
                        name=name_of(str(index)),
                        media_type="text/plain",
                    )
                ]
            )

        await asyncio.gather(*map(put_piecewise, range(20)))
        for index, content in enumerate(contents):
            assert await get(store, str(index)) == content
