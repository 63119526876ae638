"""Segments that are written one after the other, each published when it is full.

Whoever has many bytes to keep writes them here, beside the writer: an upload, a backup, or what
compacts segments. When a segment is full, or all is written, it is sealed, and only then published
by transactions of the writer. Until then nobody can rely on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreError
from chunkstore.core.tasks import retrieve_exception
from chunkstore.store.sqlite.chunk_bytes import InSegment
from chunkstore.store.sqlite.segments.compaction import MOST_CHUNKS
from chunkstore.store.sqlite.segments.folder import SegmentFolder
from chunkstore.store.sqlite.segments.states import Event
from chunkstore.store.sqlite.segments.writing import SegmentFile

E = TypeVar("E")

# Some 10 ms of the writer.
PUBLISHED_AT_ONCE: Final = 256
# About what the rows and index entries of one chunk take.
SIZE_OF_ROWS: Final = 256


@dataclass(slots=True)
class Segment(Generic[E]):
    """A segment in the making: the chunks that it has, and what is to be published with it."""

    file: SegmentFile
    kept: dict[Digest, InSegment] = field(default_factory=dict)
    entries: list[E] = field(default_factory=list)

    async def write(self, encodings: Mapping[Digest, Encoded]) -> None:
        """Write chunks that it does not have yet."""
        new = {digest: each for digest, each in encodings.items() if digest not in self.kept}
        if not new:
            return
        contents = [encoded.content for encoded in new.values()]
        rows = await asyncio.to_thread(self.file.add, contents)
        for row, (digest, encoded) in zip(rows, new.items(), strict=True):
            size = len(encoded.content)
            self.kept[digest] = InSegment(encoded.codec, size, self.file.id, row)


@dataclass(frozen=True, slots=True)
class Written(Generic[E]):
    """Chunks that were written to a segment; it is full if they are its `last` ones."""

    segment: Segment[E]
    last: bool


class SegmentSequence(Generic[E]):
    """Segments of `folder` that one task writes, each of about `size` bytes.

    `begin` returns a new one, or None for none; `publish` tells the database of a sealed one.
    While one is sealed and published, the next is written. After any error the rest is worth
    nothing, and is to be discarded.
    """

    def __init__(
        self,
        folder: SegmentFolder,
        begin: Callable[[], SegmentFile | None],
        publish: Callable[[Segment[E]], Awaitable[None]],
        size: int,
    ) -> None:
        self._folder = folder
        self._begin = begin
        self._publish = publish
        self._size = size
        self._open: Segment[E] | None = None
        self._unpublished: list[Segment[E]] = []
        self._sealing: asyncio.Task[None] | None = None
        self._failed: StoreError | None = None

    async def write(self, encodings: Mapping[Digest, Encoded]) -> Written[E] | None:
        """Write chunks to the segment that is open; None if they have to go to the database.

        Raises:
            StoreFull: there is no room for them.
            StoreUnavailable: they cannot be written.
        """
        segment = self._open
        if segment is None:
            file = self._begin()
            if file is None:
                return None
            segment = self._open = Segment(file)
            self._unpublished.append(segment)
        try:
            await segment.write(encodings)
        except StoreError as error:
            self._failed = error
            raise
        full = segment.file.size >= self._size or segment.file.chunks >= MOST_CHUNKS
        if full:
            self._open = None
        return Written(segment, full)

    async def add(self, written: Written[E], entries: Sequence[E]) -> None:
        """Add what is to be published with chunks that were written. Called in their order."""
        written.segment.entries += entries
        if written.last:
            await self._seal(written.segment)

    @property
    def idle(self) -> bool:
        """Whether all that was written is published."""
        sealing = self._sealing
        if sealing is not None and (not sealing.done() or sealing.exception() is not None):
            return False
        return self._open is None and not self._unpublished

    async def finish(self) -> None:
        """Seal and publish all that was written.

        Raises:
            StoreError: not all was written or published; what was not is to be discarded.
        """
        if self._failed is not None:
            raise self._failed
        segment, self._open = self._open, None
        if segment is not None:
            await self._seal(segment)
        await self._wait()

    async def discard(self) -> None:
        """Throw away what was not published."""
        if self._sealing is not None:
            await asyncio.wait([self._sealing])
            retrieve_exception(self._sealing)
        unpublished, self._unpublished, self._open = self._unpublished, [], None
        for segment in unpublished:
            await asyncio.to_thread(segment.file.discard)

    async def _seal(self, segment: Segment[E]) -> None:
        """Start to seal and publish a segment, once the one before it is published."""
        await self._wait()
        self._sealing = asyncio.create_task(self._seal_and_publish(segment))

    async def _wait(self) -> None:
        if self._sealing is not None:
            # A caller that is cancelled does not stop it.
            await asyncio.shield(self._sealing)
            self._sealing = None

    async def _seal_and_publish(self, segment: Segment[E]) -> None:
        await asyncio.to_thread(segment.file.seal)
        # From here on only the database knows whether it is needed.
        self._unpublished.remove(segment)
        await _published(self._folder, segment.file.id, self._publish(segment))


async def _published(folder: SegmentFolder, segment: int, publication: Awaitable[None]) -> None:
    """Note how the publication of a segment ends."""
    try:
        await publication
    except BaseException:
        folder.note(segment, Event.FAIL_TO_PUBLISH)
        raise
    folder.note(segment, Event.PUBLISH)
