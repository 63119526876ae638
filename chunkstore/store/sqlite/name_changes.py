"""Telling which names a transaction changes, before it is committed.

Triggers on the one connection that writes note each row of `file` that changes, and each change of
what hides folders. So no statement that changes names can be forgotten, present or future. They
exist only while somebody watches.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from chunkstore.store.contract.name_changes import NameChanges, NameWatcher
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.sqlite.engine.transactions import Observer
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.schema import PACKAGE

_STATEMENTS: Final = load_queries(PACKAGE, "name_changes.sql")
# More than several edits of the largest folders note. Beyond it a file would be needed, for which a
# full disk may have no room.
_NOTED_IN_MEMORY_KIB: Final = 16 * 1024
_TRIGGERS: Final = [name for name in _STATEMENTS if name.startswith("note_")]


class WatchedNames(Observer):
    """Tells watchers which names the transactions of the writing connection change.

    All methods run on that connection's thread, `add` and `remove` outside of transactions.
    """

    def __init__(self) -> None:
        self._watchers: list[NameWatcher] = []

    def add(self, db: sqlite3.Connection, watcher: NameWatcher) -> None:
        """Tell `watcher` of the transactions from now on."""
        if not self._watchers:
            for statement in _STATEMENTS.values():
                db.execute(statement)
            db.execute(f"PRAGMA temp.cache_size = -{_NOTED_IN_MEMORY_KIB}")
        self._watchers.append(watcher)

    def remove(self, db: sqlite3.Connection, watcher: NameWatcher) -> None:
        """Tell `watcher` of no more transactions."""
        self._watchers.remove(watcher)
        if not self._watchers:
            for trigger in _TRIGGERS:
                db.execute(f"DROP TRIGGER temp.{trigger}")
            db.execute("DROP TABLE temp.changed_name")

    def before_commit(self, db: sqlite3.Connection) -> None:
        if not self._watchers:
            return
        # As bytes: a damaged name is deleted like any other.
        rows = db.execute("SELECT CAST(name AS BLOB) FROM changed_name").fetchall()
        if not rows:
            return
        db.execute("DELETE FROM changed_name")
        noted = {name for (name,) in rows}
        names = None if None in noted else [name.decode(errors="replace") for name in noted]
        for watcher in self._watchers:
            watcher.changing(names)

    def ended(self) -> None:
        for watcher in self._watchers:
            watcher.changed()


class SQLiteNameChanges(NameChanges):
    """The changes of names that `writer` makes, which `watched` is told of."""

    def __init__(self, writer: Writer, watched: WatchedNames) -> None:
        self._writer = writer
        self._watched = watched

    @asynccontextmanager
    async def watched_by(self, watcher: NameWatcher) -> AsyncIterator[None]:
        await self._writer.run_alone(partial(self._watched.add, watcher=watcher))
        try:
            yield
        finally:
            await self._writer.run_alone(partial(self._watched.remove, watcher=watcher))
