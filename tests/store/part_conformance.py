"""The contract of uploads that are made of parts, as tests; see `conformance`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ChunkstoreError,
    NotFound,
    PartGone,
    StoreError,
    TooLarge,
    UploadSuperseded,
)
from chunkstore.core.manifest import ListHasher
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Put, Uploaded
from chunkstore.store.contract.resumable import Failure, UploadState
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.upload_state import Delete, Fail, Join
from chunkstore.store.contract.uploads import NOTHING, Bounds
from tests.store.conformance import CHUNK_SIZE, Suite, get, name_of
from tests.store.rows import Rows
from tests.store.upload_conformance import (
    FILE,
    PART,
    acquire,
    add,
    begin,
    complete,
    concatenation,
    delete,
    fail,
    join,
    later,
    sum_of,
    unfinished,
)


def put_of(upload_id: str, content: bytes, name: str) -> Put:
    return Put(name_of(name), Uploaded(upload_id, Digest.of(content), later()), "text/plain")


async def put_upload(store: Store, upload_id: str, content: bytes, name: str = "own") -> None:
    await store.names.apply([put_of(upload_id, content, name)])


async def check_rows(rows: Rows) -> None:
    assert await rows.broken() == []
    assert await unfinished(rows) == sum_of(await rows.uploads())


class PartConformance(Suite):
    """What every backend must pass."""

    async def test_parts_are_joined_without_their_bytes(self, store: Store, rows: Rows) -> None:
        contents = [b"1" * CHUNK_SIZE, b"2" * (2 * CHUNK_SIZE), b"3" * CHUNK_SIZE + b"tail"]
        parts = [await begin(store, PART, content, whole=True) for content in contents]
        upload_id = await begin(store, concatenation(parts))
        chunks = await rows.count("chunk")
        lease = await acquire(store, upload_id, joining=True)
        for part in parts:
            assert list(await store.uploads.awaiting(part)) == [upload_id]
            await join(store, upload_id, part, lease.epoch)
        # What a part had behind its last whole chunk has become one.
        assert await rows.count("chunk") == chunks + 1
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, b"".join(contents))
        assert await get(store, "a") == b"".join(contents)
        assert list(await store.uploads.awaiting(parts[0])) == []
        # They count no more, and last until they expire.
        await store.uploads.create(FILE, None, later(), Bounds(CHUNK_SIZE))
        assert (await store.uploads.get(parts[2])).tail == b"tail"

    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        sizes=st.lists(st.integers(0, 3 * CHUNK_SIZE), min_size=1, max_size=4),
        bounds=st.tuples(*[st.integers(0, 12 * CHUNK_SIZE)] * 2).map(sorted),
        seed=st.integers(0, 2**32),
    )
    async def test_parts_of_any_length_become_one_content(
        self, store: Store, rows: Rows, sizes: list[int], bounds: list[int], seed: int
    ) -> None:
        contents = [Random(seed + place).randbytes(size) for place, size in enumerate(sizes)]
        parts = [await begin(store, PART, content, whole=True) for content in contents]
        upload_id = await begin(store, concatenation(parts))
        lease = await acquire(store, upload_id, joining=True)
        for part in parts:
            await join(store, upload_id, part, lease.epoch)
        await add(store, upload_id, b"", whole=True)
        whole = b"".join(contents)
        committed = await complete(store, upload_id, whole)
        manifest = committed.file.manifest
        start, stop = (min(bound, len(whole)) for bound in bounds)
        assert await store.contents.read(manifest, start, stop) == whole[start:stop]
        hasher = ListHasher()
        read = b""
        while len(read) < len(whole):
            read += await store.contents.read(
                manifest, len(read), len(whole), manifest.chunk_size, hasher
            )
        assert read == whole
        assert hasher.proves(manifest)
        await check_rows(rows)

    async def test_joining_is_fenced_too(self, store: Store) -> None:
        part = await begin(store, PART, b"x" * CHUNK_SIZE, whole=True)
        upload_id = await begin(store, concatenation([part]))
        older = await acquire(store, upload_id, joining=True)
        await acquire(store, upload_id, joining=True)
        with pytest.raises(UploadSuperseded):
            await join(store, upload_id, part, older.epoch)

    async def test_a_part_must_be_one(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await begin(store, concatenation([await begin(store)]))
        with pytest.raises(NotFound):
            await begin(store, concatenation(["none"]))

    # A part that becomes a file by itself

    @pytest.mark.parametrize("tail", [b"", b"tail"])
    async def test_a_part_that_became_a_file_is_part_of_nothing_else(
        self, store: Store, rows: Rows, tail: bytes
    ) -> None:
        content = b"x" * (2 * CHUNK_SIZE) + tail
        part = await begin(store, PART, content, whole=True)
        upload_id = await begin(store, concatenation([part]))
        lease = await acquire(store, upload_id, joining=True)
        await put_upload(store, part, content)
        for failing in (
            join(store, upload_id, part, lease.epoch),
            begin(store, concatenation([part])),
            put_upload(store, part, content, "another"),
        ):
            with pytest.raises(NotFound):
                await failing
        # Nothing of it has come into the other.
        found = await store.uploads.get(upload_id)
        assert found == lease
        assert found.chunks is not None
        assert await rows.places(found.chunks.id) == []
        assert await get(store, "own") == content
        assert (await store.uploads.get(part)).state is UploadState.COMPLETE
        await check_rows(rows)

    async def test_a_part_that_is_open_is_no_file_and_not_joined(
        self, store: Store, rows: Rows
    ) -> None:
        part = await begin(store, PART, b"x" * CHUNK_SIZE)
        upload_id = await begin(store, concatenation([part]))
        lease = await acquire(store, upload_id, joining=True)
        with pytest.raises(NotFound):
            await join(store, upload_id, part, lease.epoch)
        with pytest.raises(NotFound):
            await put_upload(store, part, b"x" * CHUNK_SIZE)
        assert await store.uploads.get(upload_id) == lease
        assert await store.names.find(name_of("own")) is None
        await check_rows(rows)

    async def test_a_part_that_failed_or_is_gone_is_part_of_nothing(self, store: Store) -> None:
        failed = await begin(store, PART, b"x" * CHUNK_SIZE, whole=True)
        gone = await begin(store, PART, b"y" * CHUNK_SIZE, whole=True)
        upload_id = await begin(store, concatenation([failed, gone]))
        lease = await acquire(store, upload_id, joining=True)
        await fail(store, failed, Failure("too-large", "why"))
        await delete(store, gone)
        for part, error in ((failed, TooLarge), (gone, PartGone)):
            with pytest.raises(error):
                await join(store, upload_id, part, lease.epoch)
            with pytest.raises(error):
                await begin(store, concatenation([part]))

    @pytest.mark.parametrize("joined_first", [True, False])
    @pytest.mark.parametrize("put_last", [True, False])
    async def test_what_was_joined_is_not_touched_by_what_the_part_becomes(
        self, store: Store, rows: Rows, joined_first: bool, put_last: bool
    ) -> None:
        content = b"x" * CHUNK_SIZE + b"tail"
        part = await begin(store, PART, content, whole=True)
        upload_id = await begin(store, concatenation([part]))
        lease = await acquire(store, upload_id, joining=True)
        await join(store, upload_id, part, lease.epoch)
        await add(store, upload_id, b"", whole=joined_first)
        if not put_last:
            await put_upload(store, part, content)
        if not joined_first:
            await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, content)
        await check_rows(rows)
        if put_last:
            await put_upload(store, part, content)
        await store.uploads.get(part)
        assert await get(store, "a") == await get(store, "own") == content
        assert await unfinished(rows) == NOTHING
        await rows.expire_uploads()
        await collect_all(store.maintenance, 0)
        await check_rows(rows)
        assert await get(store, "a") == await get(store, "own") == content

    async def test_parts_and_what_they_make_can_be_put_together(
        self, store: Store, rows: Rows
    ) -> None:
        contents = {"1": b"x" * CHUNK_SIZE, "2": b"y" * CHUNK_SIZE + b"tail"}
        parts = {
            name: await begin(store, PART, content, whole=True)
            for name, content in contents.items()
        }
        upload_id = await begin(store, concatenation(list(parts.values())))
        lease = await acquire(store, upload_id, joining=True)
        for part in parts.values():
            await join(store, upload_id, part, lease.epoch)
        await add(store, upload_id, b"", whole=True)
        both = b"".join(contents.values())
        edits = [put_of(part, contents[name], name) for name, part in parts.items()]
        await store.names.apply([*edits, put_of(upload_id, both, "both")])
        assert await get(store, "both") == both
        assert [await get(store, name) for name in parts] == list(contents.values())
        assert await unfinished(rows) == NOTHING
        await check_rows(rows)

    async def test_an_upload_is_put_once_whoever_else_puts_it(
        self, store: Store, rows: Rows
    ) -> None:
        content = b"x" * CHUNK_SIZE + b"tail"
        part = await begin(store, PART, content, whole=True)
        with pytest.raises(NotFound):
            await store.names.apply([put_of(part, content, "1"), put_of(part, content, "2")])
        assert await store.names.find(name_of("1")) is None
        puts = [put_upload(store, part, content, str(number)) for number in range(5)]
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        refused = [outcome for outcome in outcomes if outcome is not None]
        assert len(refused) == 4
        assert all(isinstance(outcome, NotFound) for outcome in refused)
        [name] = [file.name for file in (await store.names.list()).files]
        assert await get(store, name) == content
        await check_rows(rows)

    @settings(
        max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        order=st.permutations(["put", "join", "delete", "fail"]),
        which=st.sets(st.sampled_from(["put", "join", "delete", "fail"]), min_size=2),
        places=st.integers(0, 3),
    )
    async def test_of_all_that_a_part_may_become_at_once_it_becomes_one(
        self, store: Store, rows: Rows, order: Sequence[str], which: set[str], places: int
    ) -> None:
        for row in await rows.uploads():
            await delete(store, row.id)
        content = b"x" * (places * CHUNK_SIZE) + b"tail"
        part = await begin(store, PART, content, whole=True)
        upload_id = await begin(store, concatenation([part]))
        lease = await acquire(store, upload_id, joining=True)
        failure = Failure("too-large", "")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "put": lambda: put_upload(store, part, content),
            "join": lambda: store.uploads.apply(upload_id, Join(part, lease.epoch, 0, later())),
            "delete": lambda: store.uploads.apply(part, Delete()),
            "fail": lambda: store.uploads.apply(part, Fail(failure)),
        }
        names = [name for name in order if name in which]
        outcomes = await asyncio.gather(*(calls[name]() for name in names), return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(error, ChunkstoreError) for error in errors)
        failed = dict(zip(names, outcomes, strict=True))
        found = await store.uploads.get(upload_id)
        if "join" in which and not isinstance(failed["join"], BaseException):
            assert found.offset == len(content)
            await add(store, upload_id, b"", whole=True)
            await complete(store, upload_id, content)
            assert await get(store, "a") == content
        else:
            assert found == lease
        if "put" in which and not isinstance(failed["put"], BaseException):
            assert await get(store, "own") == content
        await check_rows(rows)

    # Two of everything, and what makes no sense

    async def test_a_part_is_joined_once_however_often_that_is_asked_for_at_once(
        self, store: Store, rows: Rows
    ) -> None:
        content = b"x" * (3 * CHUNK_SIZE) + b"tail"
        part = await begin(store, PART, content, whole=True)
        upload_id = await begin(store, concatenation([part]))
        lease = await acquire(store, upload_id, joining=True)
        once = Join(part, lease.epoch, 0, later())
        outcomes = await asyncio.gather(
            *(store.uploads.apply(upload_id, once) for _ in range(5)), return_exceptions=True
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(errors) == 4
        assert all(isinstance(error, UploadSuperseded | StoreError) for error in errors)
        with pytest.raises(UploadSuperseded):
            await store.uploads.apply(upload_id, once)
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, content)
        assert await get(store, "a") == content
        await check_rows(rows)

    async def test_a_part_may_be_named_twice(self, store: Store, rows: Rows) -> None:
        content = b"x" * CHUNK_SIZE
        part = await begin(store, PART, content, whole=True)
        upload_id = await begin(store, concatenation([part, part]))
        lease = await acquire(store, upload_id, joining=True)
        for _ in range(2):
            await join(store, upload_id, part, lease.epoch)
        await add(store, upload_id, b"", whole=True)
        await complete(store, upload_id, 2 * content)
        assert await get(store, "a") == 2 * content
        await check_rows(rows)

    async def test_a_concatenation_is_no_part(self, store: Store) -> None:
        inner = await begin(store, concatenation([await begin(store, PART)]))
        with pytest.raises(NotFound):
            await begin(store, concatenation([inner]))
        lease = await acquire(store, inner, joining=True)
        with pytest.raises(NotFound):
            await join(store, inner, inner, lease.epoch)
