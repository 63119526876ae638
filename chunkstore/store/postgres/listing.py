"""The job that lists names, one page at a time.

Names come in order from an index, some at once. A name that rolls up to a folder makes the scan
jump behind all names of that folder, so that a page costs what it shows, however much lies in its
folders.
"""

from __future__ import annotations

from typing import Final

from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.values import File, Listing
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.paths import below
from chunkstore.store.postgres.rows import QUERIES, Row, to_file
from chunkstore.store.shared.rollup import folder_of

# How many rows are read behind a jump; more if there is none among them.
_FEW_ROWS: Final = 16


async def list_names(
    db: Connection,
    prefix: str,
    delimiter: str,
    after: str | None,
    limit: int,
    made_folders: bool,
) -> Listing:
    """Return at most `limit` entries behind `after`."""
    page = _Page(prefix, delimiter, limit, made_folders=made_folders)
    start, behind = map(_without_nul, _start_behind(prefix, delimiter, after))
    stop = below(_without_nul(prefix))[1]
    count = limit + 1
    while True:
        rows = await db.fetch(QUERIES["list_names"], start, stop, behind, count)
        for row in rows:
            if row["name"] >= start and not page.add(row):
                return page.listing(page.last)
            if page.jump is not None:
                start, behind, page.jump = page.jump, "", None
        if len(rows) < count:
            return page.listing(None)
        last = rows[-1]["name"]
        jumped = last < start
        if not jumped:
            start = behind = last
        count = _FEW_ROWS if jumped else min(2 * count, limit + 1)


class _Page:
    """The entries found so far; `jump` is where to go on behind a folder that was just found."""

    def __init__(self, prefix: str, delimiter: str, limit: int, *, made_folders: bool) -> None:
        self._prefix = prefix
        self._made_folders = made_folders
        self._delimiter = delimiter
        self._limit = limit
        self._files: list[File] = []
        self._folders: list[FolderName] = []
        self._described: set[FileName] = set()
        self._locked = False
        self.last: str | None = None
        self.jump: str | None = None

    def add(self, row: Row) -> bool:
        """Take the row of a name; return False if the page is full without it."""
        name = row["name"]
        self._locked = self._locked or row["locks"]
        folder = folder_of(name, self._prefix, self._delimiter)
        is_made = folder is None and row["manifest"] is None
        if is_made and (not self._made_folders or name == self._prefix):
            return True
        if len(self._files) + len(self._folders) == self._limit:
            return False
        if is_made:
            self._folders.append(FolderName(name))
            self.last = name
        elif folder is None:
            self._files.append(to_file(row))
            if row["described"]:
                self._described.add(FileName(name))
            self.last = name
        else:
            self._folders.append(folder)
            self.last = folder
            self.jump = below(folder)[1]
        return True

    def listing(self, after: str | None) -> Listing:
        return Listing(self._files, self._folders, after, self._described, self._locked)


def _without_nul(text: str) -> str:
    """Return a text that PostgreSQL takes, with the same place among all names.

    No name has a control character, so one is as good as another.
    """
    return text.replace("\0", "\1")


def _start_behind(prefix: str, delimiter: str, after: str | None) -> tuple[str, str]:
    """Return the least name that may come, and one that all must come behind."""
    if after is None or after < prefix:
        return prefix, ""
    folder = folder_of(after, prefix, delimiter)
    if folder is not None:
        return below(folder)[1], ""
    return after, after
