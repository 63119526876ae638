"""What edits change of what folders use, and where that is kept.

Whether there are quotas is told by the statements that lock names, so it takes no round trip. Who
has asked keeps the table of quotas from getting new rows until the transaction ends. What the files
under a whole folder come to is counted before and after, once nobody else can change them. The rows
of quotas are locked last of all, in the order of their folders: so those who wait for one hold up
nobody who has not changed names under the same folder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.quotas import Quota, Usage
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection
from chunkstore.store.postgres.paths import below
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.shared.usage import UsageChanges, folders_over


@dataclass(slots=True)
class Tally:
    """What the edits of one transaction change; `edit` is the place of the one that is being made.

    `watched` says whether there are quotas, `locked` whether there are write locks.
    """

    watched: bool = False
    locked: bool = False
    edit: int = 0
    _changes: UsageChanges = field(default_factory=UsageChanges)

    def told(self, row: Row) -> None:
        """Note what a statement told of the whole store."""
        self.watched |= row["quotas"]
        self.locked |= row["locks"]

    def file(self, name: str, old_size: int | None, new_size: int | None) -> None:
        """Add what becomes of a file, by its sizes before and after; None if there is none."""
        change = Usage(
            (new_size or 0) - (old_size or 0), (new_size is not None) - (old_size is not None)
        )
        for folder in folders_over(FileName(name)):
            self._changes.add(folder, change, self.edit)

    @asynccontextmanager
    async def counting(self, db: Connection, *folders: FolderName) -> AsyncIterator[None]:
        """Add what changes under folders within the context; they are locked."""
        ranges = [await self._ranges_of(db, folder) for folder in folders] if self.watched else []
        for folder, each in zip(folders, ranges, strict=False):
            if each:
                # To replace or to delete a file takes no lock on its folder.
                await db.execute(QUERIES["keep_below"], *below(folder), timeout=LONG_SECONDS)
        before = [await _usages_of(db, each) for each in ranges]
        yield
        for each, old in zip(ranges, before, strict=True):
            for folder, new in (await _usages_of(db, each)).items():
                self._changes.add(folder, new - old[folder], self.edit)

    async def _ranges_of(
        self, db: Connection, folder: FolderName
    ) -> dict[FolderName, tuple[str, str]]:
        """Return of each folder with a quota which of its names are under a folder."""
        touched = await db.fetch(
            QUERIES["quota_folders_touched"], folders_over(folder), *below(folder)
        )
        return {
            FolderName(name): below(name if name.startswith(folder) else folder)
            for (name,) in touched
        }

    async def settle(self, db: Connection) -> None:
        """Change what is used, as the last thing that the transaction does.

        Raises:
            QuotaExceeded: it would be more than a quota allows.
        """
        changes = self._changes.in_order() if self.watched else []
        if not changes:
            return
        refused = await db.fetchval(
            QUERIES["add_usage"],
            [folder for folder, _ in changes],
            [change.size for _, change in changes],
            [change.files for _, change in changes],
        )
        if refused is not None:
            row = await db.fetchrow(QUERIES["find_quota"], refused)
            self._changes.check(to_quota(row))
            raise AssertionError(refused)


async def _usages_of(
    db: Connection, ranges: Mapping[FolderName, tuple[str, str]]
) -> Mapping[FolderName, Usage]:
    """Return what the files in each range come to; equal ranges are counted once."""
    counted = {each: await usage_in(db, *each) for each in set(ranges.values())}
    return {folder: counted[each] for folder, each in ranges.items()}


async def usage_in(db: Connection, start: str, stop: str) -> Usage:
    """Return what the files in a range of names come to."""
    [row] = await db.fetch(QUERIES["usage_in"], start, stop, timeout=LONG_SECONDS)
    return Usage(row["size"], row["files"])


def to_quota(row: Row) -> Quota:
    """Return the quota in a row."""
    used = Usage(row["size"], row["files"])
    return Quota(FolderName(row["folder"]), row["max_size"], row["max_files"], used)
