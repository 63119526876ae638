"""Jobs on chunks and manifests."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from chunkstore.chunking import Chunk
from chunkstore.digest import Digest
from chunkstore.errors import StoreDamaged
from chunkstore.manifest import ChunkList, Manifest
from chunkstore.store.sqlite.rows import QUERIES, now_microseconds


class DamagedChunk(StoreDamaged):
    """What is stored is damaged and was not sent; put the same content again to repair it."""

    def __init__(self, digest: Digest) -> None:
        """`digest` is what the chunk should have."""
        super().__init__()
        self.digest = digest


@dataclass(frozen=True, slots=True)
class OpenManifest:
    """An upload's chunk list so far: `count` chunks are in the store, under `id`."""

    id: int
    chunk_size: int
    count: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What appending came to: how much of it was not known before; sizes in bytes."""

    new_chunks: int = 0
    new_size: int = 0

    def __add__(self, other: Appended) -> Appended:
        return Appended(self.new_chunks + other.new_chunks, self.new_size + other.new_size)


def append(db: sqlite3.Connection, manifest: OpenManifest, chunks: Sequence[Chunk]) -> Appended:
    """Store the chunks that are missing and record all of them behind those there are."""
    now = now_microseconds()
    if manifest.count == 0:
        db.execute(
            QUERIES["add_manifest"],
            {"id": manifest.id, "chunk_size": manifest.chunk_size, "now": now},
        )
    references = []
    new_chunks = new_size = 0
    for seq, chunk in enumerate(chunks, start=manifest.count):
        chunk_id = _find_whole_chunk(db, chunk)
        if chunk_id is None:
            new_chunks += 1
            new_size += len(chunk.content)
            chunk_id = _add_chunk(db, chunk, now)
        references.append({"manifest": manifest.id, "seq": seq, "chunk": chunk_id})
    db.executemany(QUERIES["add_manifest_chunk"], references)
    return Appended(new_chunks, new_size)


def _find_whole_chunk(db: sqlite3.Connection, chunk: Chunk) -> int | None:
    """Return the chunk's id if it is stored; if it was found damaged, it is repaired by this."""
    row = db.execute(QUERIES["find_chunk"], {"digest": chunk.digest.raw}).fetchone()
    if row is None:
        return None
    chunk_id, damaged = row
    if damaged:
        db.execute(QUERIES["put_chunk_data"], {"id": chunk_id, "bytes": chunk.content})
        mark(db, chunk.digest, damaged=False)
    return int(chunk_id)


def mark(db: sqlite3.Connection, digest: Digest, *, damaged: bool) -> None:
    """Note that a chunk is damaged, or that it is whole again."""
    db.execute(QUERIES["mark_chunk"], {"digest": digest.raw, "damaged": int(damaged)})


def _add_chunk(db: sqlite3.Connection, chunk: Chunk, now: int) -> int:
    size = len(chunk.content)
    cursor = db.execute(
        QUERIES["add_chunk"],
        {"digest": chunk.digest.raw, "size": size, "stored_size": size, "now": now},
    )
    chunk_id = cursor.lastrowid
    assert chunk_id is not None
    db.execute(QUERIES["put_chunk_data"], {"id": chunk_id, "bytes": chunk.content})
    return chunk_id


def seal(
    db: sqlite3.Connection,
    manifest: OpenManifest,
    last: Sequence[Chunk],
    digest: Digest,
    size: int,
) -> tuple[Manifest, Appended]:
    """Complete an upload by its last chunks; a content that is there already is used instead."""
    row = db.execute(
        QUERIES["find_manifest"], {"digest": digest.raw, "chunk_size": manifest.chunk_size}
    ).fetchone()
    appended = Appended()
    if row is None:
        appended = append(db, manifest, last)
        db.execute(
            QUERIES["seal_manifest"], {"id": manifest.id, "digest": digest.raw, "size": size}
        )
    else:
        for chunk in last:
            _find_whole_chunk(db, chunk)
        forget(db, manifest.id)
    manifest_id = manifest.id if row is None else row[0]
    return Manifest(manifest_id, size, manifest.chunk_size, digest), appended


def forget(db: sqlite3.Connection, manifest_id: int) -> None:
    """Remove an upload's chunk list; its chunks are left to collection."""
    db.execute(QUERIES["delete_open_manifest"], {"id": manifest_id})


def read(db: sqlite3.Connection, chunks: ChunkList, start: int, stop: int) -> bytes:
    """Return the bytes `start` to `stop`. This is the gate: every chunk is checked here.

    Raises:
        DamagedChunk: a chunk is not what its digest says.
        StoreDamaged: the chunk list is not as long as it should be.
    """
    slices = list(chunks.slices(start, stop))
    if not slices:
        return b""
    bounds = {"manifest": chunks.id, "first": slices[0].seq, "stop": slices[-1].seq + 1}
    rows = db.execute(QUERIES["read_chunks"], bounds).fetchall()
    if len(rows) != len(slices):
        raise StoreDamaged
    parts = []
    for part, (digest, codec, content) in zip(slices, rows, strict=True):
        if content is None or codec != 0 or Digest.of(content).raw != digest:
            raise DamagedChunk(Digest(digest))
        whole = part.start == 0 and part.stop == len(content)
        parts.append(content if whole else memoryview(content)[part.start : part.stop])
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
