"""Lists of chunks in memory: 36 bytes a chunk, so 14 MiB for 100 GiB."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from typing import Final

from chunkstore.core.chunk_lists import ENTRY_SIZE
from chunkstore.core.digest import DIGEST_SIZE, Digest

_ENTRY: Final = struct.Struct(">32sI")


class Manifest:
    """The chunks of a content, in order.

    `digest` is the content's; `entries` the chunks end to end as `core.chunk_lists` has them, each
    a digest and a size. Chunks are known by their number, from 0 on.
    """

    def __init__(self, digest: Digest, entries: bytes) -> None:
        """Take a list that came from elsewhere.

        Raises:
            ValueError: it ends within an entry, or a chunk has no bytes.
        """
        if len(entries) % ENTRY_SIZE:
            raise ValueError("the list ends within an entry")
        self.digest = digest
        self.entries = entries
        if not all(size for _, size in _ENTRY.iter_unpack(entries)):
            raise ValueError("a chunk has a byte at least")

    def __len__(self) -> int:
        return len(self.entries) // ENTRY_SIZE

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        """Yield the raw digest and the size of each chunk."""
        return _ENTRY.iter_unpack(self.entries)

    def entry(self, number: int) -> tuple[bytes, int]:
        """Return the raw digest and the size of a chunk."""
        digest, size = _ENTRY.unpack_from(self.entries, number * ENTRY_SIZE)
        return digest, size

    @cached_property
    def chunk_size(self) -> int | None:
        """The size of all chunks but the last, which may be shorter; None if they differ."""
        if not len(self):
            return None
        sizes = iter(size for _, size in self)
        first = next(sizes)
        rest = set(sizes)
        last = self.entry(len(self) - 1)[1]
        whole = {size for _, size in _ENTRY.iter_unpack(self.entries[:-ENTRY_SIZE])}
        return first if whole <= {first} and last <= first and rest <= {first, last} else None

    @cached_property
    def size(self) -> int:
        """The size of the content in bytes."""
        return sum(size for _, size in self)

    @cached_property
    def _offsets(self) -> array[int]:
        return array("Q", accumulate((size for _, size in self), initial=0))

    def offset(self, number: int) -> int:
        """Return the offset of a chunk; for the number behind the last, the content's size."""
        if self.chunk_size is not None:
            return min(number * self.chunk_size, self.size)
        return self._offsets[number]

    def number_at(self, offset: int) -> int:
        """Return the number of the chunk that has the byte at `offset`."""
        if self.chunk_size is not None:
            return offset // self.chunk_size
        return bisect_right(self._offsets, offset) - 1

    def digests(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the digests of some chunks end to end."""
        part = self.entries[start * ENTRY_SIZE : None if stop is None else stop * ENTRY_SIZE]
        return b"".join(digest for digest, _ in _ENTRY.iter_unpack(part))


def format_entry(digest: bytes, size: int) -> bytes:
    """Return one chunk as it stands in `Manifest.entries`."""
    return _ENTRY.pack(digest, size)


def split_digests(digests: bytes) -> list[bytes]:
    """Return each of the digests that stand end to end."""
    return [digests[at : at + DIGEST_SIZE] for at in range(0, len(digests), DIGEST_SIZE)]
