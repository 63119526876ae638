"""Gaps in what a store shows that is spread over machines, and when they are damage.

A transaction over several machines is committed on each of them (two-phase commit). If one crashes
in between, its part of what was acknowledged stays invisible until the coordinator resolves it,
which Citus does every `citus.recover_2pc_interval`. So there a missing chunk, or a missing place of
a chunk list, is damage only after it was missing for longer than that.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Final

from chunkstore.core.errors import StoreUnavailable
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.postgres.schema import is_spread

# A gap is given the time of two rounds: it may come while one runs.
_ROUNDS: Final = 2
_REMEMBERED: Final = 10_000


class Gaps:
    """The gaps that were found, and since when.

    `settle_seconds` is how long one may stay; None where all tables are on one machine.
    """

    def __init__(self, settle_seconds: float | None) -> None:
        self.settle_seconds = settle_seconds
        self._seen: OrderedDict[bytes | int, float] = OrderedDict()

    @classmethod
    async def of(cls, database: Database) -> Gaps:
        """Return those of a store, of which none is known yet."""
        return cls(await database.read(_settle_seconds))

    @property
    def is_spread(self) -> bool:
        """Whether tables lie on several machines, each of which has a log of its own."""
        return self.settle_seconds is not None

    def judge(self, gap: bytes | int) -> None:
        """Return if a gap, by the chunk or the manifest it is of, is damage.

        Raises:
            StoreUnavailable: it may be filled soon.
        """
        if self.settle_seconds is None:
            return
        now = time.monotonic()
        since = self._seen.get(gap)
        if since is None:
            self._seen[gap] = now
            if len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        elif now - since >= self.settle_seconds:
            return
        raise StoreUnavailable("A part of the file cannot be read at the moment; try again.")

    def filled(self, gap: bytes | int) -> None:
        """Note that it is there."""
        self._seen.pop(gap, None)


async def _settle_seconds(db: Connection) -> float | None:
    if not await is_spread(db):
        return None
    return _ROUNDS * float(await db.fetchval(QUERIES["recovery_seconds"]))
