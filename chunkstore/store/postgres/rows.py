"""How rows become values, and the queries by name."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final, TypeAlias

from chunkstore.core.errors import StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import DamagedFile, File
from chunkstore.store.shared.manifest_rows import proved_file
from chunkstore.store.shared.queries import load_queries

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

_COLUMNS_OF_FILE: Final = itemgetter(
    *("path", "manifest", "digest", "size", "chunk_size", "chunks", "list", "proof"),
    *("media_type", "created", "modified"),
)

# An asyncpg.Record, which has no types. Columns are read by name, a single one by unpacking.
Row: TypeAlias = Any


def to_file(row: Row) -> File:
    """Return the file in a row of `entry`.

    Raises:
        StoreDamaged: the row has what no file has, or points at what it was not made for.
    """
    file = proved_file(*_COLUMNS_OF_FILE(row))
    if file is None:
        raise StoreDamaged(f"The entry of {row['path']!r} is damaged; put or delete it.")
    return file


def to_file_to_edit(row: Row) -> File | DamagedFile:
    """Return the file as an edit is judged by it; a damaged one can be put again or deleted."""
    try:
        return to_file(row)
    except StoreDamaged:
        return DamagedFile(FileName(row["path"]))
