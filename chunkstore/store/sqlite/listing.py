"""The job that lists names, one page at a time.

Names come in order from the index. A name that rolls up to a folder makes the scan jump behind
all names of that folder, so that a page costs what it shows, however much lies in its folders.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence

from chunkstore.core.names import FolderName, prefix_stop
from chunkstore.store.contract.values import File, Listing
from chunkstore.store.shared.rollup import folder_of
from chunkstore.store.sqlite.rows import QUERIES, to_file
from chunkstore.store.sqlite.tree import (
    BEHIND_ALL_NAMES,
    Bound,
    FolderChange,
    below,
    folder_changes,
    one_view,
    visible_ranges,
)


def list_names(
    db: sqlite3.Connection, prefix: str, delimiter: str, after: str | None, limit: int
) -> Listing:
    """Return at most `limit` entries behind `after`."""
    files: list[File] = []
    folders: list[FolderName] = []
    last: str | None = None
    with one_view(db):
        for entry in _entries(db, prefix, delimiter, after):
            if len(files) + len(folders) == limit:
                return Listing(files, folders, last)
            if isinstance(entry, File):
                files.append(entry)
                last = entry.name
            else:
                folders.append(entry)
                last = entry
    return Listing(files, folders, None)


def _entries(
    db: sqlite3.Connection, prefix: str, delimiter: str, after: str | None
) -> Iterator[File | FolderName]:
    start: Bound | None = _start_behind(prefix, delimiter, after)
    changes = folder_changes(db)
    while start is not None:
        start = yield from _entries_to_folder(db, prefix, delimiter, start, changes)


def _entries_to_folder(
    db: sqlite3.Connection,
    prefix: str,
    delimiter: str,
    start: Bound,
    changes: Sequence[FolderChange],
) -> Generator[File | FolderName, None, Bound | None]:
    """Yield entries up to the first folder; return where to go on behind it, None at the end."""
    for bounds in visible_ranges(start, below(prefix)["stop"], changes):
        for row in db.execute(QUERIES["list_names"], bounds):
            folder = folder_of(row[0], prefix, delimiter)
            if folder is not None:
                yield folder
                return _behind_all(folder)
            if row[1] is not None:
                yield to_file(row)
    return None


def _start_behind(prefix: str, delimiter: str, after: str | None) -> Bound:
    if after is None or after < prefix:
        return prefix
    folder = folder_of(after, prefix, delimiter)
    if folder is not None:
        return _behind_all(folder)
    # No name has a NUL in it, so this is the least text behind `after`.
    return after + "\0"


def _behind_all(folder: FolderName) -> Bound:
    return prefix_stop(folder) or BEHIND_ALL_NAMES
