"""Reading bytes of chunks, and marking the damage that is found by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from chunkstore.core.errors import StoreError
from chunkstore.store.shared.chunks import DamagedChunk
from chunkstore.store.shared.lists import DamagedList
from chunkstore.store.sqlite.chunk_bytes import BytesJob, run_with_bytes
from chunkstore.store.sqlite.manifests import Marks
from chunkstore.store.sqlite.opening import OpenDatabase

T = TypeVar("T")


async def read_bytes(database: OpenDatabase, job: BytesJob[T]) -> T:
    """Run a job that reads bytes of chunks on a reader."""
    return await run_with_bytes(database.readers.run, database.segments.readers, job)


@asynccontextmanager
async def marking_damage(database: OpenDatabase) -> AsyncIterator[None]:
    """Mark the damage that an error in the context tells of."""
    try:
        yield
    except DamagedChunk as error:
        await _mark(database, Marks(chunks=[error.digest]))
        raise
    except DamagedList as error:
        damaged = [] if error.chunk is None else [error.chunk]
        await _mark(database, Marks(damaged, [error.manifest_id]))
        raise


async def _mark(database: OpenDatabase, marks: Marks) -> None:
    """Mark damage, so that the next upload of it stores it again."""
    writer = database.writer
    if writer is None or await database.lookups.run(marks.are_set):
        return
    # If a crash undoes the mark, or a full disk prevents it, the next reader sets it.
    with suppress(StoreError):
        await writer.run(marks.run, durable=False)
