"""Jobs on what a PostgreSQL store records of itself."""

from __future__ import annotations

from functools import partial

from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.store.postgres.connection import Connection, Database
from chunkstore.store.postgres.rows import QUERIES


async def settle_chunk_size(database: Database, wanted: int | None, *, read_only: bool) -> int:
    """Return the store's chunk size, after recording the one that is wanted."""
    if wanted is not None and not read_only:
        await database.write(partial(put_setting, name="chunk_size", value=str(wanted)))
        return wanted
    found = await database.read(partial(find_setting, name="chunk_size"))
    return DEFAULT_CHUNK_SIZE if found is None else int(found)


async def put_setting(db: Connection, name: str, value: str) -> None:
    """Record a setting."""
    await db.execute(QUERIES["put_setting"], name, value)


async def find_setting(db: Connection, name: str) -> str | None:
    """Return a setting, None if it was never recorded."""
    value = await db.fetchval(QUERIES["find_setting"], name)
    return None if value is None else str(value)
