"""Tasks that work together on one transfer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chunkstore.core.errors import ChunkstoreError


@asynccontextmanager
async def workers() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises what its first task failed with, where that is a ChunkstoreError.

    The others were cancelled, or failed as well. Any other error is raised within its group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    # Not by `except*`, which would make a group of what is raised here.
    except ExceptionGroup as errors:
        if errors.split(ChunkstoreError)[1] is not None:
            raise
        raise errors.exceptions[0] from None
