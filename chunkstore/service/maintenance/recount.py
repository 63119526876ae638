"""Counting again what folders with quotas use, periodically in a server."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

from chunkstore.core.periodic import Periodic
from chunkstore.store.contract.quotas import NO_USAGE, Quotas

_EVERY_SECONDS: Final = 6 * 3600.0

_logger = logging.getLogger(__name__)


def recounting(quotas: Quotas) -> Periodic:
    """Return the task that counts again every six hours, first after as long."""
    return Periodic("recount", partial(asyncio.sleep, _EVERY_SECONDS), partial(recount, quotas))


async def recount(quotas: Quotas) -> None:
    """Count again what folders with quotas use; log what was wrong.

    Raises:
        StoreError: the store failed, or others write too much for it to be counted.
    """
    async for found in quotas.recount():
        if found.drift != NO_USAGE:
            _logger.warning(
                "What the folder %r uses was wrong by %d bytes and %d files; it was counted again.",
                f"/{found.folder}",
                -found.drift.size,
                -found.drift.files,
            )
