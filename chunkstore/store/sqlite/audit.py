"""The audit log in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from chunkstore.core.timestamps import to_microseconds
from chunkstore.store.contract.audit import Action, AuditEntry, AuditFilter, AuditLog, Who
from chunkstore.store.shared.audit_rows import bounds_of, texts_of, to_entry, to_rows
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import QUERIES, execute

_ROWS_A_STEP: Final = 1000
# Microseconds.
_SET_BACK: Final = 2_000_000


class SQLiteAudit(AuditLog):
    """The audit log of an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def append(self, who: Who, actions: Sequence[Action]) -> None:
        job = partial(add_actions, who=who, actions=actions)
        await self._database.writable.run(job, size=EDIT_SIZE)

    async def list(
        self, wanted: AuditFilter, after: tuple[datetime, int] | None = None, most: int = 1000
    ) -> Sequence[AuditEntry]:
        job = partial(_list, wanted=wanted, after=after, most=most)
        return [to_entry(row) for row in await self._database.readers.run(job)]

    async def remove_before(self, moment: datetime) -> int:
        removed, step = 0, _ROWS_A_STEP
        job = partial(_remove, until=to_microseconds(moment))
        while step == _ROWS_A_STEP:
            step = await self._database.writable.run(job, durable=False)
            removed += step
        return removed


def add_actions(db: sqlite3.Connection, who: Who, actions: Sequence[Action]) -> None:
    """Add an entry for each action, behind all that there are. This is a job."""
    [(last,)] = execute(db, "last_audit")
    db.executemany(QUERIES["add_audit"], to_rows(who, actions, _time_behind(last)))


def _time_behind(last: int | None) -> int:
    """Return the time of a new entry behind one of the time `last`, also if the clock was set back.

    Where it was set back by more, times are right again, but who follows the log may miss some.
    """
    now = now_microseconds()
    return now if last is None or last >= now + _SET_BACK else max(now, last + 1)


def _list(
    db: sqlite3.Connection, wanted: AuditFilter, after: tuple[datetime, int] | None, most: int
) -> list[sqlite3.Row]:
    time, last, until = bounds_of(wanted, after)
    actor, action, name = texts_of(wanted)
    return execute(
        db,
        "list_audit",
        time=time,
        id=last,
        until=until,
        actor=actor,
        action=action,
        name=name,
        most=most,
    ).fetchall()


def _remove(db: sqlite3.Connection, until: int) -> int:
    return execute(db, "delete_audit", until=until, count=_ROWS_A_STEP).rowcount
