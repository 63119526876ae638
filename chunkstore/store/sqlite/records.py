"""Records in SQLite."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
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
from chunkstore.store.shared.record_rows import REVISION_BITS, expiry_of, to_record
from chunkstore.store.shared.times import now_microseconds
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import execute, fetch_value

_REVISION: Final = "records"


class SQLiteRecords(Records):
    """The records of an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def find(self, kind: str, key: str) -> Record | None:
        found = await self._database.readers.run(partial(_find, kind=kind, key=key))
        return None if found is None else to_record(found)

    async def list(
        self, kind: str, owner: str | None = None, after: str = "", most: int = 1000
    ) -> Sequence[Record]:
        job = partial(_list, kind=kind, owner=owner, after=after, most=most)
        return [to_record(row) for row in await self._database.readers.run(job)]

    async def apply(self, changes: Sequence[RecordChange], *, announced: bool = True) -> None:
        ordered = in_order(changes)
        await self._database.writable.run(_Apply(ordered, announced).run, size=_size_of(ordered))

    async def revision(self) -> int:
        job = partial(fetch_value, query="find_setting", name=_REVISION)
        return await self._database.readers.run(job) or 0


def _size_of(changes: Sequence[RecordChange]) -> int:
    """Return how much changes add.

    What goes, or takes the place of what is there, adds nothing that counts: on a full disk, too,
    an account can be disabled and a token revoked.
    """
    return sum(
        EDIT_SIZE + len(change.value)
        for change in changes
        if isinstance(change, PutRecord) and not isinstance(change.expected, int)
    )


@dataclass(frozen=True, slots=True)
class _Apply:
    """The job that makes changes."""

    changes: Sequence[RecordChange]
    announced: bool

    def run(self, db: sqlite3.Connection) -> None:
        now = now_microseconds()
        for change in self.changes:
            require_made(change, _make(db, change, now))
        if self.announced:
            execute(db, "put_setting", name=_REVISION, value=secrets.randbits(REVISION_BITS))


def _make(db: sqlite3.Connection, change: RecordChange, now: int) -> int:
    """Make a change; return how many rows it changed."""
    match change:
        case DeleteRecord(kind, key, expected):
            return execute(
                db, "delete_record", kind=kind, key=key, expected=expected, now=now
            ).rowcount
        case PutRecord(kind, key, owner, value, _, expected):
            if isinstance(expected, int):
                put = partial(execute, db, "change_record", expected=expected)
            else:
                put = partial(execute, db, "put_record", replaced=expected is not ABSENT)
            return put(
                kind=kind,
                key=key,
                owner=owner,
                value=value,
                revision=secrets.randbits(REVISION_BITS),
                expires=expiry_of(change),
                now=now,
            ).rowcount


def _find(db: sqlite3.Connection, kind: str, key: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = execute(
        db, "find_record", kind=kind, key=key, now=now_microseconds()
    ).fetchone()
    return row


def _list(
    db: sqlite3.Connection, kind: str, owner: str | None, after: str, most: int
) -> list[sqlite3.Row]:
    query = "list_records" if owner is None else "list_records_of"
    which = {} if owner is None else {"owner": owner}
    return execute(
        db, query, kind=kind, after=after, most=most, now=now_microseconds(), **which
    ).fetchall()
