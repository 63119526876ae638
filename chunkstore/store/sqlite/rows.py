"""How rows become values, and the queries by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from chunkstore.digest import Digest
from chunkstore.manifest import Manifest
from chunkstore.names import FileName
from chunkstore.store.base import File
from chunkstore.store.queries import load_queries
from chunkstore.store.sqlite.schema import PACKAGE
from chunkstore.store.times import to_datetime

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
