"""Chunks of file content, and which sizes they may have. `chunkers` cuts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest

MIN_CHUNK_SIZE: Final = 4 * 1024
MAX_CHUNK_SIZE: Final = 1024 * 1024
DEFAULT_CHUNK_SIZE: Final = 256 * 1024


def check_chunk_size(chunk_size: int) -> int:
    """Return `chunk_size`, in bytes, if it may be a store's.

    Raises:
        ValueError: it is not a power of two from 4 KiB to 1 MiB.
    """
    power_of_two = chunk_size > 0 and chunk_size & (chunk_size - 1) == 0
    if not power_of_two or not MIN_CHUNK_SIZE <= chunk_size <= MAX_CHUNK_SIZE:
        raise ValueError(
            f"the chunk size is a power of two from 4 KiB to 1 MiB, not {chunk_size} bytes"
        )
    return chunk_size


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk's bytes and their digest.

    `encoded` is how they came, if that is how they may be kept.
    """

    digest: Digest
    content: bytes
    encoded: Encoded | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, content: bytes) -> Chunk:
        """Return the chunk that has these bytes."""
        return cls(Digest.of(content), content)

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class KnownChunk:
    """A chunk whose bytes are not here, because the store has them; `size` is in bytes."""

    digest: Digest
    size: int


AnyChunk: TypeAlias = Chunk | KnownChunk


def size_of(chunks: Sequence[AnyChunk]) -> int:
    """Return the size of the chunks together, in bytes."""
    return sum(chunk.size for chunk in chunks)
