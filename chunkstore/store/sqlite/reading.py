"""Jobs that read file content and chunk lists, and check all that they read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.core.packs import Record
from chunkstore.store.contract.values import File
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk, to_record
from chunkstore.store.shared.lists import (
    DamagedList,
    Place,
    ReadBytes,
    hash_list,
    most_places,
    read_places,
)
from chunkstore.store.sqlite.chunk_bytes import BytesReader
from chunkstore.store.sqlite.engine.connection import Runner, understood_rows
from chunkstore.store.sqlite.rows import execute, to_file

T = TypeVar("T")

# That takes some 20 ms.
PLACES_A_STEP: Final = 4096
# Beyond every offset.
_NO_LIMIT: Final = 2**62


@dataclass(frozen=True, slots=True)
class ReadChunks:
    """The job that reads the bytes `start` to `stop` of a chunk list.

    They are at most `most`, of the number of chunks that `most_places` tells; None sets no bound.
    """

    chunks: ChunkList
    start: int
    stop: int
    most: int | None

    def run(self, db: sqlite3.Connection, reader: BytesReader) -> ReadBytes:
        """Return the bytes, up to `stop` or to the end of the last chunk within the bounds.

        This is the gate: every chunk and every place is checked here.

        Raises:
            DamagedChunk: a chunk is not what its digest says.
            DamagedList: the chunk list is not as it was written.
        """
        places, contents = self._read(db, partial(check_row, reader=reader))
        return ReadBytes.join(places, contents, self.start, self.stop)

    def run_kept(
        self, db: sqlite3.Connection, reader: BytesReader
    ) -> tuple[list[Place], list[Record]]:
        """Return the places of the same chunks, and the chunks as they are kept; as `run`."""
        places, records = self._read(db, partial(_to_record, reader=reader))
        # A damaged index may find more than was looked for.
        needed = sum(place.start < self.stop for place in places)
        return places[:needed], records[:needed]

    def _read(
        self, db: sqlite3.Connection, read: Callable[[sqlite3.Row], T]
    ) -> tuple[list[Place], list[T]]:
        """Return the places, checked, and what `read` makes of the row of each chunk."""
        limit, count = _NO_LIMIT, _NO_LIMIT
        if self.most is not None:
            count = most_places(self.most)
            if self.stop - self.start > self.most:
                limit = self.start + max(1, self.most)
        rows = execute(
            db,
            "read_chunks",
            manifest=self.chunks.id,
            start=self.start,
            # Or all places up to the end would be looked at for each window.
            stop=min(self.stop, limit),
            limit=limit,
            count=count,
        ).fetchall()
        fits = limit == _NO_LIMIT and len(rows) < count
        with understood_rows():
            places = [Place(row["start"], row["size"], row["digest"], row["tie"]) for row in rows]
            try:
                # In sparse files, most are the same.
                found = {row["digest"]: row for row in rows}
                chunks = {digest: read(row) for digest, row in found.items()}
            except DamagedChunk as error:
                self._check_places(places, fits, damaged=error.digest)
                raise
            self._check_places(places, fits)
            return places, [chunks[place.digest] for place in places]

    def _check_places(
        self, places: Sequence[Place], fits: bool, damaged: Digest | None = None
    ) -> None:
        """Check the places that were read; a chunk in one of them may be `damaged`."""
        try:
            read_places(self.chunks.id, places, self.start)
        except DamagedList as error:
            error.chunk = damaged
            raise
        if fits and places[-1].stop < self.stop:
            raise DamagedList(self.chunks.id, damaged)


def check_row(row: sqlite3.Row, reader: BytesReader) -> bytes:
    """Return the bytes of a chunk, checked, by a row of its digest, size and codec.

    It also has the columns by which `reader` finds the bytes, and raises what that raises.

    Raises:
        DamagedChunk: they are not what the digest says.
    """
    with understood_rows():
        return check_chunk(row["digest"], row["size"], row["codec"], reader.read(row))


def _to_record(row: sqlite3.Row, reader: BytesReader) -> Record:
    return to_record(row["digest"], row["size"], row["codec"], reader.read(row))


@dataclass(frozen=True, slots=True)
class ReadEntries:
    """The job that reads places of a list, at most `most`, from the one on that holds `start`."""

    chunks: ChunkList
    start: int
    most: int

    def run(self, db: sqlite3.Connection) -> list[Place]:
        """Return them, checked.

        Raises:
            DamagedList: they are not as they were written.
        """
        count = min(self.most, PLACES_A_STEP)
        manifest = self.chunks.id
        rows = execute(db, "places_at", manifest=manifest, start=self.start, count=count)
        with understood_rows():
            places = [Place(row["start"], row["size"], row["digest"], row["tie"]) for row in rows]
            read_places(manifest, places, self.start)
        return places


@dataclass(frozen=True, slots=True)
class OpenFile:
    """The job that finds a file, with its content if that is one chunk of up to `inline` bytes."""

    name: FileName
    inline: int

    def run(self, db: sqlite3.Connection) -> File | None:
        """Return the file, None if there is none."""
        row = execute(db, "find_file_with_chunk", name=self.name, inline=self.inline).fetchone()
        return None if row is None else to_file(row, self.name, _whole(row))


def _whole(row: sqlite3.Row) -> bytes | None:
    """Return the content in a row; that of one chunk has the digest of the chunk."""
    if row["chunk_digest"] is None:
        return b"" if row["size"] == 0 else None
    try:
        return check_chunk(row["digest"], row["size"], row["codec"], row["bytes"])
    except (StoreDamaged, TypeError, ValueError, OverflowError):
        # Reading the content raises it again.
        return None


def places_of(db: sqlite3.Connection, manifest_id: int, start: int) -> list[Place]:
    """Return the next places of a list from the offset `start` on, checked; none at its end.

    Raises:
        DamagedList: they are not as they were written.
    """
    return [place for place, _ in chunks_at(db, manifest_id, start)]


def chunks_at(
    db: sqlite3.Connection, manifest_id: int, start: int, query: str = "read_places"
) -> list[tuple[Place, int]]:
    """Return the next places and the ids of their chunks, as `query` finds them; as `places_of`."""
    rows = execute(db, query, manifest=manifest_id, start=start, count=PLACES_A_STEP)
    found = []
    for row in rows:
        if row["digest"] is None:
            raise DamagedList(manifest_id)
        place = Place(row["start"], row["size"], row["digest"], row["tie"])
        found.append((place, row["chunk"]))
    if found:
        with understood_rows():
            read_places(manifest_id, [place for place, _ in found], start)
    return found


async def read_list(readers: Runner, chunks: ChunkList) -> ListHasher:
    """Return the hasher that has seen a whole list, as `hash_list` does."""

    async def next_places(start: int) -> list[Place]:
        return await readers.run(partial(places_of, manifest_id=chunks.id, start=start))

    return await hash_list(chunks, next_places)
