"""Packs: many chunks in one body, each as it is kept, with its digest.

`docs/sync.md` has the form. A pack is parsed as it comes: a record is handed out once all of its
bytes are there, so no more than one chunk is held besides what a piece brings.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Codec, Encoded, decode, may_be_kept
from chunkstore.core.digest import Digest

PACK: Final = "application/vnd.chunkstore.pack"
MAX_PACK_SIZE: Final = 64 * 1024 * 1024
_HEAD: Final = struct.Struct(">32sB3sII")
HEAD_SIZE: Final = _HEAD.size


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


class PackParser:
    """Parses one pack that arrives in pieces of any length.

    A chunk has at most `max_chunk_size` bytes. The records before an error are returned; what
    comes after them raises it.
    """

    def __init__(self, max_chunk_size: int) -> None:
        self._max_chunk_size = max_chunk_size
        self._pending = bytearray()
        self._fault: ValueError | None = None

    @property
    def pending(self) -> int:
        """How many bytes have been fed that complete no record yet."""
        return len(self._pending)

    def feed(self, piece: bytes) -> list[Record]:
        """Take the next bytes; return the records that they complete, in order.

        Raises:
            ValueError: they are no pack.
        """
        if self._fault is not None:
            raise self._fault
        self._pending += piece
        records: list[Record] = []
        start = 0
        try:
            while (record := self._parse(start)) is not None:
                records.append(record)
                start += HEAD_SIZE + len(record.encoded.content)
        except ValueError as fault:
            if not records:
                raise
            self._fault = fault
        del self._pending[:start]
        return records

    def finish(self) -> None:
        """Refuse a pack that ends within a record, or in an error.

        Raises:
            ValueError: it does.
        """
        if self._fault is not None:
            raise self._fault
        if self._pending:
            raise ValueError("the pack ends within a record")

    def _parse(self, start: int) -> Record | None:
        """Return the pending record that begins at `start`, None if not all of it is there."""
        if len(self._pending) - start < HEAD_SIZE:
            return None
        digest, codec, reserved, stored, size = _HEAD.unpack_from(self._pending, start)
        if any(reserved):
            raise ValueError("the three bytes after the codec are zero")
        self._check_head(codec, stored, size)
        start += HEAD_SIZE
        if len(self._pending) < start + stored:
            return None
        with memoryview(self._pending) as view:
            content = bytes(view[start : start + stored])
        return Record(Digest(digest), size, Encoded(Codec(codec), content))

    def _check_head(self, codec: int, stored: int, size: int) -> None:
        if codec not in set(Codec):
            raise ValueError(f"unknown codec {codec}")
        if not 1 <= size <= self._max_chunk_size:
            raise ValueError(f"a chunk has 1 to {self._max_chunk_size} bytes, not {size}")
        if not 1 <= stored <= size or (codec == Codec.IDENTITY and stored != size):
            raise ValueError(f"{stored} bytes cannot be those of a chunk of {size}")
