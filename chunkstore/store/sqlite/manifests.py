"""Jobs on chunks and manifests."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Compression, Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File
from chunkstore.store.shared.chunks import (
    Encodings,
    NewBytes,
    OpenManifest,
    check_chunk,
    join_slices,
)
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite.engine.connection import understood_rows
from chunkstore.store.sqlite.rows import QUERIES, execute, fetch_value, to_file

_PLACES_FORGOTTEN: Final = 1024


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """How new chunks are stored."""

    compression: Compression


@dataclass(frozen=True, slots=True)
class EncodeMissing:
    """The job that encodes those of `chunks` that are not in the store; it changes nothing."""

    chunks: Sequence[Chunk]
    policy: StoragePolicy

    def run(self, db: sqlite3.Connection) -> dict[Digest, Encoded]:
        """Return the encoded chunks by digest."""
        missing = {
            chunk.digest: chunk.content for chunk in self.chunks if _find_chunk(db, chunk) is None
        }
        return {
            digest: self.policy.compression.encode(content) for digest, content in missing.items()
        }


def append(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    chunks: Sequence[Chunk],
    encodings: Encodings,
) -> NewBytes:
    """Store the missing chunks, and append all of them to a manifest.

    Missing chunks that are not among `encodings` are encoded here.
    """
    if manifest.count == 0:
        add_manifest(db, manifest.id, manifest.chunk_size)
    return _append(db, policy, manifest, chunks, encodings)


def add_manifest(db: sqlite3.Connection, manifest_id: int, chunk_size: int) -> None:
    """Add an open manifest, unless it is there."""
    execute(db, "add_manifest", id=manifest_id, chunk_size=chunk_size, now=now_microseconds())


def _append(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    chunks: Sequence[Chunk],
    encodings: Encodings,
) -> NewBytes:
    ids, appended = _put_chunks(db, policy, chunks, encodings)
    db.executemany(
        QUERIES["add_manifest_chunk"],
        [
            {"manifest": manifest.id, "seq": seq, "chunk": chunk_id}
            for seq, chunk_id in enumerate(ids, start=manifest.count)
        ],
    )
    return appended


def _put_chunks(
    db: sqlite3.Connection, policy: StoragePolicy, chunks: Sequence[Chunk], encodings: Encodings
) -> tuple[list[int], NewBytes]:
    """Store the chunks that are missing or damaged; return the ids of all."""
    ids = []
    new_chunks = new_size = 0
    for chunk in chunks:
        found = _find_chunk(db, chunk)
        if found is not None and not found["damaged"]:
            ids.append(found["id"])
            continue
        new_chunks += 1
        new_size += len(chunk.content)
        encoded = encodings.get(chunk.digest) or policy.compression.encode(chunk.content)
        ids.append(_put_chunk(db, chunk, encoded, None if found is None else found["id"]))
    return ids, NewBytes(new_chunks, new_size)


def _find_chunk(db: sqlite3.Connection, chunk: Chunk) -> sqlite3.Row | None:
    row: sqlite3.Row | None = execute(db, "find_chunk", digest=chunk.digest.raw).fetchone()
    return row


def _put_chunk(db: sqlite3.Connection, chunk: Chunk, encoded: Encoded, chunk_id: int | None) -> int:
    """Store a missing chunk, or again the damaged one with `chunk_id`; return its id."""
    stored_size, codec = len(encoded.content), encoded.codec
    if chunk_id is not None:
        execute(db, "repair_chunk", id=chunk_id, stored_size=stored_size, codec=codec)
    else:
        chunk_id = execute(
            db,
            "add_chunk",
            digest=chunk.digest.raw,
            size=len(chunk.content),
            stored_size=stored_size,
            codec=codec,
            now=now_microseconds(),
        ).lastrowid
        assert chunk_id is not None
    execute(db, "put_chunk_data", id=chunk_id, bytes=encoded.content)
    return chunk_id


def is_marked(db: sqlite3.Connection, digest: Digest) -> bool:
    """Whether a chunk is marked as damaged, or is gone."""
    row = execute(db, "find_chunk", digest=digest.raw).fetchone()
    return row is None or bool(row["damaged"])


@dataclass(frozen=True, slots=True)
class MarkChunks:
    """The job that marks chunks as damaged, or as whole again."""

    damaged: Sequence[Digest] = ()
    whole: Sequence[Digest] = ()

    def run(self, db: sqlite3.Connection) -> None:
        """Mark them."""
        for digests, mark in ((self.damaged, 1), (self.whole, 0)):
            for digest in digests:
                execute(db, "mark_chunk", digest=digest.raw, damaged=mark)


def seal(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    last: Sequence[Chunk],
    encodings: Encodings,
    digest: Digest,
    size: int,
) -> tuple[Manifest, NewBytes]:
    """Append the last chunks and seal the manifest, or use the one that equal content has."""
    whole = {
        "id": manifest.id,
        "digest": digest.raw,
        "size": size,
        "chunk_size": manifest.chunk_size,
        "now": now_microseconds(),
    }
    # Neither query changes a row if another manifest has this digest.
    query = "seal_manifest" if manifest.count else "add_whole_manifest"
    if execute(db, query, **whole).rowcount:
        appended = _append(db, policy, manifest, last, encodings)
        return Manifest(manifest.id, size, manifest.chunk_size, digest), appended
    known = fetch_value(db, "find_manifest", digest=digest.raw, chunk_size=manifest.chunk_size)
    # Damaged chunks are repaired.
    _, appended = _put_chunks(db, policy, last, encodings)
    if manifest.count:
        forget(db, manifest.id)
    else:
        execute(db, "delete_open_manifest", id=manifest.id)
    return Manifest(known, size, manifest.chunk_size, digest), appended


def forget(db: sqlite3.Connection, manifest_id: int) -> bool:
    """Delete an open manifest from its end; its chunks are left to collection.

    Only a thousand places go at once, so that no transaction is long. Return whether the manifest
    is gone; otherwise the rest is left to collection as well. A sealed manifest stays.
    """
    removed = execute(db, "shorten_open_manifest", id=manifest_id, most=_PLACES_FORGOTTEN)
    if removed.rowcount == _PLACES_FORGOTTEN:
        return False
    execute(db, "delete_open_manifest", id=manifest_id)
    return True


@dataclass(frozen=True, slots=True)
class ReadChunks:
    """The job that reads the bytes `start` to `stop` of a chunk list."""

    chunks: ChunkList
    start: int
    stop: int

    def run(self, db: sqlite3.Connection) -> bytes:
        """Return the bytes. This is the gate: every chunk is checked here.

        Raises:
            DamagedChunk: a chunk is not what its digest says.
            StoreDamaged: the chunk list is not as long as it should be.
        """
        slices = list(self.chunks.slices(self.start, self.stop))
        if not slices:
            return b""
        first, stop = slices[0].seq, slices[-1].seq + 1
        rows = execute(
            db, "read_chunks", manifest=self.chunks.id, first=first, stop=stop
        ).fetchall()
        if len(rows) != len(slices):
            raise StoreDamaged
        return join_slices(slices, [check_row(row) for row in rows])


def check_row(row: sqlite3.Row) -> bytes:
    """Return the bytes of a chunk, checked, from a row of its digest, size, codec and bytes.

    Raises:
        DamagedChunk: they are not what the digest says.
    """
    with understood_rows():
        return check_chunk(row["digest"], row["size"], row["codec"], row["bytes"])


@dataclass(frozen=True, slots=True)
class OpenFile:
    """The job that finds a file, with its content if that is one chunk of up to `inline` bytes."""

    name: FileName
    inline: int

    def run(self, db: sqlite3.Connection) -> File | None:
        """Return the file, None if there is none."""
        row = execute(db, "find_file_with_chunk", name=self.name, inline=self.inline).fetchone()
        with understood_rows():
            return None if row is None else to_file(row, _whole(row))


def _whole(row: sqlite3.Row) -> bytes | None:
    digest, size = row["chunk_digest"], row["size"]
    if digest is None:
        return b"" if size == 0 else None
    try:
        content = check_chunk(digest, size, row["codec"], row["bytes"])
    except StoreDamaged:
        # Reading the content raises it again.
        return None
    return content if len(content) == size else None
