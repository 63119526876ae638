"""A list that comes in parts is hashed while the rest of it is awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from chunkstore.core.chunk_lists import MANIFEST, PARSERS, format_manifest
from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.resumable.append import Ending, UploadRequest
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.service import Service
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from tests.conftest import CHUNK_SIZE, on_each_backend, on_sqlite
from tests.store.conformance import name_of, put
from tests.store.edits import get_file
from tests.store.rows import Rows

A, B, C, D = (bytes([number]) * CHUNK_SIZE for number in range(1, 5))


@pytest.fixture
async def uploads(store: Store) -> AsyncIterator[ResumableUploads]:
    await put(store, "pool", A + B + C + D)
    made = ResumableUploads(Service(store, MemoryBudget(8 * 1024 * 1024)))
    yield made
    await made.close()


async def begin(uploads: ResumableUploads, name: str) -> str:
    spec = UploadSpec(UploadKind.FILE, name_of(name), "text/plain")
    return (await uploads.create(spec, None)).id


async def append(
    uploads: ResumableUploads, upload_id: str, offset: int, chunks: Sequence[bytes], ending: Ending
) -> int:
    """Append a list; return how many bytes the upload has then."""

    async def body() -> AsyncIterator[bytes]:
        yield format_manifest((Digest.of(chunk), len(chunk)) for chunk in chunks)

    request = UploadRequest(offset, ending, parser=PARSERS[MANIFEST]())
    return (await uploads.append(upload_id, request, body())).offset


async def content_digest(store: Store, name: str) -> Digest:
    return (await get_file(store, FileName(name_of(name)))).manifest.digest


@on_each_backend
async def test_what_came_before_is_not_read_at_the_end(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    upload_id = await begin(uploads, "a")
    first = [A, B, A, C]
    offset = await append(uploads, upload_id, 0, first, Ending.LATER)
    await uploads.hashed(upload_id)
    for chunk in (A, B, C):
        await rows.lose_bytes(Digest.of(chunk).raw)
    await append(uploads, upload_id, offset, [D], Ending.WITH_BODY)
    await uploads.finish(upload_id)
    assert await content_digest(store, "a") == Digest.of(b"".join([*first, D]))


@on_sqlite
async def test_parts_of_any_number_make_the_content(
    uploads: ResumableUploads, store: Store
) -> None:
    upload_id = await begin(uploads, "a")
    offset = 0
    chunks = [A, B, B, C, A, D, C, A]
    for chunk in chunks:
        # Some while the one before is hashed still.
        offset = await append(uploads, upload_id, offset, [chunk], Ending.LATER)
    await append(uploads, upload_id, offset, [], Ending.WITH_BODY)
    await uploads.finish(upload_id)
    assert await content_digest(store, "a") == Digest.of(b"".join(chunks))


@on_sqlite
async def test_bytes_before_a_list_are_not_read_either(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    upload_id = await begin(uploads, "a")

    async def body() -> AsyncIterator[bytes]:
        yield A + B

    await uploads.append(upload_id, UploadRequest(0, Ending.LATER), body())
    for chunk in (A, B):
        await rows.lose_bytes(Digest.of(chunk).raw)
    await append(uploads, upload_id, 2 * CHUNK_SIZE, [C], Ending.WITH_BODY)
    await uploads.finish(upload_id)
    assert await content_digest(store, "a") == Digest.of(A + B + C)


@on_sqlite
async def test_damage_found_on_the_way_is_told_at_the_end(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    upload_id = await begin(uploads, "a")
    await rows.lose_bytes(Digest.of(A).raw)
    offset = await append(uploads, upload_id, 0, [B, A], Ending.LATER)
    await uploads.hashed(upload_id)
    await put(store, "again", A)
    await append(uploads, upload_id, offset, [C], Ending.WITH_BODY)
    await uploads.finish(upload_id)
    assert await content_digest(store, "a") == Digest.of(B + A + C)


@on_sqlite
async def test_one_that_is_deleted_meanwhile_harms_nobody(uploads: ResumableUploads) -> None:
    upload_id = await begin(uploads, "a")
    await append(uploads, upload_id, 0, [A] * 100, Ending.LATER)
    await uploads.delete(upload_id)
    await asyncio.wait_for(uploads.hashed(upload_id), 60)
