"""Checksums of contents in a PostgreSQL store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chunkstore.store.contract.checksums import Checksums, Sums
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.checksums import checksum_columns, sound_checksums


class PostgresChecksums(Checksums):
    """The checksums in the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def find(self, list_ids: Sequence[int]) -> Mapping[int, Sums]:
        rows = await self._opened.database.fetch("find_checksums", list(list_ids))
        return sound_checksums(tuple(row) for row in rows)

    async def keep(self, known: Mapping[int, Sums]) -> None:
        await self._opened.writable.write_unsynced(_put, known)


async def _put(db: Connection, known: Mapping[int, Sums]) -> None:
    # In order, so that nobody waits in a circle.
    for list_id, sums in sorted(known.items()):
        if await db.fetchval(QUERIES["keep_content"], list_id):
            await db.execute(QUERIES["put_checksums"], list_id, *checksum_columns(list_id, sums))
