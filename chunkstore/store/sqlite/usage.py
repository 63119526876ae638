"""What edits change of what folders use: measured before and after, where there are quotas.

One process writes a database, so it knows without asking which folders have a quota. An edit that
touches none of them measures nothing.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from chunkstore.core.names import FolderName, prefix_stop
from chunkstore.store.contract.edits import Copy, Edit, Move, Name, Patch, is_folder_name, names_in
from chunkstore.store.contract.quotas import NO_USAGE, Quota, Usage
from chunkstore.store.shared.usage import UsageChanges, folders_over
from chunkstore.store.sqlite.engine.connection import snapshot
from chunkstore.store.sqlite.rows import execute
from chunkstore.store.sqlite.tree import NameRange, below, other_kind, require_few_names

Usages: TypeAlias = Mapping[FolderName, Usage]


class QuotaFolders:
    """The folders that have a quota, or may have one: those of all rows at least.

    A folder is added before its row is, on the event loop, while jobs run on other threads; so what
    a job sees is replaced, never changed.
    """

    def __init__(self, folders: Iterable[FolderName] = ()) -> None:
        self._sorted = tuple(sorted(folders))

    def __bool__(self) -> bool:
        return bool(self._sorted)

    def add(self, folder: FolderName) -> None:
        """Take note of one that is about to get a quota."""
        self._sorted = tuple(sorted({*self._sorted, folder}))

    def ranges_of(self, name: Name) -> dict[FolderName, NameRange]:
        """Return of each folder with a quota which of its names are under `name`, or are it."""
        folders = self._sorted
        if not folders:
            return {}
        whole = _range_of(name)
        found = {folder: whole for folder in folders_over(name) if _contains(folders, folder)}
        if is_folder_name(name):
            end = prefix_stop(name)
            stop = len(folders) if end is None else bisect_left(folders, end)
            inner = folders[bisect_right(folders, name) : stop]
            found.update((folder, below(folder)) for folder in inner)
        return found


def _contains(folders: tuple[FolderName, ...], folder: FolderName) -> bool:
    place = bisect_left(folders, folder)
    return place < len(folders) and folders[place] == folder


def _range_of(name: Name) -> NameRange:
    # No name contains NUL, so this is the least text behind a file's.
    return below(name) if is_folder_name(name) else NameRange(start=name, stop=f"{name}\0")


def usage_in(db: sqlite3.Connection, names: NameRange) -> Usage:
    """Return what the files in a range come to, none of which is hidden."""
    row = execute(db, "usage_in", **names).fetchone()
    return Usage(row["size"], row["files"])


def usages_of(db: sqlite3.Connection, ranges: Mapping[FolderName, NameRange]) -> Usages:
    """Return what the files in each range come to; equal ranges are counted once."""
    counted: dict[tuple[str | bytes, str | bytes], Usage] = {}
    for each in ranges.values():
        key = (each["start"], each["stop"])
        if key not in counted:
            counted[key] = usage_in(db, each)
    return {folder: counted[each["start"], each["stop"]] for folder, each in ranges.items()}


@dataclass(slots=True)
class Tally:
    """What the edits of one transaction change of what the folders with quotas use."""

    quotas: QuotaFolders
    _changes: UsageChanges = field(default_factory=UsageChanges)

    @contextmanager
    def counting(self, db: sqlite3.Connection, edit: Edit, place: int) -> Iterator[None]:
        """Add what an edit changes, which is judged and made within the context.

        Raises:
            ManyNames: it is of too many names to be made so.
        """
        names = _names_changed(edit)
        ranges = [self.quotas.ranges_of(name) for name in names] if self.quotas else []
        if not any(ranges):
            yield
            return
        for name in names:
            if is_folder_name(name):
                require_few_names(db, FolderName(name))
        before = [usages_of(db, each) for each in ranges]
        yield
        for each, old in zip(ranges, before, strict=True):
            for folder, new in usages_of(db, each).items():
                self._changes.add(folder, new - old[folder], place)

    def appear(self, usages: Usages) -> None:
        """Add what comes to folders."""
        for folder, usage in usages.items():
            self._changes.add(folder, usage, 0)

    def disappear(self, usages: Usages) -> None:
        """Add what goes from folders."""
        for folder, usage in usages.items():
            self._changes.add(folder, NO_USAGE - usage, 0)

    def settle(self, db: sqlite3.Connection) -> None:
        """Change what is used, as the last thing that the transaction does.

        Raises:
            QuotaExceeded: it would be more than a quota allows.
        """
        for folder, change in self._changes.in_order():
            added = execute(
                db, "add_usage", folder=folder, size=change.size, files=change.files
            ).rowcount
            quota = None if added else find_quota(db, folder)
            if quota is not None:
                self._changes.check(quota)

    def check(self, db: sqlite3.Connection) -> None:
        """Raise what `settle` would."""
        for folder, _ in self._changes.in_order():
            quota = find_quota(db, folder)
            if quota is not None:
                self._changes.check(quota)


def _names_changed(edit: Edit) -> list[Name]:
    """Return the names of which an edit changes how much there is."""
    if isinstance(edit, Patch):
        return []
    names = [edit.target] if isinstance(edit, Copy) else list(names_in(edit))
    if isinstance(edit, Copy | Move) and edit.strict:
        names.append(other_kind(edit.target))
    return names


def find_quota(db: sqlite3.Connection, folder: FolderName) -> Quota | None:
    """Return the quota of a folder, None if it has none that is counted."""
    row = execute(db, "find_quota", folder=folder).fetchone()
    return None if row is None or not row["counted"] else to_quota(row)


def to_quota(row: sqlite3.Row) -> Quota:
    """Return the quota in a row."""
    used = Usage(row["size"], row["files"])
    return Quota(FolderName(row["folder"]), row["max_size"], row["max_files"], used)


def load_folders(db: sqlite3.Connection) -> list[FolderName]:
    """Return the folders of all rows."""
    return [FolderName(row["folder"]) for row in execute(db, "quota_folders")]


@dataclass(frozen=True, slots=True)
class FolderTurn:
    """The turn of a change of large folders at which some appear, or disappear, all at once.

    `gone` are those that disappear; `came` are one whose names appear under another, and that one.
    No name under them can change, so what they come to is counted before.
    """

    quotas: QuotaFolders
    gone: Sequence[FolderName] = ()
    came: tuple[FolderName, FolderName] | None = None

    def count(self, db: sqlite3.Connection) -> list[Usages]:
        """Return what the folders come to. This is a job."""
        return [usages_of(db, ranges) for ranges in self._ranges()]

    def check(self, db: sqlite3.Connection) -> None:
        """Raise what a turn at this moment would. This is a job."""
        with snapshot(db):
            tally = self.tally(self.count(db))
            if tally is not None:
                tally.check(db)

    def tally(self, counted: Sequence[Usages]) -> Tally | None:
        """Return what the turn changes; None if a folder has got a quota since it was counted."""
        ranges = self._ranges()
        if any(each.keys() - usages.keys() for each, usages in zip(ranges, counted, strict=True)):
            return None
        tally = Tally(self.quotas)
        for usages in counted[: len(self.gone)]:
            tally.disappear(usages)
        for usages in counted[len(self.gone) :]:
            tally.appear(usages)
        return tally

    def _ranges(self) -> list[dict[FolderName, NameRange]]:
        found = [self.quotas.ranges_of(folder) for folder in self.gone]
        if self.came is not None:
            source, target = self.came
            of_target = self.quotas.ranges_of(target)
            found.append(
                {
                    folder: below(source + folder[len(target) :])
                    if folder.startswith(target)
                    else below(source)
                    for folder in of_target
                }
            )
        return found
