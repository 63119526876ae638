"""The queries by name, and how rows become values."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import DatabaseDamaged
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.shared.times import to_datetime
from chunkstore.store.sqlite.schema import PACKAGE

QUERIES: Final = load_queries(PACKAGE) | load_queries(PACKAGE, "backup.sql")


def execute(db: sqlite3.Connection, query: str, **parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - whatever SQLite stores
    """Execute the query of this name."""
    return db.execute(QUERIES[query], parameters)


def fetch_value(db: sqlite3.Connection, query: str, **parameters: Any) -> Any:  # noqa: ANN401 - whatever SQLite stores
    """Return the only column of the first row of a query, None if it has no row."""
    row = db.execute(QUERIES[query], parameters).fetchone()
    return None if row is None else row[0]


def to_file(row: sqlite3.Row, content: bytes | None = None) -> File:
    """Return the file in a row that has the columns of `find_file`; `content` is all of it.

    Raises:
        DatabaseDamaged: the row has what no file has.
    """
    try:
        return File(
            FileName(row["name"]),
            Manifest(row["manifest"], row["size"], row["chunk_size"], Digest(row["digest"])),
            row["media_type"],
            to_datetime(row["created"]),
            to_datetime(row["modified"]),
            content,
        )
    # As `understood_rows` does, which would take longer than the rest.
    except (TypeError, ValueError, OverflowError) as error:
        raise DatabaseDamaged from error
