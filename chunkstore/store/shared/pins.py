"""Which contents the downloads of this process are in the middle of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from chunkstore.store.contract.values import File


class Pins:
    """Manifests in use by downloads, and look-ups that may be about to use one."""

    def __init__(self) -> None:
        self._held: Counter[int] = Counter()
        self._lookups: dict[Pin, asyncio.Future[None] | None] = {}

    def opened(
        self, find: Callable[[], Awaitable[File | None]]
    ) -> AbstractAsyncContextManager[File | None]:
        """Return what `find` finds, and hold its manifest until the context ends."""
        return Pin(self, find)

    def begin(self, hold: Pin) -> None:
        """Note that a file is about to be looked up."""
        self._lookups[hold] = None

    def end(self, hold: Pin, manifest_id: int | None) -> None:
        """Note what the look-up found; that is held."""
        if manifest_id is not None:
            self._held[manifest_id] += 1
        waited = self._lookups.pop(hold)
        if waited is not None:
            waited.set_result(None)

    def release(self, manifest_id: int) -> None:
        """Give up one hold of a manifest."""
        self._held[manifest_id] -= 1
        if not self._held[manifest_id]:
            del self._held[manifest_id]

    def held(self) -> Collection[int]:
        """Return the ids of the manifests that are held now."""
        return self._held.keys()

    async def wait_for_lookups(self) -> None:
        """Wait until all look-ups that have begun by now have ended."""
        loop = asyncio.get_running_loop()
        # A future only for those that are waited for: each request of a file is a look-up.
        for hold, waited in self._lookups.items():
            if waited is None:
                self._lookups[hold] = loop.create_future()
        ends = [waited for waited in self._lookups.values() if waited is not None]
        if ends:
            await asyncio.wait(ends)


class Pin(AbstractAsyncContextManager[File | None]):
    """The context in which one file is looked up and its content held."""

    __slots__ = ("_find", "_manifest_id", "_pins")

    def __init__(self, holds: Pins, find: Callable[[], Awaitable[File | None]]) -> None:
        self._pins = holds
        self._find = find
        self._manifest_id: int | None = None

    async def __aenter__(self) -> File | None:
        self._pins.begin(self)
        try:
            file = await self._find()
            if file is not None:
                self._manifest_id = file.manifest.id
            return file
        finally:
            self._pins.end(self, self._manifest_id)

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._manifest_id is not None:
            self._pins.release(self._manifest_id)
