"""How rows become values, and the queries by name."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.shared.times import to_datetime

PACKAGE: Final = __package__
QUERIES: Final = load_queries(PACKAGE) | load_queries(PACKAGE, "uploads.sql")

# An asyncpg.Record, which has no types. Columns are read by name, a single one by unpacking.
Row: TypeAlias = Any


def to_file(row: Row) -> File:
    """Return the file in a row of `entry`."""
    return File(
        FileName(row["path"]),
        Manifest(row["manifest"], row["size"], row["chunk_size"], Digest(row["digest"])),
        row["media_type"],
        to_datetime(row["created"]),
        to_datetime(row["modified"]),
    )
