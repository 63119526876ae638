"""Copying the chunks that a backup lacks: read and checked in the source, put as uploads put them.

All jobs run on the destination's writing connection, to which the source is attached.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreError
from chunkstore.store.contract.reports import Copied, Damage
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite.chunk_bytes import (
    BytesReader,
    Kept,
    columns_of,
    put_bytes,
    run_with_bytes,
)
from chunkstore.store.sqlite.engine.connection import understood_rows
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import execute, fetch_value
from chunkstore.store.sqlite.scrubbing import find_names
from chunkstore.store.sqlite.segment_sequence import (
    PUBLISHED_AT_ONCE,
    SIZE_OF_ROWS,
    Segment,
    SegmentSequence,
)
from chunkstore.store.sqlite.segments.reading import SegmentReaders

STEP_SIZE: Final = 4 * 1024 * 1024
_SPAN: Final = 10_000
# How many times as much as elsewhere is worth a segment, for all of a step is written at once.
_TIMES_LEAST: Final = 4

# The columns of a chunk's row, but for where its bytes are, and where they are to be.
_Copy: TypeAlias = tuple[dict[str, Any], Kept]


async def copy_chunks(
    destination: OpenDatabase, source: SegmentReaders
) -> AsyncGenerator[Copied, None]:
    """Copy the chunks that the destination lacks; `source` reads the segments of the source."""
    writer = destination.writable
    after, last = 0, await writer.run(partial(fetch_value, query="last_source_chunk"))
    putting = _Putting(destination)
    try:
        while after < last:
            step = await run_with_bytes(writer.run, source, ReadMissing(after, last).run)
            await putting.put(step.chunks)
            after = step.stop
            yield Copied(len(step.chunks), step.size, step.stop / last, step.damage)
        await putting.finish()
    finally:
        await putting.close()


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk of the source: the columns of its row, but for where its bytes are, and its bytes."""

    columns: dict[str, Any]
    encoded: Encoded

    @property
    def digest(self) -> Digest:
        return Digest(self.columns["digest"])


@dataclass(frozen=True, slots=True)
class FoundChunks:
    """Chunks that the destination lacks, all up to the id `stop`; their `size` is as stored."""

    stop: int
    chunks: Sequence[FoundChunk]
    size: int
    damage: Sequence[Damage]


@dataclass(frozen=True, slots=True)
class ReadMissing:
    """The job that reads some MiB of missing chunks, of ids after `after` up to `last`."""

    after: int
    last: int

    def run(self, db: sqlite3.Connection, reader: BytesReader) -> FoundChunks:
        """Return them; a damaged one is marked, so that an upload repairs it."""
        stop = min(self.after + _SPAN, self.last)
        chunks = []
        size = 0
        damage: list[Damage] = []
        for missing in execute(db, "missing_chunks", after=self.after, stop=stop).fetchall():
            row = execute(db, "source_chunk", id=missing["id"]).fetchone()
            stored = reader.read(row)
            with understood_rows():
                damaged = _find_damage(db, stored, row, missing["id"])
                chunks.append(_to_chunk(row, stored or b"", damaged=bool(damaged)))
            damage += damaged
            size += row["stored_size"]
            if size >= STEP_SIZE:
                stop = missing["id"]
                break
        return FoundChunks(stop, chunks, size, damage)


def _find_damage(
    db: sqlite3.Connection, stored: bytes | None, row: sqlite3.Row, chunk_id: int
) -> list[Damage]:
    try:
        check_chunk(row["digest"], row["size"], row["codec"], stored)
    except DamagedChunk:
        files = find_names(db, "source_files_with_chunk", chunk_id)
        return [Damage("chunk", Digest(row["digest"]), files)]
    return []


def _to_chunk(row: sqlite3.Row, content: bytes, *, damaged: bool) -> FoundChunk:
    columns = {
        "digest": row["digest"],
        "size": row["size"],
        "created": row["created"],
        "damaged": int(damaged),
    }
    return FoundChunk(columns, Encoded(row["codec"], content))


@dataclass(frozen=True, slots=True)
class PutChunks:
    """The job that puts copied chunks; in the sealed segment `segment`, its id and size, if any."""

    chunks: Sequence[_Copy]
    segment: tuple[int, int] | None = None

    def run(self, db: sqlite3.Connection) -> None:
        """Put them in place of what is there of them."""
        if self.segment is not None:
            segment, size = self.segment
            execute(db, "add_segment", id=segment, size=size, now=now_microseconds())
        for columns, kept in self.chunks:
            chunk_id = fetch_value(db, "put_copied_chunk", **columns, **columns_of(kept))
            put_bytes(db, chunk_id, kept)


class _Putting:
    """Puts copied chunks: many bytes into segments, where the destination has them."""

    def __init__(self, destination: OpenDatabase) -> None:
        self._writer = destination.writable
        self._segments = segments = destination.segments
        self._sequence = SegmentSequence[_Copy](
            segments.folder, segments.begin, self._publish, segments.bounds.size
        )

    async def put(self, chunks: Sequence[FoundChunk]) -> None:
        size = sum(len(chunk.encoded.content) for chunk in chunks)
        written = None
        # A backup of little stays one file.
        if self._segments.are_for(size // _TIMES_LEAST):
            encodings = {chunk.digest: chunk.encoded for chunk in chunks}
            written = await self._sequence.write(encodings)
        if written is not None:
            kept = written.segment.kept
            copies = [(chunk.columns, kept[chunk.digest]) for chunk in chunks]
            await self._sequence.add(written, copies)
        elif chunks:
            job = PutChunks([(chunk.columns, chunk.encoded) for chunk in chunks])
            await self._writer.run(job.run, size=size + EDIT_SIZE, durable=False)

    async def finish(self) -> None:
        await self._sequence.finish()

    async def close(self) -> None:
        # The next backup goes on from what was copied before an interruption.
        with suppress(StoreError):
            await self._sequence.finish()
        await self._sequence.discard()

    async def _publish(self, segment: Segment[_Copy]) -> None:
        identity = (segment.file.id, segment.file.size)
        for first in range(0, len(segment.entries), PUBLISHED_AT_ONCE):
            copies = segment.entries[first : first + PUBLISHED_AT_ONCE]
            size = EDIT_SIZE + len(copies) * SIZE_OF_ROWS
            job = PutChunks(copies, identity)
            await self._writer.run(job.run, size=size, durable=False)
