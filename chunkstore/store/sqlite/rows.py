"""How rows become values, and the queries by name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from chunkstore.digest import Digest
from chunkstore.manifest import Manifest
from chunkstore.names import FileName
from chunkstore.store.base import File
from chunkstore.store.queries import load_queries
from chunkstore.store.sqlite.schema import PACKAGE

QUERIES: Final = load_queries(PACKAGE)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now_microseconds() -> int:
    """Return the time as it is stored."""
    return time.time_ns() // 1000


def to_datetime(microseconds: int) -> datetime:
    """Return a stored time."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """Return a time as it is stored."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


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
