"""The audit log in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from chunkstore.core.timestamps import to_microseconds
from chunkstore.store.contract.audit import Action, AuditEntry, AuditFilter, AuditLog, Who
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.shared.audit_rows import bounds_of, texts_of, to_entry, to_rows

# The database adds its time.
_NOW: Final = 0


class PostgresAudit(AuditLog):
    """The audit log of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    async def append(self, who: Who, actions: Sequence[Action]) -> None:
        await self._opened.writable.write_once(add_actions, who, actions)

    async def list(
        self, wanted: AuditFilter, after: tuple[datetime, int] | None = None, most: int = 1000
    ) -> Sequence[AuditEntry]:
        rows = await self._opened.database.read(_list, wanted, after, most)
        return [to_entry(row) for row in rows]

    async def remove_before(self, moment: datetime) -> int:
        return await self._opened.writable.write(_remove, to_microseconds(moment))


async def add_actions(db: Connection, who: Who, actions: Sequence[Action]) -> None:
    """Add an entry for each action."""
    rows = [tuple(row.values()) for row in to_rows(who, actions, _NOW)]
    if len(rows) == 1:
        await db.execute(QUERIES["add_audit"], *rows[0])
    else:
        await db.executemany(QUERIES["add_audit"], rows)


async def _list(
    db: Connection, wanted: AuditFilter, after: tuple[datetime, int] | None, most: int
) -> list[Row]:
    time, last, until = bounds_of(wanted, after)
    until = min(until, await db.fetchval(QUERIES["audit_settled"]))
    return await db.fetch(QUERIES["list_audit"], time, last, until, *texts_of(wanted), most)


async def _remove(db: Connection, until: int) -> int:
    tag = await db.execute(QUERIES["delete_audit"], until, timeout=LONG_SECONDS)
    return int(tag.rpartition(" ")[2])
