"""Jobs on uploads that outlive their request.

Each job begins by locking the upload's row, so jobs on one upload come one after another on
whichever servers. What all unfinished uploads have together is a sum that each job adds to last of
all (`unfinished`), so it is right whenever nothing runs; it is not locked, so many appends at the
same moment may exceed the bound by a batch each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreUnavailable
from chunkstore.core.manifest import ListHasher, Manifest
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
from chunkstore.store.contract.uploads import (
    HELD_AT_ONCE,
    NOTHING,
    Bounds,
    HeldChunks,
    Unfinished,
)
from chunkstore.store.postgres import manifests, unfinished, upload_table
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.manifests import Entry, PreparedChunks
from chunkstore.store.postgres.presence import clock
from chunkstore.store.postgres.reading import next_places
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.lists import OpenManifest, hash_list
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.shared.upload_rows import StoredUpload, can_exist

_NO_CHUNKS: Final = PreparedChunks((), ())
_JUST_WHOLE: Final = "The upload has just become whole; try again."


@dataclass(frozen=True, slots=True)
class CreateUpload:
    """The job that begins an upload."""

    new: StoredUpload
    bounds: Bounds

    async def run(self, db: Connection) -> ResumableUpload:
        """Return it."""
        upload, manifest = self.new.upload, self.new.open_manifest()
        self.bounds.check_new(upload.spec.kind, manifest.chunk_size, await unfinished.get(db))
        for part_id in upload.spec.parts:
            part = await upload_table.find(db, part_id)
            require_part(None if part is None else part.upload)
        await _add_manifest(db, manifest)
        await upload_table.add(db, self.new.to_row())
        await db.executemany(
            QUERIES["add_upload_part"],
            [(upload.id, seq, part_id) for seq, part_id in enumerate(upload.spec.parts)],
        )
        await unfinished.add(db, NOTHING, self.new.counted)
        return upload


@dataclass(frozen=True, slots=True)
class ApplyEvent:
    """The job that lets an event happen to an upload.

    `chunks` are those of an `Append`, or what a part that is joined has behind its last whole one.
    """

    upload_id: str
    event: Event
    chunks: PreparedChunks = _NO_CHUNKS

    async def run(self, db: Connection) -> ResumableUpload:
        """Return the upload as it is then, or as it was before it was deleted."""
        before = await upload_table.get(db, self.upload_id)
        part = None
        match self.event:
            case Delete():
                return await _delete(db, before)
            case Join(part_id):
                part = await upload_table.find(db, part_id, "FOR SHARE")
                after = before.after(self.event, part)
            case _:
                after = before.after(self.event)
        if after is not before:
            after = await self._change_chunks(db, before, after, part)
            await upload_table.save(db, after)
            await unfinished.add(db, before.counted, after.counted)
        return after.upload

    async def _change_chunks(
        self,
        db: Connection,
        before: StoredUpload,
        after: StoredUpload,
        part: StoredUpload | None,
    ) -> StoredUpload:
        """Make an upload's chunk list what it is after the event; return the upload with it."""
        match self.event:
            case Acquire():
                await _remove_unconfirmed(db, before.open_manifest())
            case Append() as append:
                after.check_growth(before, append, await unfinished.get(db))
                manifest = before.open_manifest(append.start)
                await _set_chunk_size(db, before, after)
                new = await manifests.append(db, manifest, None, self.chunks)
                return replace(after, new=after.new + new)
            case Join():
                assert part is not None
                new = await _join(db, before, after, part, self.chunks)
                return replace(after, new=after.new + new)
            case Fail():
                assert after.upload.chunks is not None
                empty = replace(after.upload.chunks, id=manifests.new_manifest_id())
                after = replace(after, upload=replace(after.upload, chunks=empty))
                await _add_manifest(db, after.open_manifest())
                await _forget_packs(db, self.upload_id, before.open_manifest().id)
        return after


@dataclass(frozen=True, slots=True)
class HoldPack:
    """The job that makes the open manifest `pack` one of an upload's packs.

    `appended` is what was new of its chunks.
    """

    upload_id: str
    pack: OpenManifest
    hold: Hold
    appended: NewBytes

    async def run(self, db: Connection, last: PreparedChunks) -> ResumableUpload:
        """Return the upload as it is once the `last` chunks are appended; made again, the same."""
        before = await upload_table.get(db, self.upload_id)
        if await db.fetchval(QUERIES["has_pack"], self.upload_id, self.pack.id):
            return before.upload
        after = before.after(self.hold)
        after.check_growth(before, self.hold, await unfinished.get(db))
        new = await manifests.append(db, self.pack, None, last)
        await db.execute(QUERIES["outlive_server"], self.pack.id)
        await db.execute(QUERIES["add_pack"], self.upload_id, self.pack.id)
        after = replace(after, new=after.new + self.appended + new)
        await upload_table.save(db, after)
        await unfinished.add(db, before.counted, after.counted)
        return after.upload


async def find_held(db: Connection, upload_id: str, after: tuple[int, int]) -> HeldChunks:
    """Return the chunks in an upload's packs, from a manifest and an offset in its list on."""
    digests: list[Digest] = []
    manifest, start = after
    packs = await db.fetch(QUERIES["packs_from"], upload_id, manifest, HELD_AT_ONCE)
    for (pack,) in packs:
        offset = start if pack == manifest else 0
        count = HELD_AT_ONCE - len(digests)
        places = await db.fetch(QUERIES["places_from"], pack, offset, count)
        digests += [Digest(row["digest"]) for row in places]
        if len(places) == count:
            return HeldChunks(digests, (pack, places[-1]["start"] + 1))
    if len(packs) == HELD_AT_ONCE:
        return HeldChunks(digests, (packs[-1]["manifest"] + 1, 0))
    return HeldChunks(digests, None)


async def _forget_packs(db: Connection, upload_id: str, *others: int) -> None:
    """Let go of an upload's packs, and condemn them with other manifests."""
    packs = [manifest for (manifest,) in await db.fetch(QUERIES["forget_packs"], upload_id)]
    if left := [*packs, *others]:
        await db.execute(QUERIES["condemn_manifests"], left, await clock(db))


async def find_tail(db: Connection, upload_id: str) -> Chunk | None:
    """Return the tail of an upload as the chunk that it will be, None if there is none."""
    stored = await upload_table.find(db, upload_id)
    return Chunk.of(stored.upload.tail) if stored is not None and stored.upload.tail else None


async def hash_whole(database: Database, upload_id: str) -> ListHasher | None:
    """Return the hasher that has seen the chunk list of a whole upload, without its tail.

    None if there is no such upload, or it is not whole, or is complete already.

    Raises:
        DamagedList: the list is not as it was written.
    """
    stored = await database.read(partial(upload_table.find, upload_id=upload_id))
    if stored is None or stored.upload.state is not UploadState.WHOLE:
        return None
    chunks = stored.upload.chunks
    assert chunks is not None
    return await hash_list(chunks, lambda at: database.read(next_places, chunks.id, at))


async def complete(
    db: Connection, content: Uploaded, last: Sequence[Entry], whole: ListHasher | None
) -> tuple[Manifest, NewBytes, Unfinished]:
    """Seal a whole upload, which is complete by that; chunks `last` are in the store by now.

    `whole` has seen its chunk list, if it was whole before the transaction. Returns its manifest,
    what was new of it before, and by what the sum of the unfinished is less.

    Raises:
        NotFound: there is no such upload, it is not whole, or it is complete already.
        StoreUnavailable: it was given up meanwhile, or has become whole since its tail was read.
    """
    before = await upload_table.get(db, content.upload_id)
    after = before.after(Complete(content.digest, content.expires))
    _require_tail(before, last)
    if whole is None:
        raise StoreUnavailable(_JUST_WHOLE)
    opened = before.open_manifest()
    if last:
        await manifests.append(db, opened, None, PreparedChunks(last, ()))
    else:
        await manifests.require_open(db, opened)
    whole = whole.copy()
    for digest, size in last:
        whole.add(digest, size)
    manifest = whole.seal(opened.id, opened.chunk_size, content.digest)
    await manifests.seal(db, manifest)
    await upload_table.save(db, after)
    await _forget_packs(db, content.upload_id)
    finished = before.counted
    if before.upload.spec.parts:
        finished = finished.plus(await _use_parts(db, before.upload.spec.parts))
    return manifest, before.new, finished


def _require_tail(stored: StoredUpload, last: Sequence[Entry]) -> None:
    tail = stored.upload.tail
    if list(last) != ([(Digest.of(tail).raw, len(tail))] if tail else []):
        raise StoreUnavailable(_JUST_WHOLE)


async def find_expired(db: Connection) -> list[tuple[str, int | None]]:
    """Return the uploads that have expired, and their manifests."""
    rows = await db.fetch(QUERIES["expired_uploads"], now_microseconds())
    return [(row["id"], row["manifest"]) for row in rows]


async def expire(db: Connection, upload_id: str) -> None:
    """Forget an upload if it has expired, and condemn its manifest."""
    row = await db.fetchrow(QUERIES["delete_expired_upload"], upload_id, now_microseconds())
    if row is None:
        return
    await _forget_packs(db, upload_id, *([] if row["manifest"] is None else [row["manifest"]]))
    if row["unfinished"]:
        counted = Unfinished.of(UploadKind(row["kind"]), row["extent"], row["received"])
        await unfinished.add(db, counted, NOTHING)


async def _delete(db: Connection, stored: StoredUpload) -> ResumableUpload:
    await db.execute(QUERIES["delete_upload"], stored.upload.id)
    await _forget_packs(db, stored.upload.id)
    if stored.upload.chunks is not None:
        await manifests.forget(db, stored.upload.chunks.id)
    await unfinished.add(db, stored.counted, NOTHING)
    return stored.upload


async def _add_manifest(db: Connection, empty: OpenManifest) -> None:
    await db.execute(QUERIES["add_manifest"], empty.id, empty.chunk_size, None, now_microseconds())


async def _remove_unconfirmed(db: Connection, confirmed: OpenManifest) -> None:
    rows = await db.fetch(QUERIES["shorten_manifest"], confirmed.id, confirmed.size)
    removed = {digest for (digest,) in rows}
    if removed:
        rows = await db.fetch(QUERIES["places_with"], confirmed.id, list(removed))
        unused = sorted(removed - {digest for (digest,) in rows})
        await db.execute(QUERIES["delete_some_references"], confirmed.id, unused)


async def _join(
    db: Connection,
    before: StoredUpload,
    after: StoredUpload,
    part: StoredUpload,
    tail: PreparedChunks,
) -> NewBytes:
    """Append all of a part to an upload's chunk list; return what was new of its tail."""
    _require_tail(part, tail.entries)
    joined = after.open_manifest()
    await manifests.copy_list(db, before.open_manifest(), part.open_manifest())
    await _set_chunk_size(db, before, after)
    if not tail.entries:
        return NewBytes()
    copied = before.open_manifest(joined.size - len(part.upload.tail))
    return await manifests.append(db, copied, None, tail)


async def _set_chunk_size(db: Connection, before: StoredUpload, after: StoredUpload) -> None:
    """Note that an open list may have larger chunks than before."""
    new = after.open_manifest()
    if new.chunk_size != before.open_manifest().chunk_size:
        await db.execute(QUERIES["set_chunk_size"], new.id, new.chunk_size)


async def _use_parts(db: Connection, parts: Sequence[str]) -> Unfinished:
    """Note that a file was made of parts; return what they counted for until now."""
    finished = NOTHING
    for row in await db.fetch(QUERIES["use_parts"], list(parts)):
        part = Unfinished.of(UploadKind(row["kind"]), row["extent"], row["received"])
        finished = finished.plus(part)
    return finished


async def find_awaiting(db: Connection, part_id: str) -> list[str]:
    if not can_exist(part_id):
        return []
    rows = await db.fetch(QUERIES["parents_of_part"], part_id)
    parents = [upload for (upload,) in rows]
    return [upload for (upload,) in await db.fetch(QUERIES["unfinished_uploads"], parents)]
