"""The bytes of chunks: where they are kept, how they are put there and read.

They lie in a table `chunk_data`: that of the database, where the row has the id of the chunk, or
that of a segment, which the chunk's row names. Bytes are put in the database by the transaction
that stores the chunk, so they come with it (`Encoded`). Those in a segment are there, and synced,
before any transaction may refer to them (`InSegment`). They go with the chunk's row, at once or
when its segment is collected.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest
from chunkstore.store.sqlite.engine.connection import Job
from chunkstore.store.sqlite.rows import execute
from chunkstore.store.sqlite.segments.reading import SegmentGone, SegmentReaders

T = TypeVar("T")
R = TypeVar("R", covariant=True)


@dataclass(frozen=True, slots=True)
class InSegment:
    """A chunk's bytes that are in a row of a sealed segment, `stored_size` of them."""

    codec: int
    stored_size: int
    segment: int
    row: int


Kept: TypeAlias = Encoded | InSegment
KeptBytes: TypeAlias = Mapping[Digest, Kept]


def columns_of(kept: Kept) -> dict[str, Any]:
    """Return the columns of a chunk's row that say how its bytes are kept."""
    match kept:
        case Encoded(codec, content):
            return {
                "codec": codec,
                "stored_size": len(content),
                "segment": None,
                "segment_row": None,
            }
        case InSegment(codec, stored_size, segment, row):
            return {
                "codec": codec,
                "stored_size": stored_size,
                "segment": segment,
                "segment_row": row,
            }


def put_bytes(db: sqlite3.Connection, chunk_id: int, kept: Kept) -> None:
    """Put the bytes of a chunk where its row says that they are, in place of older ones."""
    if isinstance(kept, Encoded):
        execute(db, "put_chunk_data", id=chunk_id, bytes=kept.content)
    else:
        execute(db, "delete_chunk_data", id=chunk_id)


@dataclass(frozen=True, slots=True)
class BytesReader:
    """Reads bytes of chunks, in whatever they lie; the segments among `lost` have no file."""

    segments: SegmentReaders
    lost: Collection[int] = ()

    def read(self, row: sqlite3.Row) -> bytes | None:
        """Return the bytes of the chunk in a row, None if they are lost.

        The row has the columns `segment` and `segment_row`, and `bytes` of `chunk_data`.

        Raises:
            SegmentGone: their segment has no file; they may have been moved to another.
            StoreUnavailable: it cannot be read at the moment.
        """
        segment = row["segment"]
        if segment is None:
            found: bytes | None = row["bytes"]
            return found
        if segment in self.lost:
            self.segments.tell(segment)
            return None
        return self.segments.read(segment, row["segment_row"])


class BytesJob(Protocol[R]):
    """A job that reads bytes of chunks."""

    def __call__(self, db: sqlite3.Connection, reader: BytesReader) -> R: ...


async def run_with_bytes(
    run: Callable[[Job[T]], Awaitable[T]],
    segments: SegmentReaders,
    job: BytesJob[T],
) -> T:
    """Run a job that reads bytes of chunks; `run` runs it on a connection.

    If a segment is gone, the job is run again and looks up where the bytes were moved to. If it is
    told the same as before, they are lost.
    """
    lost: set[int] = set()
    while True:
        reader = BytesReader(segments, frozenset(lost))
        try:
            return await run(partial(job, reader=reader))
        except SegmentGone as gone:
            lost.add(gone.segment)
