"""Reading a content once for both of what identifies it: the digests of its chunks, and its own.

Blocks are read by the caller's thread and hashed by others, since BLAKE3 frees the interpreter's
lock; a few blocks are under way, so memory does not grow with the content. Holes of a sparse file
are not read.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Final

from blake3 import blake3

from chunkstore.client.cutting import chunker_for, fixed_size
from chunkstore.client.manifests import format_entry
from chunkstore.core.digest import Digest

BLOCK_SIZE: Final = 2 * 1024 * 1024
HASHING_THREADS: Final = min(4, os.cpu_count() or 1)
_BLOCKS_UNDER_WAY: Final = HASHING_THREADS + 2
_ZEROS: Final = bytes(BLOCK_SIZE)

Piece = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Cut:
    """Consecutive chunks of a content: where the first begins, and the digest and size of each.

    `pieces` are their bytes.
    """

    offset: int
    chunks: list[tuple[bytes, int]]
    pieces: list[Piece]


class ContentReader:
    """Cuts and hashes a content whose blocks `blocks` yields; it is iterated once, to the end.

    Blocks have to be whole `BLOCK_SIZE`s but for the last. After the end, `entries` are all chunks
    as in `Manifest.entries`, `digest` is that of the content, and `size` its bytes.
    """

    def __init__(self, blocks: Iterator[bytes], chunking: str, hashers: Executor) -> None:
        self.entries = bytearray()
        self.size = 0
        self._blocks = blocks
        self._hashers = hashers
        self._whole = blake3()
        size = fixed_size(chunking)
        # Chunks of a block that need no copy.
        self._slice_size = size if size and BLOCK_SIZE % size == 0 else None
        self._chunker = chunker_for(chunking)

    @property
    def digest(self) -> Digest:
        """The digest of what was read so far."""
        return Digest(self._whole.digest())

    def __iter__(self) -> Iterator[Cut]:
        """Yield all chunks, in order."""
        under_way: deque[tuple[Future[list[tuple[bytes, int]]], list[Piece], Future[object]]]
        under_way = deque()
        # A thread of its own, since its work is in order.
        with ThreadPoolExecutor(1) as in_order:
            try:
                for block in self._blocks:
                    pieces = self._cut(block)
                    under_way.append(
                        (
                            self._hashers.submit(_digests, pieces),
                            pieces,
                            in_order.submit(self._whole.update, block),
                        )
                    )
                    if len(under_way) >= _BLOCKS_UNDER_WAY:
                        yield self._take(under_way.popleft())
                while under_way:
                    yield self._take(under_way.popleft())
            finally:
                for chunks, _, whole in under_way:
                    chunks.cancel()
                    whole.cancel()
        last: list[Piece] = [] if self._slice_size else list(self._chunker.finish())
        if last:
            yield self._taken(_digests(last), last)

    def read_all(self) -> None:
        """Read to the end, for the digests alone."""
        for _ in self:
            pass

    def _cut(self, block: bytes) -> list[Piece]:
        if not self._slice_size:
            return list(self._chunker.feed(block))
        view = memoryview(block)
        step = self._slice_size
        return [view[start : start + step] for start in range(0, len(view), step)]

    def _take(
        self, ahead: tuple[Future[list[tuple[bytes, int]]], list[Piece], Future[object]]
    ) -> Cut:
        chunks, pieces, whole = ahead
        whole.result()
        return self._taken(chunks.result(), pieces)

    def _taken(self, chunks: list[tuple[bytes, int]], pieces: list[Piece]) -> Cut:
        cut = Cut(self.size, chunks, pieces)
        for digest, size in chunks:
            self.entries += format_entry(digest, size)
            self.size += size
        return cut


def zero_digest(size: int) -> bytes:
    """Return the raw digest of so many zeros."""
    found = _zero_digests.get(size)
    if found is None:
        found = _zero_digests[size] = blake3(bytes(size)).digest()
        if len(_zero_digests) > 1000:
            _zero_digests.clear()
    return found


_zero_digests: dict[int, bytes] = {}


def blocks_of_file(
    file: int, size: int, read: Callable[[int, int, int], bytes] = os.pread
) -> Iterator[bytes]:
    """Yield the first `size` bytes of an open file, in blocks; fewer if it was cut short.

    Raises:
        OSError: it cannot be read.
    """
    offset = 0
    hole_stop = data_stop = 0
    while offset < size:
        length = min(BLOCK_SIZE, size - offset)
        if offset >= max(data_stop, hole_stop):
            hole_stop, data_stop = _next_data(file, offset, size)
        if offset + length <= hole_stop:
            yield _ZEROS if length == BLOCK_SIZE else bytes(length)
            offset += length
            continue
        block = read(file, length, offset)
        while 0 < len(block) < length and (
            more := read(file, length - len(block), offset + len(block))
        ):
            block += more
        if not block:
            return
        yield block
        offset += len(block)
        if len(block) < length:
            return


def blocks_of_pipe(pipe: BinaryIO) -> Iterator[bytes]:
    """Yield all that comes from a pipe, in blocks.

    Raises:
        OSError: it cannot be read.
    """
    while True:
        block = bytearray()
        while len(block) < BLOCK_SIZE and (more := pipe.read(BLOCK_SIZE - len(block))):
            block += more
        if block:
            yield bytes(block)
        if len(block) < BLOCK_SIZE:
            return


def _next_data(file: int, offset: int, size: int) -> tuple[int, int]:
    """Return where the hole at `offset` ends, and where the data behind it does."""
    try:
        start = os.lseek(file, offset, os.SEEK_DATA)
    except OSError as error:
        # ENXIO: there is nothing but a hole up to the end.
        return (size, size) if error.errno == errno.ENXIO else (offset, size)
    except AttributeError:
        return offset, size
    try:
        return start, max(os.lseek(file, start, os.SEEK_HOLE), start)
    except OSError:
        return start, size


def _digests(pieces: list[Piece]) -> list[tuple[bytes, int]]:
    found = []
    for piece in pieces:
        size = len(piece)
        if isinstance(piece, memoryview) and piece.obj is _ZEROS:
            found.append((zero_digest(size), size))
        else:
            found.append((blake3(piece).digest(), size))
    return found
