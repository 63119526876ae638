"""Collection and compaction: run once to their end, or periodically in a server."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from chunkstore.core.periodic import Periodic
from chunkstore.core.units import format_count, format_size
from chunkstore.store.contract.maintenance import Maintenance
from chunkstore.store.contract.reports import Collected

_logger = logging.getLogger(__name__)


async def collect_all(
    maintenance: Maintenance, grace_seconds: float, *, dry_run: bool = False
) -> Collected:
    """Run one collection to its end and return the sum of what it removed."""
    total = Collected()
    async for removed in maintenance.collect(grace_seconds, dry_run=dry_run):
        total += removed
    return total


def collecting(maintenance: Maintenance, every_seconds: float, grace_seconds: float) -> Periodic:
    """Return the task that collects every `every_seconds`, first after as long."""

    async def collect() -> None:
        removed = await collect_all(maintenance, grace_seconds)
        if removed != Collected():
            _logger.info("Collected %s.", format_collected(removed))

    return Periodic("collect", partial(asyncio.sleep, every_seconds), collect)


def compacting(maintenance: Maintenance, every_seconds: float) -> Periodic:
    """Return the task that rewrites what wastes space, every `every_seconds`."""
    return Periodic("compact", partial(asyncio.sleep, every_seconds), maintenance.compact)


def format_collected(collected: Collected) -> str:
    """Return the result of a collection as text for people."""
    contents = format_count(collected.manifests, "content")
    chunks = format_count(collected.chunks, "chunk")
    return f"{contents}, {chunks}, {format_size(collected.size)}"
