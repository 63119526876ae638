"""Quotas in SQLite.

To set one takes two steps. From the first on each edit adds to its row what it changes; then one
snapshot shows both the row and all names, and what the row lacks of them is added, whenever that
is: edits change both alike, so what it lacks stays the same. A recount does the second step again.
Nobody waits for the counting.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from chunkstore.core.errors import NotFound, StoreUnavailable
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.quotas import NO_USAGE, Quota, Quotas, Recount, Usage, check_limits
from chunkstore.store.shared.usage import folders_over
from chunkstore.store.sqlite.engine.connection import snapshot
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.rows import execute
from chunkstore.store.sqlite.tree import below, folder_changes, visible_ranges
from chunkstore.store.sqlite.usage import find_quota, load_folders, to_quota, usage_in

_ATTEMPTS: Final = 10


class SQLiteQuotas(Quotas):
    """The quotas of an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def list(self) -> Sequence[Quota]:
        return await self._database.readers.run(_list)

    async def covering(self, name: FileName | FolderName) -> Sequence[Quota]:
        known = self._database.quotas.ranges_of(name)
        folders = [folder for folder in folders_over(name) if folder in known]
        return await self._database.readers.run(partial(_find, folders=folders)) if folders else []

    async def set(self, folder: FolderName, max_size: int | None, max_files: int | None) -> Quota:
        check_limits(max_size, max_files)
        writer = self._database.writable
        self._database.quotas.add(folder)
        put = partial(_put, folder=folder, max_size=max_size, max_files=max_files)
        found = await writer.run(put, size=EDIT_SIZE)
        if found is None:
            await self._count(folder)
            found = await self._database.readers.run(partial(find_quota, folder=folder))
        if found is None:
            raise StoreUnavailable("The quota was removed meanwhile; try again.")
        return found

    async def remove(self, folder: FolderName) -> None:
        if not await self._database.writable.run(partial(_delete, folder=folder)):
            raise NotFound(f"The folder {f'/{folder}'!r} has no quota.")
        # It may have got another one meanwhile: to know too many costs little.

    async def recount(self) -> AsyncIterator[Recount]:
        for folder in await self._database.readers.run(load_folders):
            found = await self._count(folder)
            if found is not None:
                yield Recount(folder, found.kept, found.drift)

    async def _count(self, folder: FolderName) -> _Counted | None:
        """Add to a row what it lacks; return what was found, None if there is no row."""
        for _ in range(_ATTEMPTS):
            counted = await self._database.readers.run(partial(_count, folder=folder))
            if counted is None:
                return None
            if counted.counts and counted.drift == NO_USAGE:
                return counted
            if await self._database.writable.run(partial(_mend, folder=folder, counted=counted)):
                return counted
        raise StoreUnavailable("Others count the same folder; try again.")


@dataclass(frozen=True, slots=True)
class _Counted:
    """What a row said at its `counts`th count, and by how much that was wrong."""

    counts: int
    kept: Usage
    drift: Usage


def _count(db: sqlite3.Connection, folder: FolderName) -> _Counted | None:
    with snapshot(db):
        row = execute(db, "find_quota", folder=folder).fetchone()
        if row is None:
            return None
        ranges = visible_ranges(**below(folder), changes=folder_changes(db))
        actual = sum((usage_in(db, each) for each in ranges), NO_USAGE)
    kept = Usage(row["size"], row["files"])
    return _Counted(row["counted"], kept, actual - kept)


def _mend(db: sqlite3.Connection, folder: FolderName, counted: _Counted) -> bool:
    drift = {"size": counted.drift.size, "files": counted.drift.files}
    mended = execute(db, "mend_usage", folder=folder, counted=counted.counts, **drift)
    return bool(mended.rowcount)


def _put(
    db: sqlite3.Connection, folder: FolderName, max_size: int | None, max_files: int | None
) -> Quota | None:
    """Return the quota if it is known what is used of it."""
    execute(db, "put_quota", folder=folder, max_size=max_size, max_files=max_files)
    return find_quota(db, folder)


def _delete(db: sqlite3.Connection, folder: FolderName) -> bool:
    return bool(execute(db, "delete_quota", folder=folder).rowcount)


def _list(db: sqlite3.Connection) -> list[Quota]:
    return [to_quota(row) for row in execute(db, "quotas")]


def _find(db: sqlite3.Connection, folders: Sequence[FolderName]) -> list[Quota]:
    found = [find_quota(db, folder) for folder in folders]
    return [quota for quota in found if quota is not None]
