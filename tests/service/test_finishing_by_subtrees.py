"""A content that comes as a list is not read for its digest where its bases are known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

import pytest

from chunkstore.core.blake3_tree import chaining_values
from chunkstore.core.chunking import KnownChunk
from chunkstore.core.digest import DIGEST_SIZE, Digest
from chunkstore.core.errors import ContentMismatch, StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.resumable.uploads import ResumableUploads
from chunkstore.service.service import Service
from chunkstore.store.contract.resumable import UploadKind, UploadSpec
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.upload_state import Acquire, Append, AppendLast, Progress
from tests.conftest import CHUNK_SIZE, on_each_backend, on_sqlite
from tests.store.conformance import get, name_of, put
from tests.store.edits import delete, get_file
from tests.store.rows import Rows
from tests.store.upload_conformance import later

CHUNKS = [bytes([number]) * CHUNK_SIZE for number in range(1, 6)]
A, B, C, D, E = CHUNKS
# More than is read in any case; five pages of values.
BASE = [A, B, C, D] * 1100
NEXT = [*BASE[:-1], E, E]


@pytest.fixture
async def uploads(store: Store) -> AsyncIterator[ResumableUploads]:
    await put(store, "pool", b"".join(CHUNKS))
    made = uploads_of(store)
    for task in made.tasks:
        task.start()
    yield made
    await made.close()


def uploads_of(store: Store) -> ResumableUploads:
    return ResumableUploads(Service(store, MemoryBudget(8 * 1024 * 1024)))


async def whole(
    uploads: ResumableUploads,
    chunks: Sequence[bytes],
    name: str,
    *bases: str,
    checks: dict[str, bytes] | None = None,
) -> str:
    """Return the id of an upload whose content has come as a list."""
    size = sum(map(len, chunks))
    spec = UploadSpec(
        UploadKind.FILE,
        name_of(name),
        "text/plain",
        checks=checks or {},
        bases=[FileName(base) for base in bases],
    )
    upload = await uploads.create(spec, size)
    store = uploads.service.store.uploads
    epoch = (await store.apply(upload.id, Acquire())).epoch
    known = [KnownChunk(Digest.of(chunk), len(chunk)) for chunk in chunks]
    start = 0
    for first in range(0, len(known), 2000):
        some = known[first : first + 2000]
        stop = start + sum(chunk.size for chunk in some)
        kind = AppendLast if stop == size else Append
        await store.apply(upload.id, kind(epoch, start, some, Progress(stop, b"", size, later())))
        start = stop
    return upload.id


async def put_list(
    uploads: ResumableUploads, chunks: Sequence[bytes], name: str, *bases: str
) -> None:
    await uploads.finish(await whole(uploads, chunks, name, *bases))
    file = await get_file(uploads.service.store, name_of(name))
    assert file.manifest.digest == Digest.of(b"".join(chunks))


async def values_of(store: Store, name: str) -> bytes:
    manifest = (await get_file(store, name_of(name))).manifest
    return b"".join(page.values for page in await store.subtrees.find(manifest.id, 0, 10))


async def until_there_are_values(store: Store, name: str, chunks: Sequence[bytes]) -> None:
    """Wait until all values of a file are kept, which are computed in the background."""
    async with asyncio.timeout(60):
        while len(await values_of(store, name)) < len(chunks) * DIGEST_SIZE:  # noqa: ASYNC110 - rows tell nobody
            await asyncio.sleep(0.01)
    assert await values_of(store, name) == chaining_values([(0, b"".join(chunks))], CHUNK_SIZE)


async def lose(rows: Rows, *chunks: bytes) -> None:
    """Make chunks such that whoever reads them fails."""
    for chunk in chunks:
        await rows.lose_bytes(Digest.of(chunk).raw)


@on_each_backend
async def test_a_new_version_is_not_read(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    await put_list(uploads, BASE, "a")
    await until_there_are_values(store, "a", BASE)
    await lose(rows, A, B, C)
    await put_list(uploads, NEXT, "a")
    # So is the one after it, since what was computed is kept.
    await put_list(uploads, [E, *NEXT[1:]], "b", "a")
    assert len(await values_of(store, "b")) == len(NEXT) * DIGEST_SIZE
    await uploads.close()
    for name in "ab":
        await delete(store, name_of(name))
    await collect_all(store.maintenance, 0)
    assert await rows.fetch("SELECT start FROM subtree") == []


@on_each_backend
async def test_a_content_that_came_by_its_bytes_gets_values_as_a_base(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    await put(store, "a", b"".join(BASE), appended=2000)
    await put_list(uploads, NEXT, "b", "a")
    await until_there_are_values(store, "a", BASE)
    await until_there_are_values(store, "b", NEXT)
    await lose(rows, A, B, C)
    await put_list(uploads, [*BASE[:-1], E], "c", "missing", "a")


@on_sqlite
async def test_content_that_is_to_be_checked_otherwise_is_read(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    await put_list(uploads, BASE, "a")
    await until_there_are_values(store, "a", BASE)
    claims = {"sha256": sha256(b"".join(NEXT)).digest()}
    wrong = await whole(uploads, NEXT, "a", checks={"sha256": bytes(32)})
    with pytest.raises(ContentMismatch):
        await uploads.finish(wrong)
    await uploads.finish(await whole(uploads, NEXT, "a", checks=claims))
    assert await get(store, "a") == b"".join(NEXT)
    unread = await whole(uploads, [*NEXT, E], "b", checks=claims)
    await lose(rows, A)
    with pytest.raises(StoreDamaged):
        await uploads.finish(unread)


@on_each_backend
async def test_another_process_finishes_what_one_began(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    """Values of an upload that was given up half way are no hindrance to who goes on."""
    await put_list(uploads, BASE, "a")
    await until_there_are_values(store, "a", BASE)
    upload_id = await whole(uploads, NEXT, "a")
    for steps in (1, 10, 30, 60):
        other = uploads_of(store)
        finishing = asyncio.create_task(other.finish(upload_id))
        for _ in range(steps):
            await asyncio.sleep(0)
        finishing.cancel()
        await asyncio.wait({finishing})
        await other.close()
    await lose(rows, A, B, C)
    await uploads.finish(upload_id)
    assert (await get_file(store, name_of("a"))).manifest.digest == Digest.of(b"".join(NEXT))


@on_sqlite
async def test_what_was_computed_is_dropped_with_its_upload(
    uploads: ResumableUploads, store: Store, rows: Rows
) -> None:
    await put_list(uploads, BASE, "a")
    await until_there_are_values(store, "a", BASE)
    upload_id = await whole(uploads, NEXT, "a", checks={})
    upload = await store.uploads.get(upload_id)
    assert upload.chunks is not None
    await store.subtrees.keep(
        upload.chunks.id, await store.subtrees.find(upload.chunks.id - 1, 0, 10)
    )
    await uploads.delete(upload_id)
    await collect_all(store.maintenance, 0)
    manifest = (await get_file(store, name_of("a"))).manifest
    assert {row[0] for row in await rows.fetch("SELECT manifest FROM subtree")} == {manifest.id}
