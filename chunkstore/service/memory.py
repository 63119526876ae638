"""One budget of memory for all requests of the process.

File content is in memory only under a reservation: a batch of an upload from when it begins to fill
until it is stored, a window of a download from when it is read until it is sent. When many want
memory, each gets less, down to the least it can work with; then they wait, and TCP makes their
clients wait. Nobody takes all of it from the others:

- Uploads together hold at most three quarters, and so do downloads: one quarter is always there
  for the other use.
- Of those that wait for the same use, the one whose client holds the least is served first, and
  of several such the one that came first. Where all have one client, as behind a proxy, that is
  first come, first served; a client that is alone can have everything.
- Whoever holds bytes for a client that makes no progress asks whether they are `wanted`, and if
  so gives back what can be read or received again.

What nobody has reserved may have content that can be read again at any time, for as long as nobody
reserves it (`on_taken`).
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Final

DEFAULT_MEMORY: Final = 64 * 1024 * 1024
# No reservation takes more than this fraction of what is free, so that some is left for the next.
_SHARE: Final = 8
# The fraction of the budget that neither use may take from the other.
_KEPT_FOR_OTHER_USE: Final = 4


class Use(enum.Enum):
    """What memory is reserved for."""

    UPLOAD = enum.auto()
    DOWNLOAD = enum.auto()


class Reservation:
    """`size` bytes of the budget, until it is released or its context is left."""

    def __init__(self, account: Account, size: int) -> None:
        self._account = account
        self.size = size

    @property
    def wanted(self) -> bool:
        """Whether somebody waits who would get on if this were released."""
        return self._account.budget._is_wanted(self._account.use)

    @property
    def wanted_by_smaller_holder(self) -> bool:
        """Whether somebody waits for the same use whose client holds less than this one's."""
        return self._account.budget._has_smaller_holder_waiting(self._account)

    def split(self, size: int) -> Reservation:
        """Move `size` bytes, or all there are, to a reservation of their own, and return that."""
        size = min(size, self.size)
        self.size -= size
        return Reservation(self._account, size)

    def release(self) -> None:
        """Give the bytes back; harmless the second time."""
        size, self.size = self.size, 0
        self._account.budget._give_back(self._account, size)

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
class Account:
    """Whose memory is reserved, and for what: `client` is an address, "" for the server itself."""

    budget: MemoryBudget
    use: Use
    client: str

    async def reserve(
        self, least: int, most: int, *, instead_of: Reservation | None = None
    ) -> Reservation:
        """Wait for `least` bytes and return a reservation of them, or of up to `most`.

        A caller that waits for others while it holds a reservation must be able to go on without
        a second one. `instead_of` is released once this request has its place among those that
        wait, so that no client that holds more comes between. Who asks for more than the whole
        budget gets the whole budget.
        """
        return await self.budget._reserve(self, least, most, instead_of)

    def try_reserve(self, least: int, most: int) -> Reservation | None:
        """Return a reservation as `reserve` does, None if it would have to wait."""
        return self.budget._try_reserve(self, least, most)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    account: Account
    least: int
    most: int
    number: int
    result: asyncio.Future[Reservation]


class MemoryBudget:
    """`limit` bytes, shared by all requests of a process.

    Each time some are reserved, the functions of `on_taken` are called with how many are free then,
    before those bytes are used: who has content in free memory keeps no more than that.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self.on_taken: list[Callable[[int], None]] = []
        self._use_limit = limit - limit // _KEPT_FOR_OTHER_USE
        self._held: Counter[Use] = Counter()
        self._held_by: Counter[Account] = Counter()
        # By use, then by account, then in order of arrival.
        self._waiting: dict[Use, dict[Account, dict[int, _Waiter]]] = {use: {} for use in Use}
        self._numbers = count()
        self._next: list[_Waiter] = []

    @property
    def free(self) -> int:
        """Bytes that nobody has reserved."""
        return self._free

    @property
    def waiting(self) -> int:
        """How many wait for memory."""
        return sum(len(one) for waiting in self._waiting.values() for one in waiting.values())

    def held(self, use: Use) -> int:
        """Return how many bytes are reserved for a use."""
        return self._held[use]

    def account(self, use: Use, client: str = "") -> Account:
        """Return the account that reserves memory for a use, on behalf of a client."""
        return Account(self, use, client)

    async def _reserve(
        self, account: Account, least: int, most: int, instead_of: Reservation | None
    ) -> Reservation:
        least = min(least, self.limit)
        if not any(self._waiting.values()):
            if instead_of is not None:
                instead_of.release()
            reservation = self._try_reserve(account, least, most)
            if reservation is not None:
                return reservation
        future: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(account, least, most, next(self._numbers), future)
        self._waiting[account.use].setdefault(account, {})[waiter.number] = waiter
        if instead_of is not None:
            instead_of.release()
        self._serve_waiters()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                future.result().release()
            else:
                self._forget(waiter)
                if waiter in self._next:
                    # One that gives up may have been ahead of others that fit.
                    self._serve_waiters()
            raise

    def _try_reserve(self, account: Account, least: int, most: int) -> Reservation | None:
        if self._is_wanted(account.use) or not self._fits(account.use, least):
            return None
        return self._take(account, least, most)

    def _is_wanted(self, use: Use) -> bool:
        return any(
            waiting and (other is use or self._held[other] < self._use_limit)
            for other, waiting in self._waiting.items()
        )

    def _has_smaller_holder_waiting(self, account: Account) -> bool:
        waiting = self._waiting[account.use]
        return any(self._held_by[other] < self._held_by[account] for other in waiting)

    def _fits(self, use: Use, least: int) -> bool:
        return least <= self._free and not self._exceeds_use_limit(use, least)

    def _exceeds_use_limit(self, use: Use, least: int) -> bool:
        """Whether the use has to wait for itself. A single reservation may exceed the limit."""
        return 0 < self._held[use] > self._use_limit - least

    def _take(self, account: Account, least: int, most: int) -> Reservation:
        room = min(self._free, self._use_limit - self._held[account.use])
        size = max(least, min(most, room // _SHARE))
        self._free -= size
        self._held[account.use] += size
        self._held_by[account] += size
        for make_room in self.on_taken:
            make_room(self._free)
        return Reservation(account, size)

    def _give_back(self, account: Account, size: int) -> None:
        self._free += size
        self._held[account.use] -= size
        self._held_by[account] -= size
        if not self._held_by[account]:
            del self._held_by[account]
        if size:
            self._serve_waiters()

    def _serve_waiters(self) -> None:
        """Serve those whose turn it is while they fit; none overtakes one that does not fit."""
        while True:
            self._next = [
                self._smallest_holder(waiting) for waiting in self._waiting.values() if waiting
            ]
            for waiter in sorted(self._next, key=lambda waiter: waiter.number):
                account, least = waiter.account, waiter.least
                if self._exceeds_use_limit(account.use, least):
                    continue
                if least > self._free:
                    return
                self._forget(waiter)
                if not waiter.result.done():
                    waiter.result.set_result(self._take(account, least, waiter.most))
                break
            else:
                return

    def _smallest_holder(self, waiting: dict[Account, dict[int, _Waiter]]) -> _Waiter:
        """Return the first of those whose client holds the least."""
        return min(
            (next(iter(waiters.values())) for waiters in waiting.values()),
            key=lambda waiter: (self._held_by[waiter.account], waiter.number),
        )

    def _forget(self, waiter: _Waiter) -> None:
        """Remove a waiter, unless it is gone already."""
        waiting = self._waiting[waiter.account.use]
        waiters = waiting.get(waiter.account, {})
        waiters.pop(waiter.number, None)
        if not waiters:
            waiting.pop(waiter.account, None)
