"""Chaining values in an SQLite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Final

from chunkstore.core.manifest import tie_values
from chunkstore.store.contract.subtrees import SubtreePage, Subtrees
from chunkstore.store.shared.subtrees import sound_pages
from chunkstore.store.sqlite.manifests import PAGES_REMOVED
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import QUERIES, execute

_SIZE_OF_ROW: Final = 4 * 1024


class SQLiteSubtrees(Subtrees):
    """The chaining values in an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def find(self, list_id: int, start: int, most: int) -> Sequence[SubtreePage]:
        return await self._database.readers.run(
            partial(_find, list_id=list_id, start=start, most=most)
        )

    async def keep(self, list_id: int, pages: Sequence[SubtreePage]) -> None:
        size = sum(len(page.values) + _SIZE_OF_ROW for page in pages)
        put = partial(_put, list_id=list_id, pages=pages)
        await self._database.writable.run(put, size=size, durable=False)

    async def drop(self, list_id: int) -> None:
        drop = partial(_remove_last, list_id=list_id)
        while not await self._database.writable.run(drop, durable=False):
            pass


def _find(db: sqlite3.Connection, list_id: int, start: int, most: int) -> list[SubtreePage]:
    rows = execute(db, "find_subtrees", manifest=list_id, start=start, count=most)
    return sound_pages(list_id, (tuple(row) for row in rows))


def _put(db: sqlite3.Connection, list_id: int, pages: Sequence[SubtreePage]) -> None:
    db.executemany(
        QUERIES["put_subtrees"],
        [
            {
                "manifest": list_id,
                "start": page.start,
                "chaining_values": page.values,
                "tie": tie_values(list_id, page.start, page.values),
            }
            for page in pages
        ],
    )


def _remove_last(db: sqlite3.Connection, list_id: int) -> bool:
    """Remove the last pages of a list; return whether there are none any more."""
    removed = execute(db, "drop_subtrees", manifest=list_id, most=PAGES_REMOVED)
    return removed.rowcount < PAGES_REMOVED
