"""Checking the chunks that a store has read, the same for every store.

`check_chunk` is the gate: no byte leaves a store without passing it, but for records, which carry
the digest that whoever decodes them compares (`to_record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from chunkstore.core.compression import Codec, Encoded, decode
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.packs import Record

Encodings: TypeAlias = Mapping[Digest, Encoded]


class DamagedChunk(StoreDamaged):
    """What is stored is damaged and was not sent; put the same content again to repair it."""

    def __init__(self, digest: Digest) -> None:
        """`digest` is the one that the chunk should have."""
        super().__init__()
        self.digest = digest


@dataclass(frozen=True, slots=True)
class NewBytes:
    """How much of what was appended is new to the store; sizes in bytes."""

    new_chunks: int = 0
    new_size: int = 0

    def __add__(self, other: NewBytes) -> NewBytes:
        return NewBytes(self.new_chunks + other.new_chunks, self.new_size + other.new_size)


def check_chunk(digest: bytes, size: int, codec: int, stored: bytes | None) -> bytes:
    """Return the bytes of a chunk from its stored bytes, which are None if they are lost.

    Raises:
        DamagedChunk: the bytes do not have the digest.
    """
    try:
        content = b"" if stored is None else decode(codec, stored, size)
    except ValueError as error:
        raise DamagedChunk(Digest(digest)) from error
    # No chunk is empty, so lost bytes do not have the digest either.
    if len(content) != size or Digest.of(content).raw != digest:
        raise DamagedChunk(Digest(digest))
    return content


def to_record(digest: bytes, size: int, codec: int, stored: bytes | None) -> Record:
    """Return a chunk as it is kept; whether its bytes have the digest is left to who decodes them.

    Raises:
        DamagedChunk: they are lost, or cannot be those of a chunk of this size.
    """
    try:
        kept = Encoded(Codec(codec), stored or b"")
    except ValueError as error:
        raise DamagedChunk(Digest(digest)) from error
    stored_size = len(kept.content)
    if not 0 < stored_size <= size or (kept.codec == Codec.IDENTITY and stored_size != size):
        raise DamagedChunk(Digest(digest))
    return Record(Digest(digest), size, kept)
