"""Removing old entries of the audit log, periodically in a server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from chunkstore.core.periodic import Periodic
from chunkstore.store.contract.audit import AuditLog

_EVERY_SECONDS: Final = 3600.0


def forgetting(log: AuditLog, kept_seconds: float) -> Periodic:
    """Return the task that removes hourly what is older than it is kept, first after an hour."""

    async def forget() -> None:
        await log.remove_before(datetime.now(UTC) - timedelta(seconds=kept_seconds))

    return Periodic("audit", partial(asyncio.sleep, _EVERY_SECONDS), forget)
