"""Jobs on uploads that outlive their request, and the contract over them.

Each job begins by locking the upload's row, so jobs on one upload come one after another on
whichever servers. What all unfinished uploads have together is a sum that each job adds to last of
all (`unfinished`), so it is right whenever nothing runs; it is not locked, so many appends at the
same moment may exceed the bound by a batch each.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Compression
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound, UploadSuperseded
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.store.contract.edits import Uploaded
from chunkstore.store.contract.uploads import (
    NOTHING,
    UNBOUNDED,
    Bounds,
    ChunkBatch,
    Failure,
    Progress,
    ResumableUpload,
    Unfinished,
    UploadKind,
    UploadSpec,
    UploadStore,
    counted,
)
from chunkstore.store.postgres import manifests, unfinished
from chunkstore.store.postgres.connection import Connection, Database
from chunkstore.store.postgres.manifests import PreparedChunks, relying_on
from chunkstore.store.postgres.presence import clock
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.chunks import NewBytes, OpenManifest
from chunkstore.store.shared.records import (
    format_failure,
    parse_failure,
    spec_columns,
    to_spec,
)
from chunkstore.store.shared.times import now_microseconds, to_datetime, to_microseconds

# Of an upload's id: as many as a digest has, far beyond guessing.
_ID_BYTES: Final = 32
_MANIFEST_ID_BITS: Final = 63
# The place of an upload's kind in its row.
_KIND: Final = 1


def new_manifest_id() -> int:
    """Return an id that no manifest has, on any server."""
    return secrets.randbits(_MANIFEST_ID_BITS)


class PostgresUploads(UploadStore):
    """The uploads of a PostgreSQL store."""

    def __init__(self, database: Database, compression: Compression, chunk_size: int) -> None:
        self._database = database
        self._compression = compression
        self._chunk_size = chunk_size

    async def create(
        self,
        spec: UploadSpec,
        length: int | None,
        expires: datetime,
        bounds: Bounds = UNBOUNDED,
    ) -> ResumableUpload:
        new = _New(
            secrets.token_urlsafe(_ID_BYTES),
            new_manifest_id(),
            self._chunk_size,
            length,
            to_microseconds(expires),
        )
        return await self._database.write_once(partial(_create, new=new, spec=spec, bounds=bounds))

    async def find(self, upload_id: str) -> ResumableUpload | None:
        found = await self._database.read(partial(_find, upload_id=upload_id))
        return None if found is None else found.upload

    async def acquire(self, upload_id: str, *, joining: bool = False) -> ResumableUpload:
        return await self._database.write(partial(_acquire, upload_id=upload_id, joining=joining))

    async def append(self, upload_id: str, batch: ChunkBatch) -> None:
        async def write(chunks: PreparedChunks) -> None:
            await self._database.write(
                partial(_append, upload_id=upload_id, batch=batch, chunks=chunks)
            )

        await relying_on(self._database, self._compression, batch.chunks, write)

    async def renew(self, upload_id: str, epoch: int, expires: datetime) -> None:
        row = (upload_id, epoch, to_microseconds(expires))
        await self._database.write(lambda db: db.execute(QUERIES["renew_upload"], *row))

    async def join(self, upload_id: str, part_id: str, epoch: int, expires: datetime) -> None:
        await self._database.write_once(
            partial(_join, upload_id=upload_id, part_id=part_id, epoch=epoch, expires=expires)
        )

    async def note_digest(self, upload_id: str, digest: Digest) -> None:
        await self._database.write(
            lambda db: db.execute(QUERIES["note_digest"], upload_id, digest.raw)
        )

    async def fail(self, upload_id: str, failure: Failure) -> None:
        await self._database.write(partial(_fail, upload_id=upload_id, failure=failure))

    async def unfinished(self) -> Unfinished:
        return await self._database.read(unfinished.get)

    async def awaiting(self, part_id: str) -> Sequence[str]:
        return await self._database.read(partial(_awaiting, part_id=part_id))

    async def delete(self, upload_id: str) -> None:
        await self._database.write_once(partial(_delete, upload_id=upload_id))


@dataclass(frozen=True, slots=True)
class _New:
    """What an upload begins with; `expires` is in microseconds."""

    id: str
    manifest: int
    chunk_size: int
    length: int | None
    expires: int


@dataclass(frozen=True, slots=True)
class _Found:
    """An upload, its manifest so far, and what of it was not known before."""

    upload: ResumableUpload
    manifest: int | None
    chunk_size: int
    appended: NewBytes
    extent: int
    counted: Unfinished

    def open_manifest(self, count: int | None = None) -> OpenManifest:
        """Return the chunk list with `count` places, or with those that are confirmed."""
        assert self.manifest is not None
        if count is None:
            count = self.upload.offset // self.chunk_size
        return OpenManifest(self.manifest, self.chunk_size, count)


async def _find(db: Connection, upload_id: str) -> _Found | None:
    if "\0" in upload_id:
        # Which PostgreSQL takes for no text at all.
        return None
    row = await db.fetchrow(QUERIES["find_upload"], upload_id)
    if row is None:
        return None
    parts = []
    if row[_KIND] == UploadKind.CONCATENATION:
        parts = [part for (part,) in await db.fetch(QUERIES["upload_parts"], upload_id)]
    return _to_found(row, parts)


async def _lock(db: Connection, upload_id: str) -> _Found:
    if "\0" not in upload_id:
        await db.fetchval(QUERIES["lock_upload"], upload_id)
    found = await _find(db, upload_id)
    if found is None:
        raise NotFound("There is no such upload.")
    return found


def _require_lease(upload: ResumableUpload, epoch: int) -> None:
    """Refuse to append unless the lease with this epoch is the newest."""
    if upload.epoch != epoch or upload.whole or upload.failure is not None:
        raise UploadSuperseded


async def _create(db: Connection, new: _New, spec: UploadSpec, bounds: Bounds) -> ResumableUpload:
    bounds.check_new(spec.kind, new.chunk_size, await unfinished.get(db))
    for part in spec.parts:
        found = await _find(db, part)
        if found is None or found.upload.spec.kind is not UploadKind.PART:
            raise NotFound("What is to be concatenated is not a partial upload.")
    now = now_microseconds()
    await db.execute(QUERIES["add_manifest"], new.manifest, new.chunk_size, None, now)
    await db.execute(
        QUERIES["add_upload"],
        new.id,
        new.manifest,
        new.chunk_size,
        new.length,
        now,
        new.expires,
        *spec_columns(spec).values(),
    )
    await db.executemany(
        QUERIES["add_upload_part"],
        [(new.id, seq, part) for seq, part in enumerate(spec.parts)],
    )
    created = await _lock(db, new.id)
    await unfinished.add(db, NOTHING, created.counted)
    return created.upload


async def _acquire(db: Connection, upload_id: str, joining: bool) -> ResumableUpload:
    found = await _lock(db, upload_id)
    if not found.upload.can_grow(joining=joining):
        return found.upload
    await db.execute(QUERIES["acquire_upload"], upload_id)
    await _remove_unconfirmed(db, found.open_manifest())
    acquired = await _lock(db, upload_id)
    await unfinished.add(db, found.counted, acquired.counted)
    return acquired.upload


async def _remove_unconfirmed(db: Connection, confirmed: OpenManifest) -> None:
    rows = await db.fetch(QUERIES["shorten_manifest"], confirmed.id, confirmed.count)
    removed = {digest for (digest,) in rows}
    if removed:
        rows = await db.fetch(QUERIES["places_with"], confirmed.id, list(removed))
        unused = sorted(removed - {digest for (digest,) in rows})
        await db.execute(QUERIES["delete_some_references"], confirmed.id, unused)


async def _append(
    db: Connection, upload_id: str, batch: ChunkBatch, chunks: PreparedChunks
) -> None:
    found = await _lock(db, upload_id)
    if batch.repeats(found.upload):
        return
    _require_lease(found.upload, batch.epoch)
    extent = max(found.chunk_size, (batch.first + len(batch.chunks)) * found.chunk_size)
    if batch.progress is not None:
        extent = max(extent, batch.progress.offset)
    if found.upload.spec.kind is not UploadKind.CONCATENATION and extent > found.extent:
        Bounds(batch.max_unfinished).check_growth(extent - found.extent, await unfinished.get(db))
    appended = await manifests.append(db, found.open_manifest(batch.first), None, chunks)
    await db.execute(
        QUERIES["extend_upload"], upload_id, extent, appended.new_chunks, appended.new_size
    )
    received = found.upload.offset
    if batch.progress is not None:
        await _confirm(db, upload_id, batch.progress)
        received = max(received, batch.progress.offset)
    await unfinished.add(db, found.counted, counted(found.upload.spec.kind, extent, received))


async def _confirm(db: Connection, upload_id: str, progress: Progress) -> None:
    await db.execute(
        QUERIES["confirm_upload"],
        upload_id,
        progress.offset,
        progress.tail,
        progress.length,
        progress.whole,
        to_microseconds(progress.expires),
    )


async def _join(
    db: Connection, upload_id: str, part_id: str, epoch: int, expires: datetime
) -> None:
    found = await _lock(db, upload_id)
    _require_lease(found.upload, epoch)
    await db.fetchval(QUERIES["keep_upload"], part_id)
    part = await _find(db, part_id)
    if part is None:
        raise NotFound("There is no such upload.")
    target, source, offset = found.open_manifest(), part.open_manifest(), found.upload.offset
    assert part.upload.whole
    assert found.chunk_size == part.chunk_size
    assert offset % found.chunk_size == 0
    await manifests.require_open(db, target.id)
    await db.execute(QUERIES["copy_references"], target.id, source.id)
    await db.execute(QUERIES["copy_places"], target.id, target.count, source.id, source.count)
    await _confirm(
        db,
        upload_id,
        Progress(offset + part.upload.offset, part.upload.tail, None, whole=False, expires=expires),
    )


async def _awaiting(db: Connection, part_id: str) -> list[str]:
    rows = await db.fetch(QUERIES["parents_of_part"], part_id)
    parents = [upload for (upload,) in rows]
    return [upload for (upload,) in await db.fetch(QUERIES["unfinished_uploads"], parents)]


async def find_tail(db: Connection, upload_id: str) -> Chunk | None:
    """Return what will be the last chunk of a whole upload, None if it is there already."""
    found = await _find(db, upload_id)
    return Chunk.of(found.upload.tail) if found is not None and found.upload.tail else None


async def complete(
    db: Connection, content: Uploaded, last: Sequence[bytes]
) -> tuple[Manifest, NewBytes, Unfinished]:
    """Seal a whole upload, which is complete by that; chunks `last` are in the store by now.

    Returns its manifest, what was new of it before, and by what the sum of the unfinished is less.

    Raises:
        NotFound: there is no such upload, or it is complete already.
        StoreUnavailable: it was given up meanwhile.
    """
    found = await _lock(db, content.upload_id)
    upload = found.upload
    if upload.ended or not upload.whole:
        raise NotFound("There is no such upload to complete.")
    open_manifest = found.open_manifest()
    if last:
        await manifests.append(db, open_manifest, None, PreparedChunks(last, ()))
    else:
        await manifests.require_open(db, open_manifest.id)
    manifest = await manifests.seal(db, open_manifest, content.digest, upload.offset)
    expires = to_microseconds(content.expires)
    await db.execute(QUERIES["complete_upload"], upload.id, content.digest.raw, expires)
    finished = found.counted
    for kind, extent, received in await db.fetch(QUERIES["use_parts"], list(upload.spec.parts)):
        finished = finished.plus(counted(UploadKind(kind), extent, received))
    return manifest, found.appended, finished


async def _delete(db: Connection, upload_id: str) -> None:
    found = await _lock(db, upload_id)
    await db.execute(QUERIES["delete_upload"], upload_id)
    if found.manifest is not None:
        await manifests.forget(db, found.manifest)
    await unfinished.add(db, found.counted, NOTHING)


async def _fail(db: Connection, upload_id: str, failure: Failure) -> None:
    await db.fetchval(QUERIES["lock_upload"], upload_id)
    found = await _find(db, upload_id)
    if found is None or found.upload.ended:
        return
    assert found.manifest is not None
    empty = new_manifest_id()
    await db.execute(QUERIES["add_manifest"], empty, found.chunk_size, None, now_microseconds())
    await db.execute(QUERIES["fail_upload"], upload_id, format_failure(failure), empty)
    await db.execute(QUERIES["condemn_manifests"], [found.manifest], await clock(db))
    await unfinished.add(db, found.counted, NOTHING)


async def find_expired(db: Connection) -> list[tuple[str, int | None]]:
    """Return the uploads that have expired, and their manifests."""
    rows = await db.fetch(QUERIES["expired_uploads"], now_microseconds())
    return [(upload, manifest) for upload, manifest in rows]


async def expire(db: Connection, upload_id: str) -> None:
    """Forget an upload if it has expired, and condemn its manifest."""
    row = await db.fetchrow(QUERIES["delete_expired_upload"], upload_id, now_microseconds())
    if row is None:
        return
    manifest, kind, extent, received, used, digest, failure = row
    if manifest is not None:
        await db.execute(QUERIES["condemn_manifests"], [manifest], await clock(db))
    if digest is None and failure is None and not used:
        await unfinished.add(db, counted(UploadKind(kind), extent, received), NOTHING)


def _to_found(row: Sequence[Any], parts: Sequence[str]) -> _Found:
    upload_id, *spec = row[:7]
    received, length, whole, epoch, created, expires, tail, manifest, chunk_size = row[7:16]
    digest, known_digest, failure, new_chunks, new_size, extent, used = row[16:]
    tail_start = received - len(tail) if failure is None else 0
    upload = ResumableUpload(
        id=upload_id,
        spec=to_spec(spec, parts),
        offset=received,
        length=length,
        whole=whole,
        epoch=epoch,
        created=to_datetime(created),
        expires=to_datetime(expires),
        tail=tail,
        chunks=None if manifest is None else ChunkList(manifest, tail_start, chunk_size),
        digest=None if digest is None else Digest(digest),
        known_digest=None if known_digest is None else Digest(known_digest),
        failure=None if failure is None else parse_failure(failure),
    )
    counts = not used and not upload.ended
    return _Found(
        upload,
        manifest,
        chunk_size,
        NewBytes(new_chunks, new_size),
        extent,
        counted(upload.spec.kind, extent, received) if counts else NOTHING,
    )
