"""How rows become values, and the queries by name."""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import DamagedFile, File
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.shared.times import to_datetime

PACKAGE: Final = __package__
QUERIES: Final = load_queries(PACKAGE) | load_queries(PACKAGE, "uploads.sql")

# An asyncpg.Record, which has no types. Columns are read by name, a single one by unpacking.
Row: TypeAlias = Any


def to_manifest(row: Row, manifest_id: int) -> Manifest:
    """Return the manifest in a row that has its columns.

    Raises:
        TypeError, ValueError: the row has what no sealed manifest has.
    """
    return Manifest(
        manifest_id,
        row["size"],
        row["chunk_size"],
        Digest(row["digest"]),
        row["chunks"],
        Digest(row["list"]),
    )


def proved_manifest(row: Row) -> Manifest | None:
    """Return the manifest in a row that also has its id and proof, None if the row is damaged."""
    try:
        manifest = to_manifest(row, row["id"])
        return manifest if manifest.proof == row["proof"] else None
    except (TypeError, ValueError, struct.error):
        return None


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
