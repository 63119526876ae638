"""Manifests: which chunk holds which bytes of a file, and how a chunk list proves itself.

A list is a sequence of chunks of any length. Three values tell damage from what was written:

- The **list's digest** is BLAKE3 of its entries, one for each chunk, in order: the chunk's
  digest, then its size as four bytes, big-endian. Equal lists have equal digests everywhere.
- The **tie** of a place binds a chunk to its offset in one manifest, so that a part of a list can
  be trusted without reading all of it.
- The **proof** of a manifest binds its id to the content's digest and size and to its list's
  digest. A name repeats it, so that it cannot come to point at other content.

Ties and proofs are 64 bits of BLAKE3: enough for damage by chance, and nothing against somebody who
writes to the database, who could compute them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from chunkstore.core.digest import Digest

_ENTRY: Final = struct.Struct(">32sI")
_TIE: Final = struct.Struct(">qqI32s")
_PROOF: Final = struct.Struct(">q32sqIq32s")
_VALUES_TIE: Final = struct.Struct(">qq")
_CHECKSUM_TIE: Final = struct.Struct(">q")
_CHECK_SIZE: Final = 8


def tie(manifest_id: int, start: int, size: int, digest: bytes) -> int:
    """Return the tie of the chunk with this digest, of `size` bytes, at offset `start`."""
    return _check(_TIE.pack(manifest_id, start, size, digest))


def tie_values(manifest_id: int, start: int, values: bytes) -> int:
    """Return the tie of the chaining values of chunks, the first of them at offset `start`."""
    return _check(_VALUES_TIE.pack(manifest_id, start) + values)


def tie_checksum(manifest_id: int, algorithm: str, value: bytes) -> int:
    """Return the tie of the checksum of a content by an algorithm."""
    return _check(_CHECKSUM_TIE.pack(manifest_id) + algorithm.encode() + b"\0" + value)


def prove(
    manifest_id: int, digest: bytes, size: int, chunk_size: int, chunk_count: int, listed: bytes
) -> int:
    """Return the proof of a manifest with these values; `listed` is its list's digest."""
    packed = _PROOF.pack(manifest_id, digest, size, chunk_size, chunk_count, listed)
    # As `_check`, but without a further call: lists prove each of their files.
    return int.from_bytes(blake3(packed).digest(_CHECK_SIZE), "big", signed=True)


@dataclass(frozen=True, slots=True)
class ChunkList:
    """A chunk list without its rows, which the store has under `id`.

    No chunk has more than `chunk_size` bytes; together they have `size`.
    """

    id: int
    size: int
    chunk_size: int

    def require_range(self, start: int, stop: int) -> None:
        """Refuse bytes that the list does not have.

        Raises:
            ValueError: the range `start` to `stop` does not lie within the `size` bytes.
        """
        if not 0 <= start <= stop <= self.size:
            raise ValueError(f"{start}:{stop} is not a range of {self.size} bytes")


@dataclass(frozen=True, slots=True)
class Manifest(ChunkList):
    """The chunk list of complete file content, with its digest; immutable.

    `chunk_count` chunks are in the list, whose own digest is `list_digest`.
    """

    digest: Digest
    chunk_count: int
    list_digest: Digest

    @property
    def proof(self) -> int:
        """What proves that all these values belong together."""
        return prove(
            self.id,
            self.digest.raw,
            self.size,
            self.chunk_size,
            self.chunk_count,
            self.list_digest.raw,
        )


class ListHasher:
    """Computes the digest of a chunk list whose chunks are added in order."""

    def __init__(self) -> None:
        self.size = 0
        self.chunk_count = 0
        self.largest = 0
        self._blake3 = blake3()

    def add(self, digest: bytes, size: int) -> None:
        """Add the next chunk, by its digest, of `size` bytes."""
        self._blake3.update(_ENTRY.pack(digest, size))
        self.size += size
        self.chunk_count += 1
        self.largest = max(self.largest, size)

    def copy(self) -> ListHasher:
        """Return another that has the same chunks so far."""
        copy = ListHasher()
        copy.size, copy.chunk_count, copy.largest = self.size, self.chunk_count, self.largest
        copy._blake3 = self._blake3.copy()
        return copy

    def digest(self) -> Digest:
        """Return the digest of the list so far."""
        return Digest(self._blake3.digest())

    def seal(self, manifest_id: int, chunk_size: int, digest: Digest) -> Manifest:
        """Return the manifest that has this list; `digest` is that of the content.

        Its chunk size is `chunk_size`, unless a chunk that was known is larger.
        """
        chunk_size = max(chunk_size, self.largest)
        return Manifest(manifest_id, self.size, chunk_size, digest, self.chunk_count, self.digest())

    def proves(self, manifest: Manifest) -> bool:
        """Whether the list is the whole one of a manifest."""
        return (self.size, self.chunk_count, self.digest()) == (
            manifest.size,
            manifest.chunk_count,
            manifest.list_digest,
        )


def _check(packed: bytes) -> int:
    return int.from_bytes(blake3(packed).digest(length=_CHECK_SIZE), "big", signed=True)
