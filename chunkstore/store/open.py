"""From what `--db` says to a store."""

from __future__ import annotations

from pathlib import Path

from chunkstore.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.errors import StoreUnusable
from chunkstore.store.base import Store
from chunkstore.store.sqlite.store import SQLiteStore


async def open_store(
    location: str,
    *,
    chunk_size: int | None = None,
    compression: Compression = DEFAULT_COMPRESSION,
    min_free: int = 0,
    read_only: bool = False,
    create: bool = True,
) -> Store:
    """Open the store at `location`: the path of an SQLite database.

    `chunk_size` (bytes) becomes the store's for new contents; None keeps the one it has. New
    chunks are kept by `compression`, and refused where the file system would have less than
    `min_free` bytes left. Without `create`, or to be read only, it must exist.

    Raises:
        StoreUnusable: it cannot be opened.
        ValueError: `chunk_size` is not a possible one.
    """
    scheme, separator, _ = location.partition("://")
    if separator:
        raise StoreUnusable(f"There is no store for {scheme}:// in this version.")
    return await SQLiteStore.open(
        Path(location),
        chunk_size=chunk_size,
        compression=compression,
        min_free=min_free,
        read_only=read_only,
        create=create,
    )
