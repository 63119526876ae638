"""Jobs on chunks and manifests that write, and the mark of what is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard

from chunkstore.core.chunking import AnyChunk, Chunk, KnownChunk
from chunkstore.core.compression import Compression, Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunksMissing
from chunkstore.core.manifest import Manifest
from chunkstore.store.shared.chunks import Encodings, NewBytes
from chunkstore.store.shared.lists import OpenManifest, Place
from chunkstore.store.shared.manifest_rows import proved_manifest
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite.chunk_bytes import Kept, columns_of, put_bytes
from chunkstore.store.sqlite.rows import QUERIES, execute, fetch_value

_PLACES_FORGOTTEN: Final = 1024
# Pages of chaining values that go in one transaction: half a MiB.
PAGES_REMOVED: Final = 16


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """How new chunks are stored."""

    compression: Compression

    def encode(self, chunk: Chunk) -> Encoded:
        """Return the bytes of a chunk as they are to be kept."""
        return chunk.encoded or self.compression.encode(chunk.content)


@dataclass(frozen=True, slots=True)
class EncodeMissing:
    """The job that encodes those of `chunks` that the store lacks; it changes nothing."""

    chunks: Sequence[Chunk]
    policy: StoragePolicy

    def run(self, db: sqlite3.Connection) -> dict[Digest, Encoded]:
        """Return the encoded chunks by digest."""
        missing = {
            chunk.digest: chunk
            for chunk in self.chunks
            if not is_whole(find_chunk(db, chunk.digest.raw))
        }
        return {digest: self.policy.encode(chunk) for digest, chunk in missing.items()}


def append(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    chunks: Sequence[AnyChunk],
    encodings: Encodings,
) -> NewBytes:
    """Store the missing chunks, and append all of them to a manifest.

    Missing chunks that are not among `encodings` are encoded here.

    Raises:
        ChunksMissing: a `KnownChunk` is not in the store as it is named.
    """
    if manifest.size == 0:
        add_manifest(db, manifest.id, manifest.chunk_size)
    return _append(db, policy, manifest, chunks, encodings)


def add_manifest(db: sqlite3.Connection, manifest_id: int, chunk_size: int) -> None:
    """Add an open manifest, unless it is there."""
    execute(db, "add_manifest", id=manifest_id, chunk_size=chunk_size, now=now_microseconds())


def _append(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    chunks: Sequence[AnyChunk],
    encodings: Encodings,
) -> NewBytes:
    ids, appended = _put_chunks(db, policy, chunks, encodings)
    places = manifest.places((chunk.digest.raw, chunk.size) for chunk in chunks)
    add_places(db, manifest.id, zip(places, ids, strict=True))
    return appended


def add_places(
    db: sqlite3.Connection, manifest_id: int, placed: Iterable[tuple[Place, int]]
) -> None:
    """Record places of a manifest's list, each with the id of its chunk."""
    db.executemany(
        QUERIES["add_place"],
        [
            {"manifest": manifest_id, "start": place.start, "chunk": chunk_id, "tie": place.tie}
            for place, chunk_id in placed
        ],
    )


def _put_chunks(
    db: sqlite3.Connection, policy: StoragePolicy, chunks: Sequence[AnyChunk], encodings: Encodings
) -> tuple[list[int], NewBytes]:
    """Store the chunks that are missing or damaged; return the ids of all.

    Raises:
        ChunksMissing: a `KnownChunk` is not in the store as it is named.
    """
    ids = []
    new_chunks = new_size = 0
    lacking: dict[str, None] = {}
    there = _find_chunks(
        db, [chunk.digest.raw for chunk in chunks if isinstance(chunk, KnownChunk)]
    )
    for chunk in chunks:
        found = there.get(chunk.digest.raw) or find_chunk(db, chunk.digest.raw)
        if isinstance(chunk, KnownChunk):
            if is_whole(found) and found["size"] == chunk.size:
                ids.append(found["id"])
            else:
                lacking[str(chunk.digest)] = None
            continue
        if is_whole(found):
            ids.append(found["id"])
            continue
        new_chunks += 1
        new_size += chunk.size
        encoded = encodings.get(chunk.digest) or policy.encode(chunk)
        ids.append(store_chunk(db, found, chunk.digest.raw, chunk.size, encoded))
        # What was damaged is not any more.
        there.pop(chunk.digest.raw, None)
    if lacking:
        raise ChunksMissing(list(lacking))
    return ids, NewBytes(new_chunks, new_size)


def find_chunk(db: sqlite3.Connection, digest: bytes) -> sqlite3.Row | None:
    """Return the row of a chunk, None if it is not there."""
    row: sqlite3.Row | None = execute(db, "find_chunk", digest=digest).fetchone()
    return row


def find_sizes(db: sqlite3.Connection, digests: Sequence[Digest]) -> dict[Digest, int]:
    """Return the sizes of the chunks that are there and not damaged. This is a job."""
    there = _find_chunks(db, [digest.raw for digest in digests])
    found = ((digest, there.get(digest.raw)) for digest in digests)
    return {digest: row["size"] for digest, row in found if is_whole(row)}


def _find_chunks(db: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, sqlite3.Row]:
    """Return the rows of those chunks that are there, by digest."""
    if not digests:
        return {}
    # One statement, since each takes and gives back the interpreter's lock.
    rows = execute(db, "find_chunks", digests=b"".join(digests))
    return {row["digest"]: row for row in rows}


def find_equal(db: sqlite3.Connection, list_digest: Digest) -> Digest | None:
    """Return the digest of the content that has this list, if it is not damaged. This is a job."""
    row = execute(db, "find_manifest", list=list_digest.raw).fetchone()
    if row is None or row["damaged"]:
        return None
    manifest = proved_manifest(row)
    return None if manifest is None else manifest.digest


def is_whole(found: sqlite3.Row | None) -> TypeGuard[sqlite3.Row]:
    """Whether a chunk was found, and is not damaged."""
    return found is not None and not found["damaged"]


def store_chunk(
    db: sqlite3.Connection, found: sqlite3.Row | None, digest: bytes, size: int, kept: Kept
) -> int:
    """Store a missing chunk, or again the damaged one that was `found`; return its id."""
    columns = {"size": size, **columns_of(kept)}
    if found is not None:
        chunk_id: int | None = found["id"]
        execute(db, "repair_chunk", id=chunk_id, **columns)
    else:
        now = now_microseconds()
        chunk_id = execute(db, "add_chunk", digest=digest, now=now, **columns).lastrowid
    assert chunk_id is not None
    put_bytes(db, chunk_id, kept)
    return chunk_id


def seal(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    last: Sequence[AnyChunk],
    encodings: Encodings,
    sealed: Manifest,
) -> tuple[Manifest, NewBytes]:
    """Append the last chunks and seal the manifest as `sealed`, or use the one of an equal list.

    Damaged manifests of the same content give way to it, and their files point at it from then on.
    """
    given_up = execute(db, "damaged_manifests", digest=sealed.digest.raw).fetchall()
    for damaged in given_up:
        execute(db, "give_up_manifest", id=damaged["id"])
    known = None
    if not _add_whole(db, sealed):
        found = execute(db, "find_manifest", list=sealed.list_digest.raw).fetchone()
        known = _known(found, sealed)
        if known is None:
            given_up.append(found)
            execute(db, "give_up_manifest", id=found["id"])
            _add_whole(db, sealed)
    if known is None:
        appended = _append(db, policy, manifest, last, encodings)
    else:
        # Damaged chunks are repaired.
        _, appended = _put_chunks(db, policy, last, encodings)
        forget(db, manifest.id)
    used = sealed if known is None else known
    for damaged in given_up:
        old = {"old": damaged["id"], "old_proof": damaged["proof"]}
        execute(db, "repoint_files", **old, manifest=used.id, proof=used.proof)
    return used, appended


def _add_whole(db: sqlite3.Connection, sealed: Manifest) -> bool:
    """Add a sealed manifest, or seal an open one; return whether no equal list was there."""
    added = execute(
        db,
        "add_whole_manifest",
        id=sealed.id,
        digest=sealed.digest.raw,
        size=sealed.size,
        chunk_size=sealed.chunk_size,
        chunks=sealed.chunk_count,
        list=sealed.list_digest.raw,
        proof=sealed.proof,
        now=now_microseconds(),
    )
    return bool(added.rowcount)


def _known(row: sqlite3.Row, sealed: Manifest) -> Manifest | None:
    """Return the manifest that has an equal list, None if its row is damaged."""
    known = proved_manifest(row)
    if known is None or (known.digest, known.list_digest) != (sealed.digest, sealed.list_digest):
        return None
    return known


def forget(db: sqlite3.Connection, manifest_id: int) -> bool:
    """Delete an open manifest from its end; its chunks are left to collection.

    Only a thousand places go at once, so that no transaction is long. Return whether the manifest
    is gone; otherwise the rest is left to collection as well. A manifest that is sealed, or held as
    a pack, stays.
    """
    places = execute(db, "shorten_open_manifest", id=manifest_id, most=_PLACES_FORGOTTEN)
    pages = execute(db, "shorten_open_subtrees", manifest=manifest_id, most=PAGES_REMOVED)
    if places.rowcount == _PLACES_FORGOTTEN or pages.rowcount == PAGES_REMOVED:
        return False
    execute(db, "delete_open_manifest", id=manifest_id)
    return True


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of damage, on chunks by their digests and on manifests by their ids.

    Those that are not `damaged` any more are whole again.
    """

    chunks: Sequence[Digest] = ()
    manifests: Sequence[int] = ()
    damaged: bool = True

    def run(self, db: sqlite3.Connection) -> None:
        """Set the marks. This is a job."""
        for digest in self.chunks:
            execute(db, "mark_chunk", digest=digest.raw, damaged=self.damaged)
        for manifest in self.manifests:
            execute(db, "mark_manifest", id=manifest, damaged=self.damaged)

    def are_set(self, db: sqlite3.Connection) -> bool:
        """Whether all are set, or what they are of is gone. This is a job."""
        chunks = (fetch_value(db, "chunk_mark", digest=digest.raw) for digest in self.chunks)
        manifests = (fetch_value(db, "manifest_mark", id=manifest) for manifest in self.manifests)
        return all(mark in (None, self.damaged) for mark in (*chunks, *manifests))
