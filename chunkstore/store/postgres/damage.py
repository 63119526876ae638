"""Marking the damage that is found by reading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from chunkstore.core.errors import StoreError
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.store.postgres.connection import Parameter
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.shared.chunks import DamagedChunk
from chunkstore.store.shared.lists import DamagedList


@asynccontextmanager
async def marking_damage(opened: Opened, chunks: ChunkList) -> AsyncIterator[None]:
    """Mark the damage of a list that an error in the context tells of."""
    try:
        yield
    except DamagedChunk as error:
        await _mark(opened, "mark_chunk", error.digest.raw, True)
        raise
    except DamagedList:
        if isinstance(chunks, Manifest):
            await _mark(opened, "mark_list", chunks.digest.raw, chunks.id, chunks.proof)
        raise


async def _mark(opened: Opened, query: str, *parameters: Parameter) -> None:
    """Mark damage, so that the next upload of it stores it again."""
    if not opened.read_only:
        with suppress(StoreError):
            await opened.database.execute(query, *parameters)
