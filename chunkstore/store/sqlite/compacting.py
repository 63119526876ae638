"""Compaction: live chunks of segments that are mostly dead, or small, are copied to new ones.

A copy is sealed before any row refers to it, and the old file goes after a synced transaction saw
that no row does any more, so a crash at any moment loses nothing. Extra room is needed for one new
segment at a time. Chunks are checked on their way; a damaged one stays where it is, marked.

In a store that is to be one file, all chunks of segments are moved to the database instead.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite.chunk_bytes import (
    BytesReader,
    Kept,
    columns_of,
    put_bytes,
    run_with_bytes,
)
from chunkstore.store.sqlite.engine.connection import Runner, understood_rows
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.manifests import Marks
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import execute
from chunkstore.store.sqlite.segment_sequence import (
    PUBLISHED_AT_ONCE,
    SIZE_OF_ROWS,
    Segment,
    SegmentSequence,
)
from chunkstore.store.sqlite.segment_sweep import remove_unused
from chunkstore.store.sqlite.segments.compaction import MOST_REWRITTEN, SegmentUse, choose

_STEP_SIZE: Final = 4 * 1024 * 1024
_USES_A_STEP: Final = 64
_BYTES_PER_SECOND: Final = 64 * 1024 * 1024
# What compaction may take of the space that is free.
_ROOM: Final = 1 / 2


@dataclass(frozen=True, slots=True)
class _Found:
    """A live chunk of a segment: its id, digest, and bytes as they are stored."""

    id: int
    digest: Digest
    segment: int
    row: int
    encoded: Encoded


# A chunk, with the segment and the row that it was copied from, and where it is now.
_Move: TypeAlias = tuple[int, int, int, Kept]


@dataclass(slots=True)
class _Step:
    """Chunks of a segment, up to the row `last`; None if there is none behind."""

    last: int | None
    found: list[_Found]
    damaged: list[Digest]


async def compact(database: OpenDatabase) -> None:
    """Rewrite segments until none is worth it, at a rate that leaves the disk to others."""
    readers, segments = database.readers, database.segments
    tried: set[int] = set()
    while True:
        held = segments.folder.held()
        uses = [each for each in await _find_uses(readers) if each.id not in {*tried, *held}]
        if segments.wanted:
            chosen = choose(uses, await asyncio.to_thread(_room, database))
        else:
            chosen = uses[:1]
        if not chosen:
            return
        tried.update(each.id for each in chosen)
        await _rewrite(database, chosen)
        await remove_unused(readers, database.writable, segments)


def _room(database: OpenDatabase) -> int:
    figures = os.statvfs(database.path.parent)
    return int(figures.f_bavail * figures.f_frsize * _ROOM)


async def _find_uses(readers: Runner) -> list[SegmentUse]:
    found: list[SegmentUse] = []
    # In steps: a long transaction would keep the log from being emptied.
    while step := await readers.run(partial(_uses, after=found[-1].id if found else -1)):
        found += step
    return found


def _uses(db: sqlite3.Connection, after: int) -> list[SegmentUse]:
    rows = execute(db, "segment_uses", after=after, count=_USES_A_STEP)
    return [SegmentUse(row["id"], row["size"], row["live"], row["chunks"]) for row in rows]


async def dead_size(readers: Runner) -> int:
    """Return how many bytes of all segments are no chunk's any more."""
    return sum(each.size - each.live for each in await _find_uses(readers))


async def _rewrite(database: OpenDatabase, chosen: Sequence[SegmentUse]) -> None:
    rewriting = _Rewriting(database)
    try:
        for segment in chosen:
            await rewriting.copy(segment.id)
        await rewriting.finish()
    finally:
        await rewriting.discard()


class _Rewriting:
    """Copies chunks of segments to new ones, or to the database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database
        segments = database.segments
        self._sequence = SegmentSequence[_Move](
            segments.folder, segments.begin_rewriting, self._publish, 2 * MOST_REWRITTEN
        )

    async def copy(self, segment: int) -> None:
        """Copy the live chunks of a segment."""
        database = self._database
        after: int | None = 0
        while after is not None:
            read = partial(_read_live, segment=segment, after=after)
            step = await run_with_bytes(database.readers.run, database.segments.readers, read)
            if step.damaged:
                await database.writable.run(Marks(chunks=step.damaged).run)
            await self._put(step.found)
            after = step.last

    async def _put(self, found: Sequence[_Found]) -> None:
        if not found:
            return
        written = await self._sequence.write({each.digest: each.encoded for each in found})
        if written is None:
            await self._move([(each.id, each.segment, each.row, each.encoded) for each in found])
        else:
            kept = written.segment.kept
            moves = [(each.id, each.segment, each.row, kept[each.digest]) for each in found]
            await self._sequence.add(written, moves)
        await asyncio.sleep(sum(len(each.encoded.content) for each in found) / _BYTES_PER_SECOND)

    async def finish(self) -> None:
        """Seal and publish what was copied."""
        await self._sequence.finish()

    async def discard(self) -> None:
        """Throw away what was not published."""
        await self._sequence.discard()

    async def _publish(self, segment: Segment[_Move]) -> None:
        for first in range(0, len(segment.entries), PUBLISHED_AT_ONCE):
            moves = segment.entries[first : first + PUBLISHED_AT_ONCE]
            await self._move(moves, (segment.file.id, segment.file.size))

    async def _move(self, moves: Sequence[_Move], segment: tuple[int, int] | None = None) -> None:
        # They add nothing, but for what the database gets; an old file goes for it.
        size = sum(len(kept.content) for *_, kept in moves if isinstance(kept, Encoded))
        await self._database.writable.run(
            MoveChunks(moves, segment).run,
            size=size,
            log_size=EDIT_SIZE + len(moves) * SIZE_OF_ROWS,
            durable=False,
        )


def _read_live(db: sqlite3.Connection, reader: BytesReader, segment: int, after: int) -> _Step:
    """Read some MiB of the live chunks of a segment, behind the row `after`."""
    step = _Step(None, [], [])
    size = 0
    rows = execute(db, "chunks_of_segment", segment=segment, after=after)
    with understood_rows(), closing(rows):
        for row in rows:
            digest, stored = Digest(row["digest"]), reader.read(row)
            try:
                check_chunk(row["digest"], row["size"], row["codec"], stored)
            except DamagedChunk:
                step.damaged.append(digest)
                continue
            encoded = Encoded(row["codec"], stored or b"")
            step.found.append(_Found(row["id"], digest, segment, row["segment_row"], encoded))
            size += row["stored_size"]
            if size >= _STEP_SIZE:
                step.last = row["segment_row"]
                break
    return step


@dataclass(frozen=True, slots=True)
class MoveChunks:
    """The job that notes where chunks were copied to: a sealed segment, its id and size, if any."""

    moves: Sequence[_Move]
    segment: tuple[int, int] | None

    def run(self, db: sqlite3.Connection) -> None:
        """Leave alone what was collected, or moved by somebody else, in between."""
        if self.segment is not None:
            segment, size = self.segment
            execute(db, "add_segment", id=segment, size=size, now=now_microseconds())
        for chunk, old_segment, old_row, kept in self.moves:
            old = {"id": chunk, "old_segment": old_segment, "old_row": old_row}
            where = columns_of(kept)
            moved = execute(
                db,
                "move_chunk",
                **old,
                segment=where["segment"],
                segment_row=where["segment_row"],
            )
            if moved.rowcount:
                put_bytes(db, chunk, kept)
