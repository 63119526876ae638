"""Chunks between their rows and those who need their bytes, the same for every store.

`check_chunk` is the gate: no byte leaves a store but through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Encoded, decode
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import Slice

Encodings: TypeAlias = Mapping[Digest, Encoded]


class DamagedChunk(StoreDamaged):
    """What is stored is damaged and was not sent; put the same content again to repair it."""

    def __init__(self, digest: Digest) -> None:
        """`digest` is what the chunk should have."""
        super().__init__()
        self.digest = digest


@dataclass(frozen=True, slots=True)
class OpenManifest:
    """An upload's chunk list so far: `count` chunks are in the store, under `id`."""

    id: int
    chunk_size: int
    count: int


@dataclass(frozen=True, slots=True)
class NewBytes:
    """What appending came to: how much of it was not known before; sizes in bytes."""

    new_chunks: int = 0
    new_size: int = 0

    def __add__(self, other: NewBytes) -> NewBytes:
        return NewBytes(self.new_chunks + other.new_chunks, self.new_size + other.new_size)


def size_of(chunks: Sequence[Chunk]) -> int:
    """Return how many bytes the chunks have together."""
    return sum(len(chunk.content) for chunk in chunks)


def check_chunk(digest: bytes, size: int, codec: int, kept: bytes | None) -> bytes:
    """Return the bytes of a chunk from what is kept of it, None if that is lost.

    Raises:
        DamagedChunk: they are not what the digest says.
    """
    try:
        content = b"" if kept is None else decode(codec, kept, size)
    except ValueError as error:
        raise DamagedChunk(Digest(digest)) from error
    # A chunk is never empty, so what is lost does not fit either.
    if Digest.of(content).raw != digest:
        raise DamagedChunk(Digest(digest))
    return content


def join_slices(slices: Sequence[Slice], contents: Sequence[bytes]) -> bytes:
    """Return the slices of the chunks with these contents, one after the other."""
    parts = []
    for part, content in zip(slices, contents, strict=True):
        whole = part.start == 0 and part.stop == len(content)
        parts.append(content if whole else memoryview(content)[part.start : part.stop])
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
