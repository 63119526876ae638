"""The job that lists names, one page at a time.

Names come in order from the index. After a name that rolls up to a folder, the scan skips all names
of that folder, so that a page costs what it shows, however much lies in its folders.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from chunkstore.core.names import FolderName, prefix_stop
from chunkstore.store.contract.values import File, Listing
from chunkstore.store.shared.rollup import folder_of
from chunkstore.store.sqlite.engine.connection import snapshot, understood_rows
from chunkstore.store.sqlite.rows import execute, to_file
from chunkstore.store.sqlite.tree import (
    AFTER_ALL_NAMES,
    Bound,
    NameRange,
    below,
    folder_changes,
    visible_ranges,
)


@dataclass(frozen=True, slots=True)
class ListNames:
    """The job that lists at most `limit` entries after `after`, as `Names.list` does."""

    prefix: str
    delimiter: str
    after: str | None
    limit: int
    made_folders: bool = False

    def run(self, db: sqlite3.Connection) -> Listing:
        """Return the page."""
        files: list[File] = []
        folders: list[FolderName] = []
        last: str | None = None
        with understood_rows(), snapshot(db):
            for entry in self._entries(db):
                if len(files) + len(folders) == self.limit:
                    return Listing(files, folders, last)
                if isinstance(entry, File):
                    files.append(entry)
                    last = entry.name
                else:
                    folders.append(entry)
                    last = entry
        return Listing(files, folders, None)

    def _entries(self, db: sqlite3.Connection) -> Iterator[File | FolderName]:
        start: Bound | None = self._start()
        changes = folder_changes(db)
        while start is not None:
            start = yield from self._entries_to_folder(
                db, visible_ranges(start, below(self.prefix)["stop"], changes)
            )

    def _entries_to_folder(
        self, db: sqlite3.Connection, ranges: Iterator[NameRange]
    ) -> Generator[File | FolderName, None, Bound | None]:
        """Yield entries up to the first folder; return where to continue, None at the end."""
        for names in ranges:
            for row in execute(db, "list_names", **names):
                folder = folder_of(row["name"], self.prefix, self.delimiter)
                if folder is not None:
                    yield folder
                    return _after_folder(folder)
                if row["manifest"] is not None:
                    yield to_file(row)
                elif self.made_folders and row["name"] != self.prefix:
                    yield FolderName(row["name"])
        return None

    def _start(self) -> Bound:
        if self.after is None or self.after < self.prefix:
            return self.prefix
        folder = folder_of(self.after, self.prefix, self.delimiter)
        if folder is not None:
            return _after_folder(folder)
        # No name contains NUL, so this is the least text after `after`.
        return self.after + "\0"


def _after_folder(folder: FolderName) -> Bound:
    return prefix_stop(folder) or AFTER_ALL_NAMES
