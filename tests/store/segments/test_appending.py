"""Resumable uploads whose large batches go to segments: what is confirmed when, and to whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import TooMuchUnfinished, UploadSuperseded
from chunkstore.core.names import FileName
from chunkstore.store.contract.edits import Put, Uploaded
from chunkstore.store.contract.resumable import ResumableUpload, UploadKind, UploadSpec
from chunkstore.store.contract.upload_state import Acquire, Append, AppendLast, Progress
from chunkstore.store.contract.uploads import Appending
from chunkstore.store.contract.values import Committed
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import (
    BATCH,
    CHUNK,
    collect,
    copy_crashed,
    damage_in,
    files_of,
    opened,
    pieces,
    put,
    query,
    read,
)

LATER = datetime.now(UTC) + timedelta(hours=1)
SPEC = UploadSpec(UploadKind.FILE, FileName("a"), "text/plain")
BYTES = BATCH * CHUNK


async def acquired(store: SQLiteStore, upload_id: str | None = None) -> ResumableUpload:
    if upload_id is None:
        upload_id = (await store.uploads.create(SPEC, None, LATER)).id
    return await store.uploads.apply(upload_id, Acquire())


class Request:
    """A request that appends batches from where the upload is confirmed."""

    def __init__(self, store: SQLiteStore, upload: ResumableUpload) -> None:
        self.store = store
        self.upload = upload
        self.appending: Appending = store.uploads.appending(upload)
        self.stop = upload.offset

    async def append(self, parts: Sequence[bytes], most: int | None = None) -> int:
        """Append a batch; return what is confirmed then."""
        chunks = [Chunk.of(part) for part in parts]
        prepared = await self.appending.prepare(chunks)
        stop = self.stop + sum(map(len, parts))
        progress = Progress(stop, b"", None, LATER)
        append = Append(self.upload.epoch, self.stop, chunks, progress, most)
        confirmed = await self.appending.append(append, prepared)
        self.stop = stop
        return confirmed.offset

    async def end(self) -> ResumableUpload:
        """Confirm all, as the last of the upload."""
        await self.appending.settle()
        progress = Progress(self.stop, b"", self.stop, LATER)
        last = AppendLast(self.upload.epoch, self.stop, [], progress)
        return await self.store.uploads.apply(self.upload.id, last)


async def complete(store: SQLiteStore, upload_id: str, parts: Sequence[bytes]) -> Committed:
    content = Uploaded(upload_id, Digest.of(b"".join(parts)), LATER)
    [committed] = await store.names.apply([Put(FileName("a"), content, "text/plain")])
    assert isinstance(committed, Committed)
    return committed


def batches(parts: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [parts[first : first + BATCH] for first in range(0, len(parts), BATCH)]


async def test_what_a_segment_has_is_confirmed_when_it_is_full(
    store: SQLiteStore, path: Path
) -> None:
    parts = pieces(5 * BATCH)
    request = Request(store, await acquired(store))
    confirmed = [await request.append(batch) for batch in batches(parts)]
    assert confirmed[0] == 0
    # The third waits for nobody, the fifth for the first segment at the latest.
    assert confirmed[4] >= 2 * BYTES
    assert confirmed == sorted(confirmed)
    assert (await request.end()).offset == 5 * BYTES
    await request.appending.close()
    committed = await complete(store, request.upload.id, parts)
    assert committed.new_chunks == len(parts)
    assert query(path, "SELECT count(*) FROM chunk_data") == [(0,)]
    assert await read(store, "a") == b"".join(parts)
    assert await damage_in(store) == []


async def test_little_is_confirmed_at_once_unless_more_is_before_it(store: SQLiteStore) -> None:
    parts = pieces(BATCH + 2)
    request = Request(store, await acquired(store))
    assert await request.append(parts[:1]) == CHUNK
    assert await request.append(parts[1 : BATCH + 1]) == CHUNK
    assert await request.append(parts[BATCH + 1 :]) == CHUNK
    assert (await request.end()).offset == len(parts) * CHUNK
    await complete(store, request.upload.id, parts)
    assert await read(store, "a") == b"".join(parts)


async def test_known_chunks_are_placed_among_new_ones(store: SQLiteStore) -> None:
    known = pieces(4)
    await put(store, "known", known)
    parts = [*pieces(3, 1), *known, *pieces(4, 2), *known, *known]
    request = Request(store, await acquired(store))
    for batch in batches(parts):
        await request.append(batch)
    await request.end()
    assert (await complete(store, request.upload.id, parts)).new_chunks == 7
    assert await read(store, "a") == b"".join(parts)


async def test_what_is_not_settled_is_forgotten(store: SQLiteStore, path: Path) -> None:
    parts = pieces(3 * BATCH)
    request = Request(store, await acquired(store))
    for batch in batches(parts):
        await request.append(batch)
    await request.appending.close()
    # Two batches were sealed, or the third would not have waited.
    again = await acquired(store, request.upload.id)
    assert again.offset == 2 * BYTES
    request = Request(store, again)
    await request.append(parts[2 * BATCH :])
    await request.end()
    await complete(store, again.id, parts)
    assert await read(store, "a") == b"".join(parts)
    assert len(files_of(path)) == 2


@pytest.mark.parametrize("count", [1, 2])
async def test_a_newer_request_wins_over_one_whose_segment_is_not_published(
    store: SQLiteStore, path: Path, count: int
) -> None:
    older = Request(store, await acquired(store))
    for batch in batches(pieces(BATCH, 1)):
        await older.append(batch)
    newer = Request(store, await acquired(store, older.upload.id))
    parts = pieces(count * BATCH, 2)
    for batch in batches(parts):
        await newer.append(batch)
    with pytest.raises(UploadSuperseded):
        await older.append(pieces(BATCH, 3))
    with pytest.raises(UploadSuperseded):
        await older.end()
    await older.appending.close()
    assert (await newer.end()).offset == count * BYTES
    await newer.appending.close()
    await complete(store, newer.upload.id, parts)
    assert await read(store, "a") == b"".join(parts)
    await collect(store)
    assert await damage_in(store) == []
    assert len(files_of(path)) == 1


async def test_what_was_sealed_outlives_a_crash(store: SQLiteStore, path: Path) -> None:
    parts = pieces(4 * BATCH)
    request = Request(store, await acquired(store))
    for batch in batches(parts[: 3 * BATCH]):
        await request.append(batch)
    # It has been waited for.
    await request.append(parts[3 * BATCH :])
    crashed = path.with_name("crashed.db")
    copy_crashed(path, crashed)
    await request.appending.close()
    again = await opened(crashed)
    upload = await acquired(again, request.upload.id)
    assert upload.offset in (2 * BYTES, 4 * BYTES)
    request = Request(again, upload)
    for batch in batches(parts[upload.offset // CHUNK :]):
        await request.append(batch)
    await request.end()
    await complete(again, upload.id, parts)
    assert await read(again, "a") == b"".join(parts)
    assert await damage_in(again) == []
    await again.close()


async def test_what_is_not_confirmed_counts_among_what_is_unfinished(store: SQLiteStore) -> None:
    request = Request(store, await acquired(store))
    most = 2 * BYTES - 1
    assert await request.append(pieces(BATCH), most) == 0
    with pytest.raises(TooMuchUnfinished):
        await request.append(pieces(BATCH, 1), most)
    await request.appending.close()
