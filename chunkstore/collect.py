"""Collecting again and again, in the background of a server."""

from __future__ import annotations

import asyncio
import logging

from chunkstore.errors import StoreAway, StoreError
from chunkstore.store.base import Store
from chunkstore.store.reports import Collected
from chunkstore.units import format_size

_logger = logging.getLogger(__name__)


async def collect_all(store: Store, grace_seconds: float, *, dry_run: bool = False) -> Collected:
    """Run one collection to its end and return what it came to."""
    total = Collected()
    async for removed in store.collect(grace_seconds, dry_run=dry_run):
        total += removed
    return total


async def collect_every(store: Store, every_seconds: float, grace_seconds: float) -> None:
    """Wait and collect, again and again; a collection that fails is tried at its next time."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            removed = await collect_all(store, grace_seconds)
        except StoreAway:
            pass  # The store has told the log.
        except StoreError:
            _logger.exception("The collection failed; it will be tried again.")
        else:
            if removed != Collected():
                _logger.info("Collected %s.", format_collected(removed))


def format_collected(collected: Collected) -> str:
    """Return what a collection came to as a person reads it."""
    return (
        f"{collected.manifests:,} contents, {collected.chunks:,} chunks,"
        f" {format_size(collected.size)}"
    )
