"""Manifests: which chunk holds which bytes of a content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chunkstore.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes `start` to `stop` (half-open) of the chunk at place `seq`."""

    seq: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ChunkList:
    """The head of a list of chunks; the list itself stays in the store, under `id`.

    All chunks are `chunk_size` bytes long but the last, which holds what remains of `size`.
    """

    id: int
    size: int
    chunk_size: int

    @property
    def chunk_count(self) -> int:
        """How many chunks there are."""
        return -(-self.size // self.chunk_size)

    def slices(self, start: int, stop: int) -> Iterator[Slice]:
        """Yield, in order, the parts of chunks that make up the bytes `start` to `stop`.

        Raises:
            ValueError: the range does not lie within the content.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"{start}:{stop} is not a range of {self.size} bytes")
        while start < stop:
            seq, offset = divmod(start, self.chunk_size)
            length = min(self.chunk_size - offset, stop - start)
            yield Slice(seq, offset, offset + length)
            start += length


@dataclass(frozen=True, slots=True)
class Manifest(ChunkList):
    """The chunk list of a whole content, whose digest is known; it never changes."""

    digest: Digest
