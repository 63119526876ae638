"""Lists of equal chunks, each of which is a subtree of BLAKE3, and the parts they are read in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chunkstore.core.chunking import KnownChunk
from chunkstore.core.manifest import ChunkList, ListHasher, Manifest
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.subtrees import PAGE_VALUES

# Pages of chaining values that are read, merged and kept together.
GROUP_PAGES: Final = 16
# The smallest subtree, a leaf.
_LEAST_CHUNK_SIZE: Final = 1024


class Unprovable(Exception):
    """The digest of a content cannot be computed by chaining values."""


@dataclass(frozen=True, slots=True)
class Span:
    """Chunks of a list that follow each other: where the first begins and the last ends."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class EvenList:
    """A list of two chunks or more, all of `chunk_size` bytes; the last one may have fewer."""

    chunks: ChunkList
    chunk_size: int

    @classmethod
    async def of(cls, store: Store, chunks: ChunkList) -> EvenList | None:
        """Return what a list is by its first chunk, None if its chunks have no chaining values.

        Whether the others have their sizes is seen when they are read.
        """
        if not chunks.size:
            return None
        [first] = await store.chunks.entries(chunks, 0, 1)
        if first.size < _LEAST_CHUNK_SIZE or first.size & (first.size - 1):
            return None
        even = cls(chunks, first.size)
        if even.count < 2 or (isinstance(chunks, Manifest) and chunks.chunk_count != even.count):
            return None
        return even

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return self.count_in(Span(0, self.chunks.size))

    def count_in(self, span: Span) -> int:
        """Return how many chunks there are in a span."""
        return -(-(span.stop - span.start) // self.chunk_size)

    def chunk(self, number: int) -> Span:
        """Return where the chunk with this number lies; the first is 0."""
        start = number * self.chunk_size
        return Span(start, min(start + self.chunk_size, self.chunks.size))

    def groups(self) -> Iterator[Span]:
        """Yield the spans whose values are in `GROUP_PAGES` pages."""
        return self._spans(Span(0, self.chunks.size), GROUP_PAGES * PAGE_VALUES)

    def pages(self, span: Span) -> Iterator[Span]:
        """Yield the spans whose values are in one page each, of those in a span."""
        return self._spans(span, PAGE_VALUES)

    def last_page(self) -> Span:
        """Return the span whose values are in the last page."""
        *_, last = self.pages(Span(0, self.chunks.size))
        return last

    def _spans(self, whole: Span, count: int) -> Iterator[Span]:
        size = count * self.chunk_size
        for start in range(whole.start, whole.stop, size):
            yield Span(start, min(start + size, whole.stop))


class EntryReader:
    """Reads the entries of a list from its beginning to its end."""

    def __init__(self, store: Store, even: EvenList) -> None:
        self._chunks = store.chunks
        self._even = even
        self._whole = ListHasher()

    async def read_to(self, stop: int) -> list[KnownChunk]:
        """Return the entries that were not read before, up to where a chunk ends, or all there are.

        Raises:
            Unprovable: a chunk has another size than it should have.
            StoreDamaged: the list is not what it was; with its last entry, not what was sealed.
        """
        even, whole = self._even, self._whole
        stop = min(stop, even.chunks.size)
        found: list[KnownChunk] = []
        while (start := even.chunk(whole.chunk_count).start) < stop:
            most = even.count_in(Span(start, stop))
            some = await self._chunks.entries(even.chunks, start, most, whole)
            if any(entry.size != even.chunk_size for entry in some[:-1]):
                raise Unprovable
            if whole.size != even.chunk(whole.chunk_count - 1).stop:
                raise Unprovable
            found += some
        return found

    async def read_rest(self) -> None:
        """Read what was not read before, page by page. Raise as `read_to`."""
        for page in self._even.pages(Span(self._whole.size, self._even.chunks.size)):
            await self.read_to(page.stop)
