"""The way that bytes travel out of the store: in windows, the next one read ahead.

Windows begin small and grow while each is taken fast; only then is one read ahead, while the one
before is sent. So a slow client holds little memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chunkstore.manifest import ChunkList
from chunkstore.memory import MemoryBudget, Reservation
from chunkstore.ranges import ByteRange
from chunkstore.store.base import Store

WINDOW_SIZE: Final = 2 * 1024 * 1024
_FIRST_WINDOW_SIZE: Final = 256 * 1024
# Bytes a second from which on a client is worth reading ahead for. Two windows ahead brought
# nothing with two processors.
_FAST_RATE: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Window:
    """A window that is being read."""

    reservation: Reservation
    reading: asyncio.Task[bytes]

    def drop(self) -> None:
        """Give the memory back, once nothing is read into it any more."""
        self.reading.cancel()
        self.reading.add_done_callback(self._release)

    def _release(self, reading: asyncio.Task[bytes]) -> None:
        self.reservation.release()
        if not reading.cancelled():
            reading.exception()  # asyncio warns of an error that nobody looks at.


class Windows:
    """Reads contents of one store, within one memory budget."""

    def __init__(self, store: Store, budget: MemoryBudget) -> None:
        self._store = store
        self._budget = budget

    async def stream(self, chunks: ChunkList, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes `start` to `stop` of a content, every chunk checked.

        A window's memory counts until the next one is asked for.

        Raises:
            StoreDamaged: a chunk is not what it should be; no byte of its window is yielded.
        """
        ahead: _Window | None = None
        loop = asyncio.get_running_loop()
        size = _FIRST_WINDOW_SIZE
        try:
            while start < stop:
                if ahead is not None:
                    content, reservation, ahead = await ahead.reading, ahead.reservation, None
                else:
                    content, reservation = await self.read(chunks, start, stop, size)
                with reservation:
                    start += len(content)
                    if size > _FIRST_WINDOW_SIZE:
                        ahead = self._read_ahead(chunks, start, stop, size)
                    began = loop.time()
                    yield content
                taken_fast = len(content) >= _FAST_RATE * (loop.time() - began)
                size = min(2 * size, WINDOW_SIZE) if taken_fast else _FIRST_WINDOW_SIZE
        finally:
            if ahead is not None:
                ahead.drop()

    async def read(
        self, chunks: ChunkList, start: int, stop: int, size: int = WINDOW_SIZE
    ) -> tuple[bytes, Reservation]:
        """Return the bytes from `start` on that one window has, and the reservation of them.

        It has about `size` bytes, less where memory is scarce, but what one chunk has.

        Raises:
            StoreDamaged: a chunk is not what it should be.
        """
        reservation = await self._budget.reserve(*_wish(chunks, start, stop, size))
        try:
            window_stop = _window_stop(chunks, start, stop, reservation)
            return await self._store.read(chunks, start, window_stop), reservation
        except BaseException:
            reservation.release()
            raise

    def _read_ahead(self, chunks: ChunkList, start: int, stop: int, size: int) -> _Window | None:
        """Begin to read the window at `start`, if there is one and memory to spare."""
        if start == stop:
            return None
        reservation = self._budget.try_reserve(*_wish(chunks, start, stop, size))
        if reservation is None:
            return None
        window_stop = _window_stop(chunks, start, stop, reservation)
        reading = asyncio.create_task(self._store.read(chunks, start, window_stop))
        return _Window(reservation, reading)


def spans(chunks: ChunkList, ranges: Sequence[ByteRange]) -> Iterator[ByteRange]:
    """Yield what to stream for ascending, disjoint ranges, so that no chunk is read twice.

    Ranges of which one ends in the chunk that the next begins in are one span.
    """
    start, stop = ranges[0].start, ranges[0].stop
    for bounds in ranges[1:]:
        if (stop - 1) // chunks.chunk_size < bounds.start // chunks.chunk_size:
            yield ByteRange(start, stop)
            start = bounds.start
        stop = bounds.stop
    yield ByteRange(start, stop)


def _wish(chunks: ChunkList, start: int, stop: int, size: int) -> tuple[int, int]:
    """Return the least and the most memory for a window of `size` bytes."""
    return min(chunks.chunk_size, stop - start), min(size, stop - start)


def _window_stop(chunks: ChunkList, start: int, stop: int, reservation: Reservation) -> int:
    """Return where a window ends: where a chunk or all does, so that no chunk is read twice."""
    if reservation.size >= stop - start:
        return stop
    last = start + max(reservation.size, chunks.chunk_size)
    return min(stop, last - last % chunks.chunk_size)
