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
from chunkstore.store.sqlite.schema import PACKAGE

QUERIES: Final = load_queries(PACKAGE)


# The columns of a file, in rows that have one, and the place of its size among them.
FILE_COLUMNS: Final = 8
SIZE_COLUMN: Final = 3


def to_file(row: Sequence[Any], content: bytes | None = None) -> File:
    """Return the file in a row of `find_file` or `list_names`, `content` being the whole of it."""
    name, manifest_id, digest, size, chunk_size, media_type, created, modified = row
    return File(
        FileName(name),
        Manifest(manifest_id, size, chunk_size, Digest(digest)),
        media_type,
        to_datetime(created),
        to_datetime(modified),
        content,
    )
