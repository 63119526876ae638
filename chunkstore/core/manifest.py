"""Manifests: which chunk holds which bytes of a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from chunkstore.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes `start` to `stop` (half-open) of the chunk at position `seq`."""

    seq: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class ChunkList:
    """A chunk list without its rows, which the store has under `id`.

    All chunks have `chunk_size` bytes, except that the last holds the rest of the `size` bytes.
    """

    id: int
    size: int
    chunk_size: int

    @property
    def chunk_count(self) -> int:
        """The number of chunks."""
        return -(-self.size // self.chunk_size)

    def slices(self, start: int, stop: int) -> Iterator[Slice]:
        """Yield, in order, the parts of chunks that make up the bytes `start` to `stop`.

        Raises:
            ValueError: the range does not lie within the `size` bytes.
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
    """The chunk list of complete file content, with its digest; immutable."""

    digest: Digest
