"""Jobs on chunks and manifests."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Compression, Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.store.contract.values import File
from chunkstore.store.shared.chunks import (
    Encodings,
    NewBytes,
    OpenManifest,
    check_chunk,
    join_slices,
)
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite.rows import FILE_COLUMNS, QUERIES, SIZE_COLUMN, to_file

_PLACES_FORGOTTEN: Final = 1024


@dataclass(frozen=True, slots=True)
class StoragePolicy:
    """How new chunks are kept."""

    compression: Compression


def encode_missing(
    db: sqlite3.Connection, policy: StoragePolicy, chunks: Sequence[Chunk]
) -> dict[Digest, Encoded]:
    """Return how those of `chunks` are to be kept that are not in the store."""
    missing = {chunk.digest: chunk.content for chunk in chunks if not _find_chunk(db, chunk)}
    return {digest: policy.compression.encode(content) for digest, content in missing.items()}


def append(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    chunks: Sequence[Chunk],
    encodings: Encodings,
) -> NewBytes:
    """Store the chunks that are missing and record all of them behind those there are.

    What is missing and not among `encodings` is encoded here.
    """
    if manifest.count == 0:
        db.execute(
            QUERIES["add_manifest"],
            {"id": manifest.id, "chunk_size": manifest.chunk_size, "now": now_microseconds()},
        )
    return _add_chunks(db, policy, manifest, chunks, encodings)


def _add_chunks(
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
    """Store those chunks that are missing or damaged; return the ids of all."""
    ids = []
    new_chunks = new_size = 0
    for chunk in chunks:
        found = _find_chunk(db, chunk)
        if found is not None and not found.damaged:
            ids.append(found.id)
            continue
        new_chunks += 1
        new_size += len(chunk.content)
        encoded = encodings.get(chunk.digest) or policy.compression.encode(chunk.content)
        if found is None:
            ids.append(_add_chunk(db, chunk, encoded))
        else:
            _repair_chunk(db, found.id, encoded)
            ids.append(found.id)
    return ids, NewBytes(new_chunks, new_size)


@dataclass(frozen=True, slots=True)
class _Found:
    id: int
    damaged: bool


def _find_chunk(db: sqlite3.Connection, chunk: Chunk) -> _Found | None:
    row = db.execute(QUERIES["find_chunk"], {"digest": chunk.digest.raw}).fetchone()
    return None if row is None else _Found(row[0], bool(row[1]))


def _add_chunk(db: sqlite3.Connection, chunk: Chunk, encoded: Encoded) -> int:
    """Store a chunk that is missing; return its id."""
    row = {
        "digest": chunk.digest.raw,
        "size": len(chunk.content),
        "stored_size": len(encoded.content),
        "codec": encoded.codec,
        "now": now_microseconds(),
    }
    chunk_id = db.execute(QUERIES["add_chunk"], row).lastrowid
    assert chunk_id is not None
    db.execute(QUERIES["put_chunk_data"], {"id": chunk_id, "bytes": encoded.content})
    return chunk_id


def _repair_chunk(db: sqlite3.Connection, chunk_id: int, encoded: Encoded) -> None:
    """Store the bytes of a chunk anew that was found damaged."""
    row = {"id": chunk_id, "stored_size": len(encoded.content), "codec": encoded.codec}
    db.execute(QUERIES["repair_chunk"], row)
    db.execute(QUERIES["put_chunk_data"], {"id": chunk_id, "bytes": encoded.content})


def is_marked(db: sqlite3.Connection, digest: Digest) -> bool:
    """Return whether a chunk is known to be damaged, or is gone."""
    row = db.execute(QUERIES["find_chunk"], {"digest": digest.raw}).fetchone()
    return row is None or bool(row[1])


def mark(db: sqlite3.Connection, digest: Digest, *, damaged: bool) -> None:
    """Note that a chunk is damaged, or that it is whole again."""
    db.execute(QUERIES["mark_chunk"], {"digest": digest.raw, "damaged": int(damaged)})


def seal(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    manifest: OpenManifest,
    last: Sequence[Chunk],
    encodings: Encodings,
    digest: Digest,
    size: int,
) -> tuple[Manifest, NewBytes]:
    """Complete an upload by its last chunks; a content that is there already is used instead."""
    whole = {
        "id": manifest.id,
        "digest": digest.raw,
        "size": size,
        "chunk_size": manifest.chunk_size,
        "now": now_microseconds(),
    }
    # Neither changes a row if another one has this digest.
    query = QUERIES["seal_manifest" if manifest.count else "add_whole_manifest"]
    if db.execute(query, whole).rowcount:
        appended = _add_chunks(db, policy, manifest, last, encodings)
        return Manifest(manifest.id, size, manifest.chunk_size, digest), appended
    [(known,)] = db.execute(QUERIES["find_manifest"], whole).fetchall()
    # What is damaged of it is repaired.
    _, appended = _put_chunks(db, policy, last, encodings)
    if manifest.count:
        forget(db, manifest.id)
    else:
        _delete_open(db, manifest.id)
    return Manifest(known, size, manifest.chunk_size, digest), appended


def forget(db: sqlite3.Connection, manifest_id: int) -> bool:
    """Remove an upload's chunk list from its end; its chunks are left to collection.

    Only a thousand places go at once, so that no transaction is long. Return whether none is
    left; what is is left to collection as well. A manifest that is complete stays.
    """
    places = {"id": manifest_id, "most": _PLACES_FORGOTTEN}
    if db.execute(QUERIES["shorten_open_manifest"], places).rowcount == _PLACES_FORGOTTEN:
        return False
    _delete_open(db, manifest_id)
    return True


def _delete_open(db: sqlite3.Connection, manifest_id: int) -> None:
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
    return join_slices(slices, [check_chunk(*row) for row in rows])


def find_file(db: sqlite3.Connection, name: str, inline: int) -> File | None:
    """Return the file; with its content if that is one whole chunk of at most `inline` bytes."""
    row = db.execute(QUERIES["find_file_with_chunk"], {"name": name, "inline": inline}).fetchone()
    return None if row is None else to_file(row[:FILE_COLUMNS], _whole(row))


def _whole(row: Sequence[Any]) -> bytes | None:
    size, (digest, *chunk) = row[SIZE_COLUMN], row[FILE_COLUMNS:]
    if size == 0:
        return b""
    try:
        content = None if digest is None else check_chunk(digest, *chunk)
    except StoreDamaged:
        # Who reads it is told.
        return None
    return content if content is not None and len(content) == size else None
