"""What all unfinished uploads come to: a sum spread over rows, so that few wait for others."""

from __future__ import annotations

import random
from typing import Final

from chunkstore.store.contract.uploads import Unfinished
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.rows import QUERIES

_SLOTS: Final = 64


async def get(db: Connection) -> Unfinished:
    """Return the sum."""
    row = await db.fetchrow(QUERIES["unfinished"])
    assert row is not None
    return Unfinished(row["size"], row["empty"], row["concatenations"])


async def add(db: Connection, before: Unfinished, after: Unfinished) -> None:
    """Add what a transaction changes to the sum. Nothing that may wait comes behind it."""
    if before != after:
        more = after.minus(before)
        slot = random.randrange(_SLOTS)
        await db.execute(
            QUERIES["add_unfinished"], slot, more.size, more.empty, more.concatenations
        )
