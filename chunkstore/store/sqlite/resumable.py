"""Jobs on uploads that outlive their request, and the contract over them."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound, UploadSuperseded
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.store.contract.edits import Uploaded
from chunkstore.store.contract.uploads import (
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
)
from chunkstore.store.shared.chunks import Encodings, NewBytes, OpenManifest
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.shared.records import (
    format_failure,
    parse_failure,
    spec_columns,
    to_spec,
)
from chunkstore.store.shared.times import now_microseconds, to_datetime, to_microseconds
from chunkstore.store.sqlite import manifests, rows
from chunkstore.store.sqlite.engine.connection import Runner
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, FURTHER_EDIT_SIZE
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.manifests import StoragePolicy
from chunkstore.store.sqlite.schema import PACKAGE

QUERIES: Final = load_queries(PACKAGE, "uploads.sql")
# Of an upload's id: as many as a digest has, far beyond guessing.
_ID_BYTES: Final = 32
# Bytes that a place of a chunk list takes, with that in the index by chunk.
_PLACE_SIZE: Final = 32
# That takes some 20 ms.
_PLACES_A_STEP: Final = 4096
# The place of an upload's kind in its row.
_KIND: Final = 1


class SQLiteUploads(UploadStore):
    """The uploads of an SQLite store; `manifest_ids` yields ids that no manifest has.

    `encode` tells how chunks are to be kept, before the transaction that puts them there.
    """

    def __init__(
        self,
        readers: Runner,
        writer: Writer,
        policy: StoragePolicy,
        encode: Callable[[Sequence[Chunk]], Awaitable[tuple[Encodings, int]]],
        manifest_ids: Iterator[int],
        chunk_size: int,
    ) -> None:
        self._readers = readers
        self._writer = writer
        self._policy = policy
        self._encode = encode
        self._manifest_ids = manifest_ids
        self._chunk_size = chunk_size

    async def create(
        self,
        spec: UploadSpec,
        length: int | None,
        expires: datetime,
        bounds: Bounds = UNBOUNDED,
    ) -> ResumableUpload:
        row = {
            "id": secrets.token_urlsafe(_ID_BYTES),
            "manifest": next(self._manifest_ids),
            "chunk_size": self._chunk_size,
            "length": length,
            "expires": to_microseconds(expires),
            **spec_columns(spec),
        }
        return await self._writer.run(
            partial(_create, row=row, kind=spec.kind, parts=spec.parts, bounds=bounds),
            size=EDIT_SIZE + len(spec.metadata) + FURTHER_EDIT_SIZE * len(spec.parts),
        )

    async def find(self, upload_id: str) -> ResumableUpload | None:
        found = await self._readers.run(partial(_find, upload_id=upload_id))
        return None if found is None else found.upload

    async def acquire(self, upload_id: str, *, joining: bool = False) -> ResumableUpload:
        return await self._writer.run(partial(_acquire, upload_id=upload_id, joining=joining))

    async def append(self, upload_id: str, batch: ChunkBatch) -> None:
        encodings, size = await self._encode(batch.chunks)
        await self._writer.run(
            partial(
                _append,
                upload_id=upload_id,
                batch=batch,
                policy=self._policy,
                encodings=encodings,
            ),
            size=size + _tail_size(batch) + EDIT_SIZE,
        )

    async def renew(self, upload_id: str, epoch: int, expires: datetime) -> None:
        row = {"id": upload_id, "epoch": epoch, "expires": to_microseconds(expires)}
        await self._writer.run(lambda db: db.execute(QUERIES["renew_upload"], row))

    async def join(self, upload_id: str, part_id: str, epoch: int, expires: datetime) -> None:
        chunks = (await self.get(part_id)).chunks
        places = 0 if chunks is None else chunks.chunk_count
        # In steps, because all others who write wait for each; what the last one has not confirmed
        # goes with the next lease.
        for first in range(0, places, _PLACES_A_STEP):
            await self._writer.run(
                partial(_join_some, upload_id=upload_id, part_id=part_id, epoch=epoch, first=first),
                size=EDIT_SIZE + _PLACES_A_STEP * _PLACE_SIZE,
                durable=False,
            )
        await self._writer.run(
            partial(_join, upload_id=upload_id, part_id=part_id, epoch=epoch, expires=expires),
            size=EDIT_SIZE,
        )

    async def note_digest(self, upload_id: str, digest: Digest) -> None:
        row = {"id": upload_id, "digest": digest.raw}
        await self._writer.run(lambda db: db.execute(QUERIES["note_digest"], row))

    async def fail(self, upload_id: str, failure: Failure) -> None:
        empty = next(self._manifest_ids)
        await self._writer.run(partial(_fail, upload_id=upload_id, failure=failure, empty=empty))

    async def unfinished(self) -> Unfinished:
        return await self._readers.run(_unfinished)

    async def awaiting(self, part_id: str) -> Sequence[str]:
        return await self._readers.run(partial(_awaiting, part_id=part_id))

    async def delete(self, upload_id: str) -> None:
        await self._writer.run(partial(_delete, upload_id=upload_id))


@dataclass(frozen=True, slots=True)
class _Row:
    """An upload, its manifest so far, and what of it was not known before."""

    upload: ResumableUpload
    manifest: int
    chunk_size: int
    appended: NewBytes
    extent: int

    def open_manifest(self, count: int | None = None) -> OpenManifest:
        """Return the chunk list with `count` places, or with those that are confirmed."""
        if count is None:
            count = self.upload.offset // self.chunk_size
        return OpenManifest(self.manifest, self.chunk_size, count)


def _tail_size(batch: ChunkBatch) -> int:
    return 0 if batch.progress is None else len(batch.progress.tail)


def _find(db: sqlite3.Connection, upload_id: str) -> _Row | None:
    row = db.execute(QUERIES["find_upload"], {"id": upload_id}).fetchone()
    if row is None:
        return None
    parts = []
    if row[_KIND] == UploadKind.CONCATENATION:
        parts = [part for (part,) in db.execute(QUERIES["upload_parts"], {"id": upload_id})]
    return _to_row(row, parts)


def _get(db: sqlite3.Connection, upload_id: str) -> _Row:
    row = _find(db, upload_id)
    if row is None:
        raise NotFound("There is no such upload.")
    return row


def _require_lease(upload: ResumableUpload, epoch: int) -> None:
    """Refuse to append unless the lease with this epoch is the newest."""
    if upload.epoch != epoch or upload.whole or upload.failure is not None:
        raise UploadSuperseded


def _create(
    db: sqlite3.Connection,
    row: dict[str, Any],
    kind: UploadKind,
    parts: Sequence[str],
    bounds: Bounds,
) -> ResumableUpload:
    now = now_microseconds()
    bounds.check_new(kind, row["chunk_size"], _unfinished(db))
    for part in parts:
        if _get(db, part).upload.spec.kind is not UploadKind.PART:
            raise NotFound("What is to be concatenated is not a partial upload.")
    db.execute(
        rows.QUERIES["add_manifest"],
        {"id": row["manifest"], "chunk_size": row["chunk_size"], "now": now},
    )
    db.execute(QUERIES["add_upload"], {**row, "now": now})
    db.executemany(
        QUERIES["add_upload_part"],
        [{"upload": row["id"], "seq": seq, "part": part} for seq, part in enumerate(parts)],
    )
    return _get(db, row["id"]).upload


def _acquire(db: sqlite3.Connection, upload_id: str, joining: bool) -> ResumableUpload:
    row = _get(db, upload_id)
    if not row.upload.can_grow(joining=joining):
        return row.upload
    db.execute(QUERIES["acquire_upload"], {"id": upload_id, "least": row.chunk_size})
    confirmed = row.open_manifest()
    db.execute(rows.QUERIES["shorten_manifest"], {"id": confirmed.id, "first": confirmed.count})
    return _get(db, upload_id).upload


def _append(
    db: sqlite3.Connection,
    upload_id: str,
    batch: ChunkBatch,
    policy: StoragePolicy,
    encodings: Encodings,
) -> None:
    row = _get(db, upload_id)
    if batch.repeats(row.upload):
        return
    _require_lease(row.upload, batch.epoch)
    extent = max(row.chunk_size, (batch.first + len(batch.chunks)) * row.chunk_size)
    if batch.progress is not None:
        extent = max(extent, batch.progress.offset)
    if row.upload.spec.kind is not UploadKind.CONCATENATION and extent > row.extent:
        Bounds(batch.max_unfinished).check_growth(extent - row.extent, _unfinished(db))
    manifest = row.open_manifest(batch.first)
    appended = manifests.append(db, policy, manifest, batch.chunks, encodings)
    db.execute(
        QUERIES["extend_upload"],
        {
            "id": upload_id,
            "extent": extent,
            "new_chunks": appended.new_chunks,
            "new_size": appended.new_size,
        },
    )
    if batch.progress is not None:
        _confirm(db, upload_id, batch.progress)


def _confirm(db: sqlite3.Connection, upload_id: str, progress: Progress) -> None:
    db.execute(
        QUERIES["confirm_upload"],
        {
            "id": upload_id,
            "received": progress.offset,
            "tail": progress.tail,
            "length": progress.length,
            "whole": int(progress.whole),
            "expires": to_microseconds(progress.expires),
        },
    )


def _unfinished(db: sqlite3.Connection) -> Unfinished:
    return Unfinished(*db.execute(QUERIES["unfinished"]).fetchone())


def _join_some(
    db: sqlite3.Connection, upload_id: str, part_id: str, epoch: int, first: int
) -> None:
    """Copy some places of a part's list, from its place `first` on."""
    row, part = _get_joining(db, upload_id, part_id, epoch)
    db.execute(
        QUERIES["copy_chunk_list"],
        {
            "manifest": row.manifest,
            "length": row.upload.offset // row.chunk_size,
            "source": part.manifest,
            "first": first,
            "stop": min(first + _PLACES_A_STEP, part.open_manifest().count),
        },
    )


def _join(
    db: sqlite3.Connection, upload_id: str, part_id: str, epoch: int, expires: datetime
) -> None:
    """Confirm a part whose list was copied."""
    row, part = _get_joining(db, upload_id, part_id, epoch)
    offset = row.upload.offset + part.upload.offset
    tail = part.upload.tail
    _confirm(db, upload_id, Progress(offset, tail, None, whole=False, expires=expires))


def _get_joining(
    db: sqlite3.Connection, upload_id: str, part_id: str, epoch: int
) -> tuple[_Row, _Row]:
    row, part = _get(db, upload_id), _get(db, part_id)
    _require_lease(row.upload, epoch)
    assert part.upload.whole
    assert row.chunk_size == part.chunk_size
    assert row.upload.offset % row.chunk_size == 0
    return row, part


def _awaiting(db: sqlite3.Connection, part_id: str) -> list[str]:
    return [row[0] for row in db.execute(QUERIES["uploads_awaiting"], {"part": part_id})]


def complete(
    db: sqlite3.Connection, content: Uploaded, policy: StoragePolicy
) -> tuple[Manifest, NewBytes]:
    """Seal a whole upload, which is complete by that; return its manifest and what was new.

    Raises:
        NotFound: there is no such upload, or it is complete already.
    """
    row = _get(db, content.upload_id)
    upload = row.upload
    if upload.ended or not upload.whole:
        raise NotFound("There is no such upload to complete.")
    # First, because the manifest may be given up for that of the same content.
    db.execute(
        QUERIES["complete_upload"],
        {
            "id": upload.id,
            "digest": content.digest.raw,
            "expires": to_microseconds(content.expires),
        },
    )
    db.execute(QUERIES["use_parts"], {"id": upload.id})
    last = [Chunk.of(upload.tail)] if upload.tail else []
    manifest, appended = manifests.seal(
        db, policy, row.open_manifest(), last, {}, content.digest, upload.offset
    )
    return manifest, row.appended + appended


def _fail(db: sqlite3.Connection, upload_id: str, failure: Failure, empty: int) -> None:
    row = _find(db, upload_id)
    if row is None or row.upload.ended:
        return
    manifest = {"id": empty, "chunk_size": row.chunk_size, "now": now_microseconds()}
    db.execute(rows.QUERIES["add_manifest"], manifest)
    db.execute(
        QUERIES["fail_upload"],
        {"id": upload_id, "failure": format_failure(failure), "manifest": empty},
    )
    manifests.forget(db, row.manifest)


def _delete(db: sqlite3.Connection, upload_id: str) -> None:
    row = _get(db, upload_id)
    db.execute(QUERIES["delete_upload"], {"id": upload_id})
    if not row.upload.complete:
        manifests.forget(db, row.manifest)


def find_expired(db: sqlite3.Connection, now: int) -> list[tuple[str, int | None]]:
    """Return the uploads that have expired by `now`, in microseconds, and their manifests."""
    return db.execute(QUERIES["expired_uploads"], {"now": now}).fetchall()


def expire(db: sqlite3.Connection, upload_id: str, now: int) -> int | None:
    """Forget an upload if it has expired; return the manifest it leaves, None if none."""
    removed = db.execute(QUERIES["delete_expired_upload"], {"id": upload_id, "now": now}).fetchall()
    return removed[0][0] if removed else None


def _to_row(row: Sequence[Any], parts: Sequence[str]) -> _Row:
    upload_id, *spec = row[:7]
    received, length, whole, epoch, created, expires, tail, manifest, chunk_size = row[7:16]
    digest, known_digest, failure, new_chunks, new_size, extent = row[16:]
    tail_start = received - len(tail) if failure is None else 0
    upload = ResumableUpload(
        id=upload_id,
        spec=to_spec(spec, parts),
        offset=received,
        length=length,
        whole=bool(whole),
        epoch=epoch,
        created=to_datetime(created),
        expires=to_datetime(expires),
        tail=tail,
        chunks=None if manifest is None else ChunkList(manifest, tail_start, chunk_size),
        digest=None if digest is None else Digest(digest),
        known_digest=None if known_digest is None else Digest(known_digest),
        failure=None if failure is None else parse_failure(failure),
    )
    appended = NewBytes(new_chunks, new_size)
    return _Row(upload, manifest or 0, chunk_size or 0, appended, extent)
