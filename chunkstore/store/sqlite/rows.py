"""The queries by name, and how rows become values."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from chunkstore.core.errors import DatabaseDamaged, StoreDamaged
from chunkstore.store.contract.values import File
from chunkstore.store.shared.manifest_rows import proved_file
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.sqlite.schema import PACKAGE

QUERIES: Final = (
    load_queries(PACKAGE)
    | load_queries(PACKAGE, "backup.sql")
    | load_queries(PACKAGE, "segments.sql")
    | load_queries(PACKAGE, "subtrees.sql")
    | load_queries(PACKAGE, "checksums.sql")
    | load_queries(PACKAGE, "records.sql")
    | load_queries(PACKAGE, "quotas.sql")
    | load_queries(PACKAGE, "audit.sql")
    | load_queries(PACKAGE, "locks.sql")
)

FILE_COLUMNS: Final = 11
"""How many columns `find_file` has, with which every query begins whose rows become files."""


def execute(db: sqlite3.Connection, query: str, **parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - whatever SQLite stores
    """Execute the query of this name."""
    return db.execute(QUERIES[query], parameters)


def fetch_value(db: sqlite3.Connection, query: str, **parameters: Any) -> Any:  # noqa: ANN401 - whatever SQLite stores
    """Return the only column of the first row of a query, None if it has no row."""
    row = db.execute(QUERIES[query], parameters).fetchone()
    return None if row is None else row[0]


def to_file(row: sqlite3.Row, name: str | None = None, content: bytes | None = None) -> File:
    """Return the file in a row that begins with the columns of `find_file`; `content` is all of it.

    The row was looked for by its `name`, unless that is None.

    Raises:
        StoreDamaged: the row has what no file has, or points at what it was not made for.
    """
    found = row[0]
    if not isinstance(found, str) or name not in (None, found):
        # The table is not in order.
        raise DatabaseDamaged
    # By place: to look eleven columns up by their names takes longer than all else here.
    file = proved_file(*row[:FILE_COLUMNS])
    if file is None:
        raise damaged_entry(found)
    return file if content is None else file._replace(content=content)


def damaged_entry(name: str) -> StoreDamaged:
    """Return what is said of a name whose row is damaged."""
    return StoreDamaged(f"The entry of {name!r} is damaged; put or delete it.")
