"""Jobs on uploads that outlive their request."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from chunkstore.core.chunking import Chunk, size_of
from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunksMissing, NotFound
from chunkstore.core.manifest import ChunkList, ListHasher, Manifest
from chunkstore.store.contract.edits import Uploaded
from chunkstore.store.contract.resumable import (
    ResumableUpload,
    UploadKind,
    UploadState,
)
from chunkstore.store.contract.upload_state import (
    Acquire,
    Append,
    Complete,
    Delete,
    Event,
    Fail,
    Hold,
    Join,
    require_part,
)
from chunkstore.store.contract.uploads import HELD_AT_ONCE, Bounds, HeldChunks, Unfinished
from chunkstore.store.shared.chunks import Encodings, NewBytes
from chunkstore.store.shared.lists import DamagedList, OpenManifest
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.shared.request_upload import add_chunks
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.shared.upload_rows import StoredUpload, UploadRow, can_exist
from chunkstore.store.sqlite import manifests, rows
from chunkstore.store.sqlite.engine.connection import Runner
from chunkstore.store.sqlite.manifests import StoragePolicy
from chunkstore.store.sqlite.reading import chunks_at, read_list
from chunkstore.store.sqlite.schema import PACKAGE

QUERIES: Final = load_queries(PACKAGE, "uploads.sql")
# Bytes that a place of a chunk list takes, with that in the index by chunk.
_PLACE_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class CreateUpload:
    """The job that begins an upload."""

    new: StoredUpload
    bounds: Bounds

    def run(self, db: sqlite3.Connection) -> ResumableUpload:
        """Return it."""
        upload, manifest = self.new.upload, self.new.open_manifest()
        self.bounds.check_new(upload.spec.kind, manifest.chunk_size, find_unfinished(db))
        for part_id in upload.spec.parts:
            part = find(db, part_id)
            require_part(None if part is None else part.upload)
        _add_manifest(db, manifest.id, manifest.chunk_size)
        db.execute(QUERIES["add_upload"], self.new.to_row().to_columns())
        db.executemany(
            QUERIES["add_upload_part"],
            [
                {"upload": upload.id, "seq": seq, "part": part_id}
                for seq, part_id in enumerate(upload.spec.parts)
            ],
        )
        return upload


@dataclass(frozen=True, slots=True)
class ApplyEvent:
    """The job that lets an event happen to an upload.

    `encodings` tell how chunks are to be kept, `spare_manifest` is an id that no manifest has.
    """

    upload_id: str
    event: Event
    policy: StoragePolicy
    encodings: Encodings
    spare_manifest: int

    def run(self, db: sqlite3.Connection) -> ResumableUpload:
        """Return the upload as it is then, or as it was before it was deleted."""
        before = get(db, self.upload_id)
        match self.event:
            case Delete():
                _delete(db, before.upload)
                return before.upload
            case Join(part_id):
                part = find(db, part_id)
                after = before.after(self.event, part)
            case _:
                part = None
                after = before.after(self.event)
        if after is not before:
            after = self._change_chunks(db, before, after, part)
            save(db, after)
            if isinstance(self.event, Fail):
                db.execute(QUERIES["forget_packs"], {"upload": self.upload_id})
                manifests.forget(db, before.open_manifest().id)
        return after.upload

    def _change_chunks(
        self,
        db: sqlite3.Connection,
        before: StoredUpload,
        after: StoredUpload,
        part: StoredUpload | None,
    ) -> StoredUpload:
        """Make an upload's chunk list what it is after the event; return the upload with it."""
        match self.event:
            case Acquire():
                confirmed = before.open_manifest()
                rows.execute(db, "shorten_manifest", id=confirmed.id, start=confirmed.size)
            case Append() as append:
                after.check_growth(before, append, find_unfinished(db))
                _set_chunk_size(db, before, after)
                manifest = before.open_manifest(append.start)
                try:
                    new = manifests.append(db, self.policy, manifest, append.chunks, self.encodings)
                except ChunksMissing as missing:
                    missing.offset = before.upload.offset
                    raise
                return replace(after, new=after.new + new)
            case Join():
                assert part is not None
                joined = after.open_manifest()
                _set_chunk_size(db, before, after)
                tail = [Chunk.of(part.upload.tail)] if part.upload.tail else []
                copied = before.open_manifest(joined.size - size_of(tail))
                new = manifests.append(db, self.policy, copied, tail, {})
                return replace(after, new=after.new + new)
            case Fail():
                assert after.upload.chunks is not None
                empty = replace(after.upload.chunks, id=self.spare_manifest)
                _add_manifest(db, empty.id, empty.chunk_size)
                return replace(after, upload=replace(after.upload, chunks=empty))
        return after


@dataclass(frozen=True, slots=True)
class HoldPack:
    """The job that makes the open manifest `pack` one of an upload's packs.

    `last` chunks are appended to it; `appended` is what was new of those before.
    """

    upload_id: str
    pack: OpenManifest
    last: Sequence[Chunk]
    hold: Hold
    appended: NewBytes
    policy: StoragePolicy
    encodings: Encodings

    def run(self, db: sqlite3.Connection) -> ResumableUpload:
        """Return the upload as it is then."""
        before = get(db, self.upload_id)
        after = before.after(self.hold)
        after.check_growth(before, self.hold, find_unfinished(db))
        new = manifests.append(db, self.policy, self.pack, self.last, self.encodings)
        db.execute(QUERIES["add_pack"], {"manifest": self.pack.id, "upload": self.upload_id})
        save(db, replace(after, new=after.new + self.appended + new))
        return after.upload


def find_held(db: sqlite3.Connection, upload_id: str, after: tuple[int, int]) -> HeldChunks:
    """Return the chunks in an upload's packs, from a manifest and an offset in its list on."""
    digests: list[Digest] = []
    manifest, start = after
    of_upload = {"upload": upload_id, "manifest": manifest, "count": HELD_AT_ONCE}
    packs = [pack for (pack,) in db.execute(QUERIES["packs_from"], of_upload)]
    for pack in packs:
        offset = start if pack == manifest else 0
        of_pack = {"manifest": pack, "start": offset, "count": HELD_AT_ONCE - len(digests)}
        found = db.execute(QUERIES["digests_of_pack"], of_pack).fetchall()
        digests += [Digest(digest) for _, digest in found]
        if len(digests) == HELD_AT_ONCE:
            return HeldChunks(digests, (pack, found[-1][0] + 1))
    if len(packs) == HELD_AT_ONCE:
        return HeldChunks(digests, (packs[-1] + 1, 0))
    return HeldChunks(digests, None)


@dataclass(frozen=True, slots=True)
class CopyPlaces:
    """The job that copies places of a part's chunk list, some from `start` on, before a `Join`."""

    upload_id: str
    join: Join
    start: int

    def run(self, db: sqlite3.Connection) -> int:
        """Return the offset behind the last of them.

        Raises:
            DamagedList: the part's list is not as it was written.
            What the join itself would be refused for.
        """
        stored, part = get(db, self.upload_id), find(db, self.join.part_id)
        stored.after(self.join, part)
        assert part is not None
        target = stored.open_manifest(stored.upload.offset + self.start)
        found = chunks_at(db, part.open_manifest().id, self.start)
        if not found:
            raise DamagedList(part.open_manifest().id)
        moved = target.places((place.digest, place.size) for place, _ in found)
        ids = (chunk for _, chunk in found)
        manifests.add_places(db, target.id, zip(moved, ids, strict=True))
        return found[-1][0].stop


async def hash_whole(readers: Runner, upload_id: str) -> ListHasher | None:
    """Return the hasher that has seen the chunk list of a whole upload, without its tail.

    None if there is no such upload, or it is not whole, or is complete already.

    Raises:
        DamagedList: the list is not as it was written.
    """
    chunks = await _find_whole(readers, upload_id)
    if chunks is None:
        return None
    try:
        return await read_list(readers, chunks)
    except DamagedList:
        # Another request may have completed it meanwhile, by the list of equal content.
        if await _find_whole(readers, upload_id) is None:
            return None
        raise


async def _find_whole(readers: Runner, upload_id: str) -> ChunkList | None:
    """Return the chunk list of an upload that is whole and not complete, None of any other."""
    stored = await readers.run(partial(find, upload_id=upload_id))
    if stored is None or stored.upload.state is not UploadState.WHOLE:
        return None
    return stored.upload.chunks


def complete(
    db: sqlite3.Connection, content: Uploaded, policy: StoragePolicy, whole: ListHasher | None
) -> tuple[Manifest, NewBytes]:
    """Seal a whole upload, which is complete by that; return its manifest and what was new.

    `whole` has seen its chunk list, if it was whole before the transaction.

    Raises:
        NotFound: there is no such upload, it is not whole, or it is complete already.
    """
    before = get(db, content.upload_id)
    after = before.after(Complete(content.digest, content.expires))
    if whole is None:
        raise NotFound("There is no such upload to complete.")
    # First, because the manifest may be given up for that of the same content.
    save(db, after)
    db.execute(QUERIES["forget_packs"], {"upload": content.upload_id})
    db.execute(QUERIES["use_parts"], {"id": content.upload_id})
    last = [Chunk.of(before.upload.tail)] if before.upload.tail else []
    whole = whole.copy()
    add_chunks(whole, last)
    opened = before.open_manifest()
    sealed = whole.seal(opened.id, opened.chunk_size, content.digest)
    manifest, new = manifests.seal(db, policy, opened, last, {}, sealed)
    return manifest, before.new + new


def find_expired(db: sqlite3.Connection, now: int) -> list[tuple[str, int | None]]:
    """Return the uploads that have expired by `now`, in microseconds, and their manifests."""
    return db.execute(QUERIES["expired_uploads"], {"now": now}).fetchall()


def find_expired_packs(db: sqlite3.Connection, now: int) -> list[int]:
    """Return the manifests that are packs of uploads which have expired by `now`."""
    return [manifest for (manifest,) in db.execute(QUERIES["expired_packs"], {"now": now})]


def expire(db: sqlite3.Connection, upload_id: str, now: int) -> None:
    """Forget an upload if it has expired; the manifest that it leaves is as good as condemned."""
    db.execute(QUERIES["delete_expired_upload"], {"id": upload_id, "now": now})


def find(db: sqlite3.Connection, upload_id: str) -> StoredUpload | None:
    if not can_exist(upload_id):
        return None
    cursor = db.execute(QUERIES["find_upload"], {"id": upload_id})
    cursor.row_factory = sqlite3.Row
    columns = cursor.fetchone()
    if columns is None:
        return None
    row = UploadRow(**columns)
    parts = []
    if row.kind == UploadKind.CONCATENATION:
        parts = [part for (part,) in db.execute(QUERIES["upload_parts"], {"id": upload_id})]
    return StoredUpload.of(row, parts)


def get(db: sqlite3.Connection, upload_id: str) -> StoredUpload:
    stored = find(db, upload_id)
    if stored is None:
        raise NotFound("There is no such upload.")
    return stored


def save(db: sqlite3.Connection, stored: StoredUpload) -> None:
    db.execute(QUERIES["save_upload"], stored.to_row().to_columns())


def _set_chunk_size(db: sqlite3.Connection, before: StoredUpload, after: StoredUpload) -> None:
    """Note that an open list may have larger chunks than before."""
    new = after.open_manifest()
    if new.chunk_size != before.open_manifest().chunk_size:
        rows.execute(db, "set_chunk_size", id=new.id, chunk_size=new.chunk_size)


def _delete(db: sqlite3.Connection, upload: ResumableUpload) -> None:
    db.execute(QUERIES["delete_upload"], {"id": upload.id})
    if upload.chunks is not None:
        manifests.forget(db, upload.chunks.id)


def _add_manifest(db: sqlite3.Connection, manifest_id: int, chunk_size: int) -> None:
    db.execute(
        rows.QUERIES["add_manifest"],
        {"id": manifest_id, "chunk_size": chunk_size, "now": now_microseconds()},
    )


def find_unfinished(db: sqlite3.Connection) -> Unfinished:
    size, empty, concatenations = db.execute(QUERIES["unfinished"]).fetchone()
    return Unfinished(size, empty, concatenations)


def find_awaiting(db: sqlite3.Connection, part_id: str) -> list[str]:
    if not can_exist(part_id):
        return []
    return [upload for (upload,) in db.execute(QUERIES["uploads_awaiting"], {"part": part_id})]
