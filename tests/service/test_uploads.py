"""Resumable uploads of one process above a real store: who waits for whom, and what is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from blake3 import blake3

from chunkstore.core.conditional import CREATE_ONLY, UNCONDITIONAL, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ContentMismatch,
    NameConflict,
    NotFound,
    PreconditionFailed,
    TooLarge,
    TooMuchUnfinished,
    UploadSuperseded,
)
from chunkstore.core.names import FolderName
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.service import Service
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.uploads import NOTHING
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.store.conformance import get, name_of, put
from tests.store.edits import delete, get_file
from tests.store.rows import Rows
from tests.store.upload_conformance import later, note_digest, unfinished

MIB = 1024 * 1024


def spec(name: str = "a", conditions: Conditions = UNCONDITIONAL, **checks: bytes) -> UploadSpec:
    return UploadSpec(UploadKind.FILE, name_of(name), "text/plain", conditions, checks)


def uploads_of(store: Store, *, memory: int = 8 * MIB, **options: Any) -> ResumableUploads:  # noqa: ANN401 - those of ResumableUploads
    return ResumableUploads(Service(store, MemoryBudget(memory)), **options)


async def pieces_of(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


class Hanging:
    """A body of which some bytes come, and then nothing any more."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.taken = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in pieces_of(self.content):
            yield piece
        self.taken.set()
        await asyncio.Event().wait()


async def whole(uploads: ResumableUploads, content: bytes, spec: UploadSpec) -> str:
    """Have all bytes of an upload come, and do not finish it."""
    upload = await uploads.create(spec, len(content))
    await uploads.append(upload.id, UploadRequest(0, Ending.AT_LENGTH), pieces_of(content))
    return upload.id


PART = UploadSpec(UploadKind.PART, None, "")


async def concatenation(uploads: ResumableUploads, parts: Sequence[bytes]) -> str:
    ids = [await whole(uploads, part, PART) for part in parts]
    final = UploadSpec(UploadKind.CONCATENATION, name_of("a"), "text/plain", parts=ids)
    return (await uploads.create(final, None)).id


async def progress_of(rows: Rows, upload_id: str) -> int:
    return next(row.received for row in await rows.uploads() if row.id == upload_id)


async def until_it_grows(rows: Rows, upload_id: str, least: int = 1) -> None:
    async with asyncio.timeout(20):
        while await progress_of(rows, upload_id) < least:  # noqa: ASYNC110 - rows tell nobody
            await asyncio.sleep(0.001)


def cut(content: bytes, bounds: Sequence[int]) -> Iterator[bytes]:
    for start, stop in pairwise([0, *bounds, len(content)]):
        yield content[start:stop]


@pytest.mark.parametrize("waiting", [1, 2, 5])
async def test_a_third_request_waits_for_the_first_as_well(
    store: Store, random_bytes: RandomBytes, waiting: int
) -> None:
    # Large, so that to keep it takes the first one time in a thread.
    content = random_bytes(3 * MIB + 17)
    uploads = uploads_of(store)
    upload = await uploads.create(spec(), None)
    body = Hanging(content)
    request = UploadRequest(0, Ending.AT_LENGTH)
    older = asyncio.create_task(uploads.append(upload.id, request, body))
    await body.taken.wait()
    newer = [asyncio.create_task(uploads.acquire_and_get(upload.id)) for _ in range(waiting)]
    await asyncio.wait([older, *newer])
    assert isinstance(older.exception(), UploadSuperseded)
    for one in newer[:-1]:
        assert isinstance(one.exception(), UploadSuperseded)
    assert newer[-1].result().offset == len(content)


async def test_the_last_bytes_make_it_whole_whoever_comes_meanwhile(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * MIB + 17)
    uploads = uploads_of(store)
    upload = await uploads.create(spec(), len(content))
    come = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        async for piece in pieces_of(content):
            yield piece
        come.set()

    last = asyncio.create_task(
        uploads.append(upload.id, UploadRequest(0, Ending.AT_LENGTH), body())
    )
    await come.wait()
    looked = await uploads.acquire_and_get(upload.id)
    assert (await last).whole
    assert looked.complete
    assert await get(store, "a") == content


@pytest.mark.parametrize("cuts", [[5000], [MIB + 1, 2 * MIB], [CHUNK_SIZE]])
async def test_who_asks_for_a_concatenation_waits_for_it(
    store: Store, rows: Rows, random_bytes: RandomBytes, cuts: list[int]
) -> None:
    content = random_bytes(3 * MIB)
    uploads = uploads_of(store)
    final = await concatenation(uploads, list(cut(content, cuts)))
    made = asyncio.create_task(uploads.finish(final))
    await until_it_grows(rows, final)
    looks = [await asyncio.create_task(uploads.acquire_and_get(final)) for _ in range(3)]
    assert await made is not None
    assert all(upload.complete for upload in looks)
    assert await get(store, "a") == content
    assert (await get_file(store, name_of("a"))).manifest.digest.raw == blake3(content).digest()


async def test_another_process_that_takes_a_concatenation_over_is_waited_for(
    store: Store, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(MIB)
    one, other = uploads_of(store), uploads_of(store)
    bounds = range(29_999, len(content), 29_999)
    final = await concatenation(one, list(cut(content, bounds)))
    first = asyncio.create_task(one.finish(final))
    await until_it_grows(rows, final)
    second = asyncio.create_task(other.acquire_and_get(final))
    await asyncio.wait([first, second])
    assert first.exception() is None
    assert second.result().complete
    assert await get(store, "a") == content


async def test_a_concatenation_ends_with_the_last_who_waits(
    store: Store, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(MIB)
    uploads = uploads_of(store)
    final = await concatenation(uploads, list(cut(content, range(29_999, len(content), 29_999))))
    waiting = [asyncio.create_task(uploads.finish(final)) for _ in range(2)]
    await until_it_grows(rows, final)
    waiting[0].cancel()
    grown = await progress_of(rows, final)
    await until_it_grows(rows, final, grown + 1)
    waiting[1].cancel()
    await asyncio.wait(waiting)
    assert not (await store.uploads.get(final)).whole
    # It goes on from there for who asks next, also if the one before has not ended yet.
    assert (await uploads.acquire_and_get(final)).complete
    assert await get(store, "a") == content


async def test_any_number_of_concatenations_get_on_with_little_memory(
    store: Store, random_bytes: RandomBytes
) -> None:
    content = random_bytes(64 * CHUNK_SIZE)
    # The least that two chunks at once need: none may hold memory while it waits for more.
    uploads = uploads_of(store, memory=4 * CHUNK_SIZE)
    parts = [await whole(uploads, part, PART) for part in cut(content, [5000, 100_001])]
    finals = []
    for number in range(8):
        name = name_of(f"f{number}")
        final = UploadSpec(UploadKind.CONCATENATION, name, "text/plain", parts=parts)
        finals.append((await uploads.create(final, None)).id)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for upload_id in finals:
            group.create_task(uploads.finish(upload_id))
    assert await get(store, "f7") == content
    assert uploads.service.budget.free == uploads.service.budget.limit


async def test_parts_that_are_too_much_together_are_refused(store: Store, rows: Rows) -> None:
    uploads = uploads_of(store, max_unfinished=10 * CHUNK_SIZE)
    parts = [b"x" * (4 * CHUNK_SIZE), b"y" * (4 * CHUNK_SIZE)]
    ids = [await whole(uploads, part, PART) for part in parts]
    small = uploads_of(store, max_unfinished=7 * CHUNK_SIZE)
    final = UploadSpec(UploadKind.CONCATENATION, name_of("a"), "text/plain", parts=ids)
    with pytest.raises(TooLarge):
        await small.create(final, None)
    # Known only later, when all have come.
    late = (await uploads.create(final, None)).id
    for _ in range(2):
        with pytest.raises(TooLarge):
            await small.finish(late)
    [row] = [row for row in await rows.uploads() if row.id == late]
    assert row.received == 0
    assert row.failure is not None


# What can never become its file


async def forgotten(store: Store, content: bytes, spec: UploadSpec) -> tuple[ResumableUploads, str]:
    """Have all bytes come to a process that dies; return what another one has of it."""
    return uploads_of(store), await whole(uploads_of(store), content, spec)


async def test_conditions_are_judged_before_the_content_is_read(
    store: Store, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * CHUNK_SIZE)
    uploads, upload_id = await forgotten(store, content, spec(conditions=CREATE_ONLY))
    await put(store, "a", b"old")
    # Who reads it gets another error.
    await rows.lose_bytes(blake3(content[:CHUNK_SIZE]).digest())
    with pytest.raises(PreconditionFailed):
        await uploads.acquire_and_get(upload_id)
    assert await unfinished(rows) == NOTHING
    await delete(store, name_of("a"))
    for one in (uploads, uploads_of(store)):
        for call in (
            one.acquire_and_get(upload_id),
            one.finish(upload_id),
            one.append(upload_id, UploadRequest(0, Ending.LATER), pieces_of(b"")),
        ):
            with pytest.raises(PreconditionFailed):
                await call
    [row] = await rows.uploads()
    assert (row.tail, row.extent) == (b"", 0)


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_name_that_has_become_a_folder_may_be_free_again(
    store: Store, rows: Rows, same_process: bool
) -> None:
    content = b"x" * CHUNK_SIZE
    uploads = uploads_of(store)
    upload_id = await whole(uploads, content, spec())
    await put(store, "a/b", b"y")
    if not same_process:
        uploads = uploads_of(store)
    for _ in range(2):
        with pytest.raises(NameConflict):
            await uploads.acquire_and_get(upload_id)
    if same_process:
        # Its digest is known by now.
        await rows.lose_bytes(blake3(content).digest())
    await delete(store, FolderName("a/"))
    assert (await uploads.acquire_and_get(upload_id)).complete


async def test_a_content_of_another_digest(
    store: Store, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * CHUNK_SIZE + 5)
    uploads = uploads_of(store)
    upload_id = await whole(uploads, content, spec(sha256=b"\0" * 32))
    with pytest.raises(ContentMismatch):
        await uploads.finish(upload_id)
    assert await unfinished(rows) == NOTHING
    # It is not read again.
    await rows.lose_bytes(blake3(content[:CHUNK_SIZE]).digest())
    with pytest.raises(ContentMismatch):
        await uploads.acquire_and_get(upload_id)


async def test_a_content_is_read_once(store: Store, rows: Rows, random_bytes: RandomBytes) -> None:
    content = random_bytes(3 * CHUNK_SIZE + 5)
    uploads, upload_id = await forgotten(store, content, spec())
    await note_digest(store, upload_id, content)
    await rows.lose_bytes(blake3(content[:CHUNK_SIZE]).digest())
    assert (await uploads.acquire_and_get(upload_id)).complete
    assert (await get_file(store, name_of("a"))).manifest.digest == Digest.of(content)


async def test_what_was_read_is_noted(store: Store, rows: Rows) -> None:
    uploads, upload_id = await forgotten(store, b"x" * CHUNK_SIZE + b"tail", spec())
    await uploads.acquire_and_get(upload_id)
    assert (await rows.uploads())[0].known_digest == blake3(b"x" * CHUNK_SIZE + b"tail").digest()


async def test_two_processes_that_finish_one_upload_agree(store: Store) -> None:
    one, upload_id = await forgotten(store, b"x" * CHUNK_SIZE, spec(conditions=CREATE_ONLY))
    other = uploads_of(store)
    looks = await asyncio.gather(one.acquire_and_get(upload_id), other.acquire_and_get(upload_id))
    assert all(upload.complete for upload in looks)


# Uploads of which no byte has come


async def test_the_number_of_empty_uploads_is_bounded(store: Store) -> None:
    uploads = uploads_of(store, max_empty=2)
    for name in ("a", "b"):
        await uploads.create(spec(name), 5)
    with pytest.raises(TooMuchUnfinished):
        await uploads.create(spec("c"), 5)


async def test_a_slow_first_byte_does_not_expire(store: Store, rows: Rows) -> None:
    uploads = uploads_of(store, empty_expiry_seconds=0.05)
    upload = await uploads.create(spec(), None)
    renewed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"1"
        await renewed.wait()
        yield b"2"

    append = asyncio.create_task(uploads.append(upload.id, UploadRequest(0, Ending.LATER), body()))
    async with asyncio.timeout(20):
        while (await store.uploads.get(upload.id)).expires <= upload.expires:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
    renewed.set()
    assert (await append).offset == 2
    assert (await append).expires > later(3600)


async def test_a_part_that_is_gone_is_not_found(store: Store) -> None:
    uploads = uploads_of(store)
    final = UploadSpec(UploadKind.CONCATENATION, name_of("a"), "text/plain", parts=["none"])
    with pytest.raises(NotFound):
        await uploads.create(final, None)
