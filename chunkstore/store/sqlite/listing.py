"""The job that lists names, one page at a time.

Names come in order from the index. After a name that rolls up to a folder, the scan skips all names
of that folder, so that a page costs what it shows, however much lies in its folders.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from chunkstore.core.names import FileName, FolderName, prefix_stop
from chunkstore.store.contract.values import File, Listing
from chunkstore.store.shared.manifest_rows import proved_file
from chunkstore.store.shared.rollup import folder_of
from chunkstore.store.sqlite.engine.connection import snapshot, understood_rows
from chunkstore.store.sqlite.locks import has_any
from chunkstore.store.sqlite.rows import FILE_COLUMNS, damaged_entry, execute
from chunkstore.store.sqlite.tree import (
    AFTER_ALL_NAMES,
    Bound,
    NameRange,
    below,
    folder_changes,
    visible_ranges,
)

_MANIFEST: Final = 1
_DESCRIBED: Final = FILE_COLUMNS


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
        page = _Page(self.prefix, self.delimiter, self.limit, made_folders=self.made_folders)
        start: Bound | None = self._start()
        with understood_rows(), snapshot(db):
            locked, changes = has_any(db), folder_changes(db)
            while start is not None:
                start = page.fill(db, visible_ranges(start, below(self.prefix)["stop"], changes))
        return Listing(page.files, page.folders, page.next, page.described, locked)

    def _start(self) -> Bound:
        if self.after is None or self.after < self.prefix:
            return self.prefix
        folder = folder_of(self.after, self.prefix, self.delimiter)
        if folder is not None:
            return _after_folder(folder)
        # No name contains NUL, so this is the least text after `after`.
        return self.after + "\0"


class _Page:
    """The entries found so far; `next` is where the next page continues, once there is one."""

    def __init__(self, prefix: str, delimiter: str, limit: int, *, made_folders: bool) -> None:
        self._prefix = prefix
        # An empty one is not found in a name, which has no NUL.
        self._delimiter = delimiter or "\0"
        self._room = limit
        self._made_folders = made_folders
        self._last: str | None = None
        self.files: list[File] = []
        self.folders: list[FolderName] = []
        self.described: set[FileName] = set()
        self.next: str | None = None

    def fill(self, db: sqlite3.Connection, ranges: Iterator[NameRange]) -> Bound | None:
        """Take entries up to the first folder that names roll up to; return what comes behind it.

        None: there is nothing more, or no room for it.
        """
        # In one loop, without calls that can be spared: long lists spend their time here.
        delimiter, length = self._delimiter, len(self._prefix)
        for names in ranges:
            for row in execute(db, "list_names", **names):
                name = row[0]
                place = name.find(delimiter, length)
                is_file = place < 0 and row[_MANIFEST] is not None
                if place < 0 and not is_file and not self._shows(name):
                    continue
                if not self._room:
                    self.next = self._last
                    return None
                self._room -= 1
                if place >= 0:
                    self._last = folder = FolderName(name[: place + len(delimiter)])
                    self.folders.append(folder)
                    return _after_folder(folder)
                self._last = name
                if not is_file:
                    self.folders.append(FolderName(name))
                    continue
                file = proved_file(*row[:FILE_COLUMNS])
                if file is None:
                    raise damaged_entry(name)
                self.files.append(file)
                if row[_DESCRIBED]:
                    self.described.add(file.name)
        return None

    def _shows(self, folder: str) -> bool:
        """Whether a folder that was made is told of."""
        return self._made_folders and folder != self._prefix


def _after_folder(folder: FolderName) -> Bound:
    return prefix_stop(folder) or AFTER_ALL_NAMES
