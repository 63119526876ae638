"""Downloads: read file content in windows, the next one ahead.

Windows start small and grow while the client takes each one fast; only then is the next one read
while one is sent. So a slow client holds little memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from chunkstore.core.manifest import ChunkList, ListHasher, Manifest
from chunkstore.core.ranges import ByteRange
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.memory import Account, Reservation
from chunkstore.store.contract.contents import Contents

WINDOW_SIZE: Final = 2 * 1024 * 1024
_FIRST_WINDOW_SIZE: Final = 256 * 1024
# Bytes per second above which reading ahead pays. Two windows ahead are no faster than one.
_FAST_RATE: Final = 2 * 1024 * 1024
# What the kernels of both sides may buffer for a client that reads nothing.
_KERNEL_BUFFERS: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Window:
    """Bytes of file content from `start` on, under a reservation of at least their number."""

    start: int
    content: bytes
    reservation: Reservation

    @property
    def stop(self) -> int:
        """The offset at which the next window begins."""
        return self.start + len(self.content)


@dataclass(frozen=True, slots=True)
class _Ahead:
    """A window that is being read ahead."""

    reservation: Reservation
    reading: asyncio.Task[bytes]

    def drop(self) -> None:
        """Cancel the read; release the memory once nothing is read into it any more."""
        self.reading.cancel()
        self.reading.add_done_callback(self._release)

    def _release(self, reading: asyncio.Task[bytes]) -> None:
        self.reservation.release()
        retrieve_exception(reading)


class ContentReader:
    """Reads file content from one store, into memory reserved on one account of the budget."""

    def __init__(self, contents: Contents, memory: Account) -> None:
        self._contents = contents
        self._memory = memory

    async def stream(
        self, chunks: ChunkList, start: int, stop: int, most: int = WINDOW_SIZE
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of `windows`, for callers that need nothing else of them."""
        all_of_it = isinstance(chunks, Manifest) and (start, stop) == (0, chunks.size)
        whole = ListHasher() if all_of_it else None
        async with aclosing(self.windows(chunks, start, stop, whole, most)) as windows:
            async for window in windows:
                yield window.content

    async def windows(
        self,
        chunks: ChunkList,
        start: int,
        stop: int,
        whole: ListHasher | None = None,
        most: int = WINDOW_SIZE,
    ) -> AsyncGenerator[Window, None]:
        """Yield the bytes `start` to `stop` of the content, every chunk checked.

        Windows grow to `most` bytes.

        Whoever reads all of a manifest passes `whole`, as `Contents.read` says. A window's memory
        stays reserved until the next one is asked for, or the generator closed.

        Raises:
            StoreDamaged: a chunk is damaged or missing; no byte of its window is yielded.
        """
        ahead: _Ahead | None = None
        held: Reservation | None = None
        loop = asyncio.get_running_loop()
        size = _FIRST_WINDOW_SIZE
        # Up to here the kernels may have taken the bytes, and not the client.
        buffered_stop = start + _KERNEL_BUFFERS
        try:
            while start < stop:
                if ahead is not None:
                    if held is not None:
                        held.release()
                    content, held, ahead = await ahead.reading, ahead.reservation, None
                else:
                    held, released = None, held
                    content, held = await self.read(
                        chunks, start, stop, size, whole=whole, instead_of=released
                    )
                window = Window(start, content, held)
                start = window.stop
                if size > _FIRST_WINDOW_SIZE:
                    ahead = self._read_ahead(chunks, start, stop, size, whole)
                taken, began = len(content), loop.time()
                yield window
                # The bytes are freed before the next window is waited for.
                del window, content
                taken_fast = taken >= _FAST_RATE * (loop.time() - began) and start > buffered_stop
                size = min(2 * size, most) if taken_fast else _FIRST_WINDOW_SIZE
        finally:
            if held is not None:
                held.release()
            if ahead is not None:
                ahead.drop()

    async def read(
        self,
        chunks: ChunkList,
        start: int,
        stop: int,
        size: int = WINDOW_SIZE,
        *,
        whole: ListHasher | None = None,
        instead_of: Reservation | None = None,
    ) -> tuple[bytes, Reservation]:
        """Return the bytes of one window that begins at `start`, and their reservation.

        They are about `size` bytes; fewer where memory is scarce, but at least those of one chunk.
        Whoever reads all windows of a manifest passes `whole`, as `Contents.read` says. The
        reservation `instead_of` is released.

        Raises:
            StoreDamaged: a chunk is damaged or missing.
        """
        least, most = _least_and_most(chunks, start, stop, size)
        reservation = await self._memory.reserve(least, most, instead_of=instead_of)
        try:
            return await self._read(chunks, start, stop, reservation, whole), reservation
        except BaseException:
            reservation.release()
            raise

    def _read_ahead(
        self, chunks: ChunkList, start: int, stop: int, size: int, whole: ListHasher | None
    ) -> _Ahead | None:
        """Begin to read the window at `start`, if there is one and memory is free."""
        if start == stop:
            return None
        reservation = self._memory.try_reserve(*_least_and_most(chunks, start, stop, size))
        if reservation is None:
            return None
        reading = asyncio.create_task(self._read(chunks, start, stop, reservation, whole))
        return _Ahead(reservation, reading)

    async def _read(
        self,
        chunks: ChunkList,
        start: int,
        stop: int,
        reservation: Reservation,
        whole: ListHasher | None,
    ) -> bytes:
        most = max(reservation.size, chunks.chunk_size)
        return await self._contents.read(chunks, start, stop, most, whole)


def spans(chunks: ChunkList, ranges: Sequence[ByteRange]) -> Iterator[ByteRange]:
    """Yield the spans to stream for ascending, disjoint ranges, so that no chunk is read twice.

    Ranges are joined where the gap between them is smaller than `chunk_size`, the most that a chunk
    has: none reaches across a wider one, wherever chunks begin. If all have that size, none is read
    that holds nothing of a range.
    """
    start, stop = ranges[0].start, ranges[0].stop
    for bounds in ranges[1:]:
        if bounds.start - stop >= chunks.chunk_size:
            yield ByteRange(start, stop)
            start = bounds.start
        stop = bounds.stop
    yield ByteRange(start, stop)


def _least_and_most(chunks: ChunkList, start: int, stop: int, size: int) -> tuple[int, int]:
    """Return the least and the most bytes to reserve for a window of `size` bytes."""
    return min(chunks.chunk_size, stop - start), min(max(size, chunks.chunk_size), stop - start)
