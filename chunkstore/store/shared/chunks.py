"""Checking the chunks that a store has read, the same for every store.

`check_chunk` is the gate: no byte leaves a store without passing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from chunkstore.core.compression import Encoded, decode
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged

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
