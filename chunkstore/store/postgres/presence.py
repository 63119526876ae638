"""Which servers have the store open, and which manifests their downloads have pinned.

A download may need file content whose name is gone, on whichever server it runs. So each server
writes a row of its own every few seconds: that it lives; up to which time on the database's clock
it has `seen` what was condemned; and which manifests its downloads have pinned. To have seen a time
means: look-ups of files that began before it have ended, and what they found is pinned or not
needed any more. No file points at a manifest from the time on that it was condemned, so it can be
removed once every server that lives has seen that time and has not pinned it (epoch-based
reclamation; Fraser, Practical lock-freedom, 2004, §5.2.3).

A server that writes nothing for a minute is taken for dead. If it only slept, downloads of what was
removed meanwhile break off, and uploads to it fail; nothing wrong is served or kept.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Final

from chunkstore.core.errors import StoreError
from chunkstore.core.periodic import Periodic
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.pins import Pins

_logger = logging.getLogger(__name__)

_BEAT_SECONDS: Final = 5.0
_DEAD_AFTER_MICROSECONDS: Final = 60 * 1_000_000


class Presence:
    """This server among those that have the store open. Start it with `start`."""

    def __init__(self, database: Database, pins: Pins) -> None:
        self.server = secrets.token_hex(8)
        self._database = database
        self._pins = pins
        self.heartbeat = Periodic("heartbeat", partial(asyncio.sleep, _BEAT_SECONDS), self.beat)
        self._started = False
        # One at a time, or an older list of pins could come behind a newer one.
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """Say that this server lives, now and again and again."""
        await self.beat()
        self.heartbeat.start()
        self._started = True

    async def stop(self) -> None:
        """Say that it has ended."""
        if self._started:
            await self.heartbeat.stop()
            try:
                async with self._lock:
                    await self._database.execute("delete_server", self.server)
            except StoreError:
                _logger.warning("The database could not be told that this server has ended.")

    async def beat(self) -> int:
        """Say that this server lives; return the time that it has seen."""
        # To its end, so that none that was begun comes behind the last word of `stop`.
        return await self._database.run_to_end(self._beat())

    async def _beat(self) -> int:
        async with self._lock:
            seen = await self._database.read(clock)
            await self._pins.wait_for_lookups()
            pinned = list(self._pins.held())
            await self._database.write(_put_server, self.server, seen, pinned)
            return seen


async def _put_server(db: Connection, server: str, seen: int, pinned: Sequence[int]) -> None:
    await db.execute(QUERIES["put_server"], server, await clock(db), seen, pinned)


async def clock(db: Connection) -> int:
    """Return the database's time in microseconds."""
    return int(await db.fetchval(QUERIES["clock"]))


async def forget_dead(db: Connection) -> None:
    """Remove the rows of servers that have said nothing for long."""
    await db.execute(QUERIES["delete_dead_servers"], await clock(db) - _DEAD_AFTER_MICROSECONDS)


async def seen_by_all(db: Connection) -> tuple[int, set[int]]:
    """Return the time that all servers have seen, and the manifests that any of them has pinned."""
    rows = await db.fetch(QUERIES["servers"])
    pinned = {manifest for row in rows for manifest in row["held"]}
    return min((row["seen"] for row in rows), default=0), pinned
