"""How rows become values, and the queries by name."""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import DamagedFile, File
from chunkstore.store.shared.manifest_rows import to_manifest
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.shared.times import to_datetime

PACKAGE: Final = __package__
QUERIES: Final = (
    load_queries(PACKAGE)
    | load_queries(PACKAGE, "subtrees.sql")
    | load_queries(PACKAGE, "checksums.sql")
    | load_queries(PACKAGE, "uploads.sql")
    | load_queries(PACKAGE, "records.sql")
    | load_queries(PACKAGE, "quotas.sql")
    | load_queries(PACKAGE, "audit.sql")
    | load_queries(PACKAGE, "locks.sql")
)

# An asyncpg.Record, which has no types. Columns are read by name, a single one by unpacking.
Row: TypeAlias = Any


def to_file(row: Row) -> File:
    """Return the file in a row of `entry`.

    Raises:
        StoreDamaged: the row has what no file has, or points at what it was not made for.
    """
    try:
        file = File(
            FileName(row["path"]),
            to_manifest(row, row["manifest"]),
            row["media_type"],
            to_datetime(row["created"]),
            to_datetime(row["modified"]),
        )
        if file.manifest.proof == row["proof"]:
            return file
    except (TypeError, ValueError, OverflowError, struct.error):
        pass
    raise StoreDamaged(f"The entry of {row['path']!r} is damaged; put or delete it.")


def to_file_to_edit(row: Row) -> File | DamagedFile:
    """Return the file as an edit is judged by it; a damaged one can be put again or deleted."""
    try:
        return to_file(row)
    except StoreDamaged:
        return DamagedFile(FileName(row["path"]))
