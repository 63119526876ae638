"""Records in PostgreSQL.

Whoever announces a change first writes the revision, so announced changes come one after the other
and are visible once the revision is. Other changes wait for each other only at a record.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from chunkstore.store.contract.records import (
    ABSENT,
    DeleteRecord,
    PutRecord,
    Record,
    RecordChange,
    Records,
    in_order,
    require_made,
)
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.record_rows import REVISION_BITS, expiry_of, to_record
from chunkstore.store.shared.times import now_microseconds

_REVISION: Final = "records"


class PostgresRecords(Records):
    """The records of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def find(self, kind: str, key: str) -> Record | None:
        rows = await self._opened.database.fetch("find_record", kind, key, now_microseconds())
        return to_record(rows[0]) if rows else None

    async def list(
        self, kind: str, owner: str | None = None, after: str = "", most: int = 1000
    ) -> Sequence[Record]:
        database, page = self._opened.database, (kind, after, now_microseconds(), most)
        if owner is None:
            rows = await database.fetch("list_records", *page)
        else:
            rows = await database.fetch("list_records_of", *page, owner)
        return [to_record(row) for row in rows]

    async def apply(self, changes: Sequence[RecordChange], *, announced: bool = True) -> None:
        await self._opened.writable.write_once(_apply, in_order(changes), announced)

    async def revision(self) -> int:
        found = await self._opened.database.fetch_values("find_setting", _REVISION)
        return int(found[0]) if found else 0


async def _apply(db: Connection, changes: Sequence[RecordChange], announced: bool) -> None:
    if announced:
        revision = secrets.randbits(REVISION_BITS)
        await db.execute(QUERIES["put_setting"], _REVISION, str(revision))
    now = now_microseconds()
    for change in changes:
        tag = await _make(db, change, now)
        require_made(change, int(tag.rpartition(" ")[2]))


async def _make(db: Connection, change: RecordChange, now: int) -> str:
    """Make a change; return the tag of its statement."""
    match change:
        case DeleteRecord(kind, key, expected):
            return await db.execute(QUERIES["delete_record"], kind, key, expected, now)
        case PutRecord(kind, key, owner, value, _, expected):
            row = (kind, key, owner, value, secrets.randbits(REVISION_BITS), expiry_of(change))
            if isinstance(expected, int):
                return await db.execute(QUERIES["change_record"], *row, expected, now)
            return await db.execute(QUERIES["put_record"], *row, expected is not ABSENT, now)
