"""The bytes of one upload on their way into segments.

Chunks that are missing are written to segments of the upload's own, and get their rows, and their
places in the upload's list, when the segment is published. Chunks that were known get their places
at once, in a transaction that finds them, so no collection can come in between; one that was
collected since it was looked up is written as well. Chunks that another upload has published
meanwhile are used as they are, and the copies here are dead from the beginning.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from chunkstore.core.chunking import AnyChunk, Chunk, KnownChunk
from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import ChunksMissing
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.lists import OpenManifest, Place
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite import manifests
from chunkstore.store.sqlite.chunk_bytes import InSegment
from chunkstore.store.sqlite.engine.connection import Job
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import execute
from chunkstore.store.sqlite.segment_sequence import (
    PUBLISHED_AT_ONCE,
    SIZE_OF_ROWS,
    Segment,
    SegmentSequence,
    Written,
)

Entry: TypeAlias = tuple[Place, InSegment]
WrittenBatch: TypeAlias = Written[Entry]


class SegmentIntake:
    """Takes the large batches of the upload whose list `manifest` is.

    They are written and placed in the same order; a batch may be written before the one before it
    is placed.
    """

    def __init__(self, database: OpenDatabase, manifest: OpenManifest) -> None:
        self._database = database
        self._manifest = manifest
        segments = database.segments
        self._sequence = SegmentSequence[Entry](
            segments.folder, segments.begin, self._publish, segments.bounds.size
        )
        self._new = NewBytes()

    async def write(self, encodings: Mapping[Digest, Encoded]) -> WrittenBatch | None:
        """Write missing chunks; None if they have to go to the database."""
        return await self._sequence.write(encodings)

    async def place(
        self,
        written: WrittenBatch,
        manifest: OpenManifest,
        chunks: Sequence[AnyChunk],
        within: Callable[[PlaceKnown], Job[set[bytes]]] | None = None,
        before_publishing: Callable[[], None] | None = None,
    ) -> None:
        """Place the chunks of a batch behind those that `manifest` has by now.

        The job that places the known ones is run by the one that `within` returns, also if there
        are none. `before_publishing` is called once they are placed.

        Raises:
            ChunksMissing: a `KnownChunk` is not in the store as it is named; nothing was placed.
        """
        try:
            entries = await self._place_known(written, manifest, chunks, within)
        except ChunksMissing:
            # Batches before it are in the segment too.
            await self._sequence.add(written, ())
            raise
        if before_publishing is not None:
            before_publishing()
        await self._sequence.add(written, entries)

    async def _place_known(
        self,
        written: WrittenBatch,
        manifest: OpenManifest,
        chunks: Sequence[AnyChunk],
        within: Callable[[PlaceKnown], Job[set[bytes]]] | None,
    ) -> list[Entry]:
        """Place those chunks of a batch that are in the store; return what is to be published."""
        kept = written.segment.kept
        keys = [(chunk.digest.raw, chunk.size) for chunk in chunks]
        placed = list(zip(manifest.places(keys), chunks, strict=True))
        new = [
            (place, chunk)
            for place, chunk in placed
            if isinstance(chunk, Chunk) and chunk.digest in kept
        ]
        new_starts = {place.start for place, _ in new}
        known = [place for place, _ in placed if place.start not in new_starts]
        if known or within is not None:
            size = EDIT_SIZE + len(known) * SIZE_OF_ROWS
            required = frozenset(
                (chunk.digest.raw, chunk.size) for chunk in chunks if isinstance(chunk, KnownChunk)
            )
            place_known = PlaceKnown(manifest, known, required)
            job = place_known.run if within is None else within(place_known)
            gone = await self._database.writable.run(job, size=size, durable=False)
            encode = self._database.policy.encode
            again = [
                (place, chunk)
                for place, chunk in placed
                if isinstance(chunk, Chunk) and chunk.digest.raw in gone
            ]
            await written.segment.write({chunk.digest: encode(chunk) for _, chunk in again})
            new += again
        return [(place, kept[chunk.digest]) for place, chunk in new]

    @property
    def idle(self) -> bool:
        """Whether all that was written is published."""
        return self._sequence.idle

    async def finish(self) -> NewBytes:
        """Seal and publish all that was written; return how much was new, once."""
        await self._sequence.finish()
        new, self._new = self._new, NewBytes()
        return new

    async def discard(self) -> None:
        """Throw away what was not published."""
        await self._sequence.discard()

    async def _publish(self, segment: Segment[Entry]) -> None:
        # Also one in which nothing is needed, so that a collection finds it.
        for first in range(0, max(1, len(segment.entries)), PUBLISHED_AT_ONCE):
            entries = segment.entries[first : first + PUBLISHED_AT_ONCE]
            publish = Publish(segment.file.id, segment.file.size, self._manifest, entries)
            size = EDIT_SIZE + len(entries) * SIZE_OF_ROWS
            job = self._publishing(publish)
            self._new += await self._database.writable.run(job, size=size, durable=False)

    def _publishing(self, publish: Publish) -> Job[NewBytes]:
        """Return the job that publishes."""
        return publish.run


@dataclass(frozen=True, slots=True)
class PlaceKnown:
    """The job that places chunks in an open list if they are in the store, and whole.

    Those that are `required`, by digest and size, have to be.
    """

    manifest: OpenManifest
    places: Sequence[Place]
    required: Collection[tuple[bytes, int]] = ()

    def run(self, db: sqlite3.Connection) -> set[bytes]:
        """Return the digests of those that are not.

        Raises:
            ChunksMissing: one that is required is among them, or has another size.
        """
        manifests.add_manifest(db, self.manifest.id, self.manifest.chunk_size)
        ids, sizes, gone = {}, {}, set()
        for digest in {place.digest for place in self.places}:
            found = manifests.find_chunk(db, digest)
            if manifests.is_whole(found):
                ids[digest], sizes[digest] = found["id"], found["size"]
            else:
                gone.add(digest)
        lacking = {digest for digest, size in self.required if sizes.get(digest) != size}
        if lacking:
            in_order = dict.fromkeys(place.digest for place in self.places)
            raise ChunksMissing([digest.hex() for digest in in_order if digest in lacking])
        there = [place for place in self.places if place.digest in ids]
        manifests.add_places(db, self.manifest.id, ((place, ids[place.digest]) for place in there))
        return gone


@dataclass(frozen=True, slots=True)
class Publish:
    """The job that tells the database of a sealed segment and of chunks in it, with their places.

    `size` is that of all its chunks.
    """

    segment: int
    size: int
    manifest: OpenManifest
    entries: Sequence[Entry]

    def run(self, db: sqlite3.Connection) -> NewBytes:
        """Return how much of it is new."""
        execute(db, "add_segment", id=self.segment, size=self.size, now=now_microseconds())
        manifests.add_manifest(db, self.manifest.id, self.manifest.chunk_size)
        placed = []
        new = NewBytes()
        for place, kept in self.entries:
            found = manifests.find_chunk(db, place.digest)
            if manifests.is_whole(found):
                placed.append((place, found["id"]))
                continue
            chunk = manifests.store_chunk(db, found, place.digest, place.size, kept)
            placed.append((place, chunk))
            new += NewBytes(1, place.size)
        manifests.add_places(db, self.manifest.id, placed)
        return new
