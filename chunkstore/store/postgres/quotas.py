"""Quotas in PostgreSQL.

To set one takes two steps. Whoever changes names asks before whether there are quotas, and the row
is added when all who were told that there were none have ended: from then on each transaction adds
to the row what it changes. Then one snapshot shows both the row and all names, and what the row
lacks of them is added, whenever that is: transactions change both alike, so what it lacks stays the
same. A recount does the second step again. Nobody waits for the counting.

Where tables are spread there are no such snapshots; there it is counted until two counts agree.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from chunkstore.core.errors import NotFound, StoreUnavailable
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.quotas import NO_USAGE, Quota, Quotas, Recount, Usage, check_limits
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.paths import below
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.postgres.usage import to_quota, usage_in
from chunkstore.store.shared.usage import folders_over

_ATTEMPTS: Final = 10
# For how long it may be taken for true, where it is for advice, that there is no quota.
_BELIEVED_SECONDS: Final = 1.0


class PostgresQuotas(Quotas):
    """The quotas of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._none_until = 0.0

    async def list(self) -> Sequence[Quota]:
        return [to_quota(row) for row in await self._opened.database.fetch("quotas")]

    async def covering(self, name: FileName | FolderName) -> Sequence[Quota]:
        now = asyncio.get_running_loop().time()
        if now < self._none_until:
            return []
        if not await self._opened.database.fetch("quota_folders"):
            self._none_until = now + _BELIEVED_SECONDS
            return []
        rows = await self._opened.database.fetch("quotas_of", folders_over(name))
        return [to_quota(row) for row in rows]

    async def set(self, folder: FolderName, max_size: int | None, max_files: int | None) -> Quota:
        check_limits(max_size, max_files)
        self._none_until = 0.0
        database = self._opened.writable
        limits = (folder, max_size, max_files)
        if not await database.write(_change, *limits):
            await database.write(_add, *limits)
        found = await database.fetch("quotas_of", [folder])
        if not found:
            await self._count(folder)
            found = await database.fetch("quotas_of", [folder])
        if not found:
            raise StoreUnavailable("The quota was removed meanwhile; try again.")
        return to_quota(found[0])

    async def remove(self, folder: FolderName) -> None:
        if not await self._opened.writable.write_once(_delete, folder):
            raise NotFound(f"The folder {f'/{folder}'!r} has no quota.")

    async def recount(self) -> AsyncIterator[Recount]:
        for folder in await self._opened.database.fetch_values("quota_folders"):
            found = await self._count(folder)
            if found is not None:
                yield Recount(folder, found.kept, found.drift)

    async def _count(self, folder: FolderName) -> _Counted | None:
        """Add to a row what it lacks; return what was found, None if there is no row."""
        database, last = self._opened.database, None
        for _ in range(_ATTEMPTS):
            counted = await database.snapshot(partial(_count, folder=folder))
            if counted is None:
                return None
            if self._opened.is_spread and (last is None or last.drift != counted.drift):
                last = counted
                continue
            if counted.counts and counted.drift == NO_USAGE:
                return counted
            if await self._opened.writable.write_once(_mend, folder, counted):
                return counted
        raise StoreUnavailable("Others write too much there for it to be counted; try again.")


@dataclass(frozen=True, slots=True)
class _Counted:
    """What a row said at its `counts`th count, and by how much that was wrong."""

    counts: int
    kept: Usage
    drift: Usage


async def _count(db: Connection, folder: FolderName) -> _Counted | None:
    row = await db.fetchrow(QUERIES["find_quota"], folder)
    if row is None:
        return None
    kept = Usage(row["size"], row["files"])
    return _Counted(row["counted"], kept, await usage_in(db, *below(folder)) - kept)


async def _mend(db: Connection, folder: FolderName, counted: _Counted) -> bool:
    drift = counted.drift
    query = QUERIES["mend_usage"]
    return _changed(await db.execute(query, folder, counted.counts, drift.size, drift.files))


async def _change(
    db: Connection, folder: FolderName, max_size: int | None, max_files: int | None
) -> bool:
    """Change what a quota allows; return whether there was one."""
    return _changed(await db.execute(QUERIES["change_quota"], folder, max_size, max_files))


async def _add(
    db: Connection, folder: FolderName, max_size: int | None, max_files: int | None
) -> None:
    """Add a quota, unless another was faster."""
    await db.execute(QUERIES["wait_briefly"])
    await db.execute(QUERIES["lock_quotas"])
    await db.execute(QUERIES["put_quota"], folder, max_size, max_files)


async def _delete(db: Connection, folder: FolderName) -> bool:
    return _changed(await db.execute(QUERIES["delete_quota"], folder))


def _changed(tag: str) -> bool:
    return not tag.endswith(" 0")
