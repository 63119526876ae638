"""What the store of a server holds and how it is, for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, TypeAlias

from chunkstore.core.errors import StoreError
from chunkstore.core.metrics import Family, Kind, head_of, line_of
from chunkstore.http.native.status import Figures
from chunkstore.store.contract.maintenance import Maintenance
from chunkstore.store.contract.reports import Health, Stats

_SECONDS: Final = 60.0
# Of the time that counting takes, so many times are left to others.
_REST: Final = 100
# Less than Prometheus waits for an answer; what is counted later is shown the next time.
_PATIENCE_SECONDS: Final = 2.0

_Figure: TypeAlias = tuple[str, str, Callable[[Stats], float | None]]
_FIGURES: Final[tuple[_Figure, ...]] = (
    ("files", "Names.", lambda stats: stats.files),
    ("contents", "Different contents.", lambda stats: stats.contents),
    ("chunks", "Different chunks.", lambda stats: stats.chunks),
    ("damaged_chunks", "Chunks found damaged, not repaired yet.", lambda stats: stats.damaged),
    ("logical_bytes", "The sizes of all files.", lambda stats: stats.logical_size),
    ("unique_bytes", "The sizes of all chunks.", lambda stats: stats.unique_size),
    ("stored_bytes", "What all chunks take, compressed.", lambda stats: stats.stored_size),
    ("reclaimable_bytes", "What collections will free.", lambda stats: stats.reclaimable_size),
    (
        "unfinished_bytes",
        "What unfinished uploads have.",
        lambda stats: stats.unfinished.size,
    ),
    (
        "empty_uploads",
        "Unfinished uploads without a byte.",
        lambda stats: stats.unfinished.empty,
    ),
    ("database_bytes", "What the database takes on disk.", lambda stats: stats.database_size),
)


class StoreMetrics:
    """The lines about a store, of which no more than one count is under way."""

    def __init__(self, maintenance: Maintenance) -> None:
        self._maintenance = maintenance
        self._figures = Figures(maintenance, _SECONDS, rest=_REST)

    async def lines(self) -> AsyncIterator[str]:
        """Yield what is known; what the store does not tell in time is left out."""
        try:
            health = await self._maintenance.health()
        except StoreError:
            health = None
        for line in _lines_of_health(health):
            yield line
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                counted, age_seconds = await self._figures.get()
        except (StoreError, TimeoutError):
            return
        for name, text, figure_of in _FIGURES:
            value = figure_of(counted)
            if value is not None:
                for line in _gauge(f"store_{name}", text, value):
                    yield line
        for line in _gauge("store_age_seconds", "How old these are.", age_seconds):
            yield line


def _lines_of_health(health: Health | None) -> Iterator[str]:
    ready = health is not None and not health.faults
    yield from _gauge("store_ready", "Whether the store keeps its promises.", ready)
    if health is None:
        return
    yield from _gauge(
        "store_full", "Whether new content is refused for lack of room.", health.full is not None
    )
    if health.scrub is not None:
        finished = health.scrub.finished.timestamp()
        yield from _gauge(
            "scrub_finished_timestamp_seconds", "When the last scrub ended.", finished
        )
        yield from _gauge("scrub_damaged", "What it found damaged.", health.scrub.damaged)


def _gauge(name: str, text: str, value: float) -> Iterator[str]:
    family = Family(f"chunkstore_{name}", Kind.GAUGE, text)
    yield from head_of(family)
    yield line_of(family.name, (), (), value)
