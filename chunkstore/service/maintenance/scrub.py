"""Scrub: check the whole store once, or periodically in a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from chunkstore.core.periodic import Periodic
from chunkstore.core.units import format_count, format_size
from chunkstore.store.contract.maintenance import Maintenance
from chunkstore.store.contract.reports import Damage, Scrubbed, ScrubReport

# A scrub that failed is tried again sooner than it would be due.
_RETRY_SECONDS: Final = 3600.0

_logger = logging.getLogger(__name__)


async def scrub_all(
    maintenance: Maintenance, on_step: Callable[[Scrubbed], object], *, rate: int | None = None
) -> ScrubReport:
    """Scrub the whole store, at no more than `rate` bytes per second unless that is None.

    `on_step` is called with each step.
    """
    started = datetime.now(UTC)
    chunks = size = damaged = 0
    async for step in maintenance.scrub():
        on_step(step)
        chunks += step.chunks
        size += step.size
        damaged += len(step.damage)
        if rate is not None:
            await asyncio.sleep(step.size / rate)
    return ScrubReport(started, datetime.now(UTC), chunks, size, damaged)


def scrubbing(maintenance: Maintenance, every_seconds: float, rate: int) -> Periodic:
    """Return the task that scrubs once the last scrub is `every_seconds` ago."""

    async def scrub() -> None:
        report = await scrub_all(maintenance, _log_damage, rate=rate)
        await maintenance.put_scrub_report(report)
        if report.chunks or report.damaged:
            _logger.info("Scrubbed: %s.", format_report(report))

    wait = partial(_wait_until_due, maintenance, every_seconds)
    return Periodic("scrub", wait, scrub, retry_seconds=min(every_seconds, _RETRY_SECONDS))


async def _wait_until_due(maintenance: Maintenance, every_seconds: float) -> None:
    last = (await maintenance.health()).scrub
    if last is not None:
        due = last.finished + timedelta(seconds=every_seconds)
        await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))


def _log_damage(step: Scrubbed) -> None:
    for damage in step.damage:
        _logger.error("%s", format_damage(damage))


def format_damage(damage: Damage) -> str:
    """Return what is damaged and which files that affects, as text for people."""
    files = ", ".join(map(repr, damage.files)) or "no file"
    if damage.kind == "name":
        return f"the entry of {files} is damaged; put or delete it"
    return f"{damage.kind} {damage.digest} is damaged; it is part of {files}"


def format_report(report: ScrubReport) -> str:
    """Return the result of a scrub as text for people."""
    found = f"{report.damaged:,} damaged" if report.damaged else "all whole"
    return f"{format_count(report.chunks, 'chunk')}, {format_size(report.size)}, {found}"
