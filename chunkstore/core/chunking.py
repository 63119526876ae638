"""Splitting file content into chunks of one fixed size, however its bytes arrive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest

MIN_CHUNK_SIZE: Final = 4 * 1024
MAX_CHUNK_SIZE: Final = 1024 * 1024
DEFAULT_CHUNK_SIZE: Final = 256 * 1024
# Shorter parts are copied: a view of one takes some 200 bytes by itself.
_SHORT: Final = 4 * 1024


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


class Chunker:
    """Cuts a stream of pieces of any length into chunks, copying each byte once.

    Short pieces, and the short ends of long ones, are collected in a buffer and copied twice, so
    the memory kept alive stays below about twice the pending bytes, whatever the pieces.
    """

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._pieces: list[memoryview | bytearray] = []
        self._pending = 0

    @property
    def pending(self) -> int:
        """How many bytes have been fed that do not fill a chunk yet."""
        return self._pending

    def feed(self, piece: bytes | memoryview) -> list[bytes]:
        """Take the next bytes; return the chunks that they complete, in order."""
        view = memoryview(piece)
        complete = []
        start = 0
        while self._pending + len(view) - start >= self._chunk_size:
            stop = start + self._chunk_size - self._pending
            self._pieces.append(view[start:stop])
            complete.append(self._join())
            start = stop
        if start < len(view):
            self._keep(view[start:], memoryview(view.obj).nbytes)
        return complete

    def finish(self) -> list[bytes]:
        """Return the last, shorter chunk, if there is one, and start over."""
        return [self._join()] if self._pending else []

    def _keep(self, part: memoryview, whole_size: int) -> None:
        """Keep part of a piece; a view of it would keep all `whole_size` bytes alive."""
        self._pending += len(part)
        if len(part) >= _SHORT and 2 * len(part) >= whole_size:
            self._pieces.append(part)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += part
        else:
            self._pieces.append(bytearray(part))

    def _join(self) -> bytes:
        joined = b"".join(self._pieces)
        self._pieces.clear()
        self._pending = 0
        return joined
