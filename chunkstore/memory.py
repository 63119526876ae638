"""One budget of memory for all requests of the process.

Bytes of contents are in memory only under a reservation: a batch of an upload from the time it is
filled until it is committed, a window of a download from the time it is read until it is sent.
When many want some, each gets less, down to the least it can work with; then they wait, in the
order in which they came, and the network makes the clients wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final

DEFAULT_MEMORY: Final = 64 * 1024 * 1024
# No reservation takes more than this part of what is free, so that some remains for the next.
_SHARE: Final = 8


class Reservation:
    """`size` bytes of the budget, until it is released or its context is left."""

    def __init__(self, budget: MemoryBudget, size: int) -> None:
        self._budget = budget
        self.size = size

    def release(self) -> None:
        """Give the bytes back; harmless the second time."""
        size, self.size = self.size, 0
        self._budget._give_back(size)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class _Waiter:
    least: int
    most: int
    result: asyncio.Future[Reservation]


class MemoryBudget:
    """`limit` bytes to be shared by all who ask."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._waiters: deque[_Waiter] = deque()

    @property
    def free(self) -> int:
        """Bytes that nobody has reserved."""
        return self._free

    async def reserve(self, least: int, most: int) -> Reservation:
        """Wait for `least` bytes and return a reservation of them, or of up to `most`.

        A caller that waits for others while it holds a reservation must be able to go on without
        a second one. What asks for more than there is at all gets all there is.
        """
        least = min(least, self.limit)
        reservation = self.try_reserve(least, most)
        if reservation is not None:
            return reservation
        waiter = _Waiter(least, most, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            return await waiter.result
        except asyncio.CancelledError:
            if waiter.result.done() and not waiter.result.cancelled():
                waiter.result.result().release()
            raise
        finally:
            # One that gives up may have stood before others that fit.
            self._serve_waiters()

    def try_reserve(self, least: int, most: int) -> Reservation | None:
        """Return a reservation as `reserve` does, None if it would have to be waited for."""
        if self._waiters or least > self._free:
            return None
        return self._take(least, most)

    def _take(self, least: int, most: int) -> Reservation:
        size = max(least, min(most, self._free // _SHARE))
        self._free -= size
        return Reservation(self, size)

    def _give_back(self, size: int) -> None:
        self._free += size
        self._serve_waiters()

    def _serve_waiters(self) -> None:
        while self._waiters:
            waiter = self._waiters[0]
            if not waiter.result.done():
                if waiter.least > self._free:
                    return
                waiter.result.set_result(self._take(waiter.least, waiter.most))
            self._waiters.popleft()
