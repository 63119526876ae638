"""Chaining values in a PostgreSQL store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chunkstore.core.manifest import tie_values
from chunkstore.store.contract.subtrees import SubtreePage, Subtrees
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.subtrees import sound_pages

_REMOVED_AT_ONCE: Final = 256


class PostgresSubtrees(Subtrees):
    """The chaining values in the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def find(self, list_id: int, start: int, most: int) -> Sequence[SubtreePage]:
        rows = await self._opened.database.fetch("find_subtrees", list_id, start, most)
        return sound_pages(list_id, (tuple(row) for row in rows))

    async def keep(self, list_id: int, pages: Sequence[SubtreePage]) -> None:
        await self._opened.writable.write_unsynced(_put, list_id, pages)

    async def drop(self, list_id: int) -> None:
        while await self._opened.writable.write(shorten, list_id):
            pass


async def _put(db: Connection, list_id: int, pages: Sequence[SubtreePage]) -> None:
    if await db.fetchval(QUERIES["keep_list"], list_id):
        await db.execute(
            QUERIES["put_subtrees"],
            list_id,
            [page.start for page in pages],
            [page.values for page in pages],
            [tie_values(list_id, page.start, page.values) for page in pages],
        )


async def shorten(db: Connection, list_id: int) -> bool:
    """Remove the last pages of a list; return whether there are more."""
    starts = await db.fetch(QUERIES["last_subtrees"], list_id, _REMOVED_AT_ONCE)
    if starts:
        await db.execute(QUERIES["shorten_subtrees"], list_id, starts[-1]["start"])
    return len(starts) == _REMOVED_AT_ONCE
