"""How rows become values, and the queries by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import FileName
from chunkstore.store.contract.values import File
from chunkstore.store.shared.queries import load_queries
from chunkstore.store.shared.times import to_datetime

PACKAGE: Final = __package__
QUERIES: Final = load_queries(PACKAGE) | load_queries(PACKAGE, "uploads.sql")


def to_file(row: Sequence[Any]) -> File:
    """Return the file in a row of `find_file` or `list_names`."""
    name, manifest_id, digest, size, chunk_size, media_type, created, modified = row
    return File(
        FileName(name),
        Manifest(manifest_id, size, chunk_size, Digest(digest)),
        media_type,
        to_datetime(created),
        to_datetime(modified),
    )
