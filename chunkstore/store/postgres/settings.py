"""Jobs on what a PostgreSQL store records of itself."""

from __future__ import annotations

from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.store.postgres.connection import Database


async def settle_chunk_size(database: Database, wanted: int | None, *, read_only: bool) -> int:
    """Return the store's chunk size, after recording the one that is wanted."""
    if wanted is not None and not read_only:
        await database.execute("put_setting", "chunk_size", str(wanted))
        return wanted
    found = await database.fetch_values("find_setting", "chunk_size")
    return int(found[0]) if found else DEFAULT_CHUNK_SIZE
