"""What the foot of a page shows of the store, without a page that waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from chunkstore.core.tasks import retrieve_exception
from chunkstore.store.contract.reports import Stats

# A small store is counted in milliseconds, so its first page has the figures too.
_PATIENCE_SECONDS: Final = 0.05
# Counting a large one takes its time: this much of it is left to others.
_REST: Final = 100


@dataclass(frozen=True, slots=True)
class Figures:
    """What a store was given, in so many files, and what it keeps for that, in bytes."""

    files: int
    given: int
    kept: int

    @property
    def given_width(self) -> float:
        """The length of the bar of what was given, where the longer bar has 100."""
        return _share(self.given, max(self.given, self.kept))

    @property
    def kept_width(self) -> float:
        """The length of the bar of what is kept."""
        return _share(self.kept, max(self.given, self.kept))

    @property
    def percent(self) -> str:
        """How much of what was given is kept."""
        share = _share(self.kept, self.given)
        return f"{share:.0f} %" if share >= 1 or not self.kept else "under 1 %"


class Foot:
    """The figures of late; `count` is `Maintenance.stats`.

    They are counted anew when a page asks for them, after a pause of 100 times what that took.
    """

    def __init__(
        self,
        count: Callable[[], Awaitable[Stats]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._clock = clock
        self._counting: asyncio.Task[None] | None = None
        self._figures: Figures | None = None
        self._due = clock()

    async def get(self) -> Figures | None:
        """Return the last figures; None while there are none, or nothing is in the store."""
        if self._counting is None and self._clock() >= self._due:
            self._counting = asyncio.create_task(self._count_anew())
            self._counting.add_done_callback(self._end)
            await asyncio.wait({self._counting}, timeout=_PATIENCE_SECONDS)
        return self._figures

    async def _count_anew(self) -> None:
        began = self._clock()
        try:
            stats = await self._count()
        finally:
            ended = self._clock()
            self._due = ended + _REST * (ended - began)
        figures = Figures(stats.files, stats.logical_size, stats.stored_size)
        self._figures = figures if stats.files else None

    def _end(self, counting: asyncio.Task[None]) -> None:
        self._counting = None
        # The page does without them; `/stats` and `/health/ready` tell what is wrong.
        retrieve_exception(counting)


FOOT: Final = web.AppKey("foot", Foot)


def _share(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
