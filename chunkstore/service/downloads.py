"""The way that bytes travel out of the store: in windows, the next one read ahead.

Windows begin small and grow while each is taken fast; only then is one read ahead, while the one
before is sent. So a slow client holds little memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from chunkstore.core.manifest import ChunkList
from chunkstore.core.ranges import ByteRange
from chunkstore.service.memory import Account, Reservation
from chunkstore.store.contract.contents import Contents

WINDOW_SIZE: Final = 2 * 1024 * 1024
_FIRST_WINDOW_SIZE: Final = 256 * 1024
# Bytes a second from which on a client is worth reading ahead for. Two windows ahead brought
# nothing with two processors.
_FAST_RATE: Final = 2 * 1024 * 1024
# What the kernels of both sides may take at once of a client that reads nothing.
_TAKEN_BY_KERNELS: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class Window:
    """The bytes of a content from `start` on, under a reservation of at least so many."""

    start: int
    content: bytes
    reservation: Reservation

    @property
    def stop(self) -> int:
        """Where the next window begins."""
        return self.start + len(self.content)


@dataclass(frozen=True, slots=True)
class _Ahead:
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


class ContentReader:
    """Reads contents of one store, on one account of a memory budget."""

    def __init__(self, contents: Contents, memory: Account) -> None:
        self._contents = contents
        self._memory = memory

    async def stream(self, chunks: ChunkList, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of `windows`, for who needs nothing else of them."""
        async with aclosing(self.windows(chunks, start, stop)) as windows:
            async for window in windows:
                yield window.content

    async def windows(
        self, chunks: ChunkList, start: int, stop: int
    ) -> AsyncGenerator[Window, None]:
        """Yield the bytes `start` to `stop` of a content, every chunk checked.

        A window's memory counts until the next one is asked for, or the generator is closed.

        Raises:
            StoreDamaged: a chunk is not what it should be; no byte of its window is yielded.
        """
        ahead: _Ahead | None = None
        held: Reservation | None = None
        loop = asyncio.get_running_loop()
        size = _FIRST_WINDOW_SIZE
        believed = start + _TAKEN_BY_KERNELS
        try:
            while start < stop:
                if ahead is not None:
                    if held is not None:
                        held.release()
                    content, held, ahead = await ahead.reading, ahead.reservation, None
                else:
                    held, released = None, held
                    content, held = await self.read(chunks, start, stop, size, instead_of=released)
                window = Window(start, content, held)
                start = window.stop
                if size > _FIRST_WINDOW_SIZE:
                    ahead = self._read_ahead(chunks, start, stop, size)
                taken, began = len(content), loop.time()
                yield window
                # Its bytes go before the next one is waited for.
                del window, content
                taken_fast = taken >= _FAST_RATE * (loop.time() - began) and start > believed
                size = min(2 * size, WINDOW_SIZE) if taken_fast else _FIRST_WINDOW_SIZE
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
        instead_of: Reservation | None = None,
    ) -> tuple[bytes, Reservation]:
        """Return the bytes from `start` on that one window has, and the reservation of them.

        It has about `size` bytes, less where memory is scarce, but what one chunk has. The
        reservation `instead_of` is released.

        Raises:
            StoreDamaged: a chunk is not what it should be.
        """
        least, most = _wish(chunks, start, stop, size)
        reservation = await self._memory.reserve(least, most, instead_of=instead_of)
        try:
            window_stop = _window_stop(chunks, start, stop, reservation)
            return await self._contents.read(chunks, start, window_stop), reservation
        except BaseException:
            reservation.release()
            raise

    def _read_ahead(self, chunks: ChunkList, start: int, stop: int, size: int) -> _Ahead | None:
        """Begin to read the window at `start`, if there is one and memory to spare."""
        if start == stop:
            return None
        reservation = self._memory.try_reserve(*_wish(chunks, start, stop, size))
        if reservation is None:
            return None
        window_stop = _window_stop(chunks, start, stop, reservation)
        reading = asyncio.create_task(self._contents.read(chunks, start, window_stop))
        return _Ahead(reservation, reading)


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
