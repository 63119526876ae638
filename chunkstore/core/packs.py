"""Packs: many chunks in one body, each as it is kept, with its digest.

`docs/sync.md` has the form. A pack is parsed as it comes: a record is handed out once all of its
bytes are there, so no more than one chunk is held besides what a piece brings.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Codec, Encoded, decode, may_be_kept
from chunkstore.core.digest import Digest
from chunkstore.core.pieces import Pieces

PACK: Final = "application/vnd.chunkstore.pack"
MAX_PACK_SIZE: Final = 64 * 1024 * 1024
_HEAD: Final = struct.Struct(">32sB3sII")
HEAD_SIZE: Final = _HEAD.size
_CODECS: Final = {int(codec): codec for codec in Codec}


@dataclass(frozen=True, slots=True)
class Record:
    """A chunk in a pack: its digest, its size in bytes, and its bytes as they are kept."""

    digest: Digest
    size: int
    encoded: Encoded

    @property
    def head(self) -> bytes:
        """What stands before its bytes as it travels."""
        encoded = self.encoded
        return _HEAD.pack(self.digest.raw, encoded.codec, bytes(3), len(encoded.content), self.size)

    def to_bytes(self) -> bytes:
        """Return the record as it travels."""
        return self.head + self.encoded.content

    def to_chunk(self) -> Chunk:
        """Return the chunk, whose bytes have been checked against its digest.

        Raises:
            ValueError: its bytes cannot be decoded, or do not match.
        """
        content = decode(self.encoded.codec, self.encoded.content, self.size)
        if len(content) != self.size or Digest.of(content) != self.digest:
            raise ValueError("a chunk does not match its digest")
        kept = self.encoded if may_be_kept(self.encoded, self.size) else None
        return Chunk(self.digest, content, kept)


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands before the bytes of a record."""

    digest: Digest
    codec: Codec
    stored: int
    size: int

    @classmethod
    def parse(cls, head: bytes, max_chunk_size: int) -> _Head:
        """Parse `HEAD_SIZE` bytes.

        Raises:
            ValueError: no record can begin with them.
        """
        digest, codec, reserved, stored, size = _HEAD.unpack(head)
        if any(reserved):
            raise ValueError("the three bytes after the codec are zero")
        if codec not in _CODECS:
            raise ValueError(f"unknown codec {codec}")
        if not 1 <= size <= max_chunk_size:
            raise ValueError(f"a chunk has 1 to {max_chunk_size} bytes, not {size}")
        if not 1 <= stored <= size or (codec == Codec.IDENTITY and stored != size):
            raise ValueError(f"{stored} bytes cannot be those of a chunk of {size}")
        return cls(Digest(digest), _CODECS[codec], stored, size)


class PackParser:
    """Parses one pack that arrives in pieces of any length.

    A chunk has at most `max_chunk_size` bytes, each of which is copied once, or twice from short
    pieces.
    """

    def __init__(self, max_chunk_size: int) -> None:
        self._max_chunk_size = max_chunk_size
        self._pieces = Pieces()
        self._head: _Head | None = None
        self._fault: ValueError | None = None

    @property
    def pending(self) -> int:
        """How many bytes have been fed that complete no record yet."""
        return self._pieces.size + (0 if self._head is None else HEAD_SIZE)

    def feed(self, piece: bytes) -> Iterator[Record]:
        """Take the next bytes; yield the records that they complete, in order.

        All of them are to be taken before the next bytes are fed.

        Raises:
            ValueError: they are no pack; the records before that have been yielded.
        """
        view = memoryview(piece)
        while len(view) >= (lacking := self._lacking()):
            part, view = view[:lacking], view[lacking:]
            record = self._complete(self._pieces.join(part))
            if record is not None:
                yield record
        if view:
            self._pieces.keep(view)

    def finish(self) -> None:
        """Refuse a pack that ends within a record, or in an error.

        Raises:
            ValueError: it does.
        """
        if self._fault is not None:
            raise self._fault
        if self.pending:
            raise ValueError("the pack ends within a record")

    def _lacking(self) -> int:
        """Return how many bytes complete a head, or what stands behind one.

        Raises:
            ValueError: what came before is no pack.
        """
        if self._fault is not None:
            raise self._fault
        return (HEAD_SIZE if self._head is None else self._head.stored) - self._pieces.size

    def _complete(self, joined: bytes) -> Record | None:
        """Take a whole head, or what stands behind one; return the record then."""
        head, self._head = self._head, None
        if head is not None:
            return Record(head.digest, head.size, Encoded(head.codec, joined))
        try:
            self._head = _Head.parse(joined, self._max_chunk_size)
        except ValueError as fault:
            self._fault = fault
            raise
        return None
