"""Concatenations whose parts go while they wait for them, or while they are made of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound, PartGone, TooLarge
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.putting import AllowedNames
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.rights import EVERY_RIGHT
from chunkstore.store.contract.edits import Put, Uploaded
from chunkstore.store.contract.resumable import Failure, UploadKind, UploadSpec, UploadState
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.upload_state import Fail
from chunkstore.store.contract.uploads import NOTHING
from tests.conftest import CHUNK_SIZE, RandomBytes, on_each_backend
from tests.service.test_uploads import (
    PART,
    concatenation,
    cut,
    pieces_of,
    until_it_grows,
    uploads_of,
    whole,
)
from tests.store.conformance import get, name_of, put
from tests.store.rows import Rows
from tests.store.upload_conformance import later, sum_of, unfinished

MIB = 1024 * 1024

Go = Callable[[ResumableUploads, Rows, str], Awaitable[None]]


async def become_a_file(store: Store, part: str, content: bytes) -> None:
    uploaded = Uploaded(part, Digest.of(content), later())
    await store.names.apply([Put(name_of("own"), uploaded, "text/plain")])


async def be_put(uploads: ResumableUploads, rows: Rows, part: str) -> None:
    await become_a_file(uploads.service.store, part, b"x" * 5)


async def be_deleted(uploads: ResumableUploads, rows: Rows, part: str) -> None:
    await uploads.delete(part)


async def expire(uploads: ResumableUploads, rows: Rows, part: str) -> None:
    await rows.expire_uploads(part)
    await collect_all(uploads.service.store.maintenance, 0)


async def final_of(uploads: ResumableUploads, *parts: str) -> str:
    spec = UploadSpec(UploadKind.CONCATENATION, name_of("a"), "text/plain", parts=parts)
    return (await uploads.create(spec, None)).id


@on_each_backend
@pytest.mark.parametrize("go", [be_put, be_deleted, expire])
async def test_a_concatenation_that_waits_for_a_part_that_is_gone_fails_for_good(
    store: Store, rows: Rows, go: Go
) -> None:
    uploads = uploads_of(store)
    part = await whole(uploads, b"x" * 5, PART)
    missing = (await uploads.create(PART, 5)).id
    final = await final_of(uploads, part, missing)
    await go(uploads, rows, part)
    for process in (uploads, uploads_of(store)):
        for _ in range(2):
            with pytest.raises(PartGone, match="upload the parts anew"):
                await process.acquire_and_get(final)
    assert (await store.uploads.get(final)).state is UploadState.FAILED
    assert (await unfinished(rows)).concatenations == 0
    with pytest.raises(PartGone):
        await final_of(uploads, part)
    with pytest.raises(PartGone):
        await uploads.append(final, UploadRequest(0, Ending.LATER), pieces_of(b""))


async def test_it_fails_when_the_last_part_comes_though_nobody_asks(
    store: Store, rows: Rows
) -> None:
    uploads = uploads_of(store)
    part = await whole(uploads, b"x" * 5, PART)
    missing = (await uploads.create(PART, 5)).id
    final = await final_of(uploads, part, missing)
    await be_put(uploads, rows, part)
    await uploads.append(missing, UploadRequest(0, Ending.AT_LENGTH), pieces_of(b"12345"))
    await uploads.finish(missing)
    async with asyncio.timeout(20):
        while (await store.uploads.get(final)).state is UploadState.OPEN:  # noqa: ASYNC110 - rows tell nobody
            await asyncio.sleep(0.001)
    assert (await store.uploads.get(final)).failure == Failure.of(PartGone())


async def test_why_a_part_failed_is_why_its_concatenation_does(store: Store, rows: Rows) -> None:
    uploads = uploads_of(store)
    part = (await uploads.create(PART, 5)).id
    final = await final_of(uploads, part)
    await store.uploads.apply(part, Fail(Failure("too-large", "why")))
    with pytest.raises(TooLarge, match="why"):
        await uploads.acquire_and_get(final)
    assert await unfinished(rows) == NOTHING


# At once


@on_each_backend
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("cuts", [[CHUNK_SIZE * 200], [29_999, 700_001], [CHUNK_SIZE, 500_000]])
@pytest.mark.parametrize("pause", [0, 20])
async def test_a_part_that_is_put_while_it_is_joined(
    store: Store,
    rows: Rows,
    random_bytes: RandomBytes,
    known: bool,
    cuts: list[int],
    pause: int,
) -> None:
    content = random_bytes(MIB)
    pieces = list(cut(content, cuts))
    if known:
        # What is put takes the list of the same content then, and gives its own up.
        for number, piece in enumerate(pieces):
            await put(store, f"known{number}", piece)
    uploads = uploads_of(store)
    final = await concatenation(uploads, pieces)
    part = (await store.uploads.get(final)).spec.parts[-1]
    made = asyncio.create_task(uploads.finish(final))
    await until_it_grows(rows, final)
    for _ in range(pause):
        await asyncio.sleep(0)
    await become_a_file(store, part, pieces[-1])
    await asyncio.wait([made])
    assert await get(store, "own") == pieces[-1]
    if made.exception() is None:
        assert await get(store, "a") == content
        assert (await uploads.acquire_and_get(final)).complete
    else:
        assert isinstance(made.exception(), PartGone)
        assert await store.names.find(name_of("a")) is None
        with pytest.raises(PartGone):
            await uploads.acquire_and_get(final)
    assert await rows.broken() == []
    assert await unfinished(rows) == sum_of(await rows.uploads())


@on_each_backend
async def test_another_process_that_sees_a_part_gone_ends_who_still_joins(
    store: Store, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(MIB)
    one, other = uploads_of(store), uploads_of(store)
    pieces = list(cut(content, range(29_999, len(content), 29_999)))
    final = await concatenation(one, pieces)
    first = asyncio.create_task(one.finish(final))
    await until_it_grows(rows, final, len(pieces[0]) + 1)
    # It is in the concatenation already, whose maker needs it no more; who comes now does.
    part = (await store.uploads.get(final)).spec.parts[0]
    await become_a_file(store, part, pieces[0])
    second = asyncio.create_task(other.acquire_and_get(final))
    await asyncio.wait([first, second])
    assert await get(store, "own") == pieces[0]
    if second.exception() is None:
        assert await get(store, "a") == content
    else:
        assert isinstance(second.exception(), PartGone)
        assert isinstance(first.exception(), PartGone)
        assert await store.names.find(name_of("a")) is None
    assert await unfinished(rows) == sum_of(await rows.uploads())


@pytest.mark.parametrize("failed", [True, False])
async def test_another_process_is_faster_than_who_has_seen_all_parts(
    store: Store, rows: Rows, monkeypatch: pytest.MonkeyPatch, failed: bool
) -> None:
    one, other = uploads_of(store), uploads_of(store)
    final = await concatenation(one, [b"x" * 5, b"y" * CHUNK_SIZE])
    names, check_put = store.names, store.names.check_put

    async def be_overtaken(
        name: FileName, conditions: Conditions = UNCONDITIONAL, **_: object
    ) -> None:
        monkeypatch.setattr(names, "check_put", check_put)
        if failed:
            await store.uploads.apply(final, Fail(Failure("too-large", "why")))
        else:
            await other.finish(final)
        await check_put(name, conditions)

    monkeypatch.setattr(names, "check_put", be_overtaken)
    if failed:
        with pytest.raises(TooLarge, match="why"):
            await one.finish(final)
    else:
        assert await one.finish(final) is None
        assert await get(store, "a") == b"x" * 5 + b"y" * CHUNK_SIZE
    assert await unfinished(rows) == sum_of(await rows.uploads())


@pytest.mark.parametrize(("part", "method"), [("contents", "read"), ("chunks", "entries")])
async def test_a_file_that_another_puts_while_it_is_finished(
    store: Store,
    random_bytes: RandomBytes,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    method: str,
) -> None:
    content = random_bytes(MIB)
    spec = UploadSpec(UploadKind.FILE, name_of("a"), "text/plain")
    upload_id = await whole(uploads_of(store), content, spec)
    interface = type(getattr(store, part))
    read, reading, is_put = getattr(interface, method), asyncio.Event(), asyncio.Event()

    async def overtaken(*called: Any) -> Any:  # noqa: ANN401 - as what it stands for
        reading.set()
        await is_put.wait()
        return await read(*called)

    monkeypatch.setattr(interface, method, overtaken)
    uploads = uploads_of(store)
    finishing = asyncio.create_task(uploads.finish(upload_id))
    await reading.wait()
    # Known now, so that the list that is read for the digest is given up.
    await put(store, "known", content)
    await become_a_file(store, upload_id, content)
    is_put.set()
    assert await finishing is None
    assert await get(store, "own") == content


async def test_a_part_is_finished_by_none_but_what_it_belongs_to(store: Store) -> None:
    uploads = uploads_of(store)
    part = await whole(uploads, b"x" * 5, PART)
    assert await uploads.finish(part) is None
    assert (await uploads.acquire_and_get(part)).state is UploadState.WHOLE
    await become_a_file(store, part, b"x" * 5)
    assert (await uploads.acquire_and_get(part)).state is UploadState.COMPLETE
    with pytest.raises(NotFound):
        await become_a_file(store, part, b"x" * 5)


@on_each_backend
async def test_a_part_that_no_hasher_of_this_process_has_seen_can_be_read_for_its_digest(
    store: Store,
) -> None:
    content = b"x" * CHUNK_SIZE + b"tail"
    part = await whole(uploads_of(store), content, PART)
    finisher = uploads_of(store)._finisher
    putting = AllowedNames(store.names, EVERY_RIGHT)
    upload = await store.uploads.get(part)
    _, uploaded = await finisher.get_whole(upload, putting)
    assert uploaded.digest == Digest.of(content)
    assert (await store.uploads.get(part)).known_digest == Digest.of(content)
