"""Which contents the downloads of this process are in the middle of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from chunkstore.store.base import File


class Holds:
    """Manifests in use by downloads, and look-ups that may be about to use one."""

    def __init__(self) -> None:
        self._held: Counter[int] = Counter()
        self._lookups: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def opened(
        self, find: Callable[[], Awaitable[File | None]]
    ) -> AsyncIterator[File | None]:
        """Return what `find` finds, and hold its manifest until the context ends."""
        # From before a file is looked up until its content is held.
        lookup: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lookups.add(lookup)
        try:
            file = await find()
            if file is not None:
                self._held[file.manifest.id] += 1
        finally:
            self._lookups.discard(lookup)
            lookup.set_result(None)
        try:
            yield file
        finally:
            if file is not None:
                self._release(file.manifest.id)

    def _release(self, manifest_id: int) -> None:
        self._held[manifest_id] -= 1
        if not self._held[manifest_id]:
            del self._held[manifest_id]

    def held(self) -> Collection[int]:
        """Return the ids of the manifests that are held now."""
        return self._held.keys()

    async def wait_for_lookups(self) -> None:
        """Wait until all look-ups that have begun by now have ended."""
        if self._lookups:
            await asyncio.wait(set(self._lookups))
