"""Pins: the manifests that the downloads of this process read, which are not collected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from chunkstore.store.contract.values import File


class Pins:
    """Manifests that are pinned, and lookups that may be about to pin one."""

    def __init__(self) -> None:
        self._pinned: Counter[int] = Counter()
        self._lookups: dict[Pin, asyncio.Future[None] | None] = {}

    def opened(
        self, find: Callable[[], Awaitable[File | None]]
    ) -> AbstractAsyncContextManager[File | None]:
        """Return a context that gives the file that `find` returns, and pins its manifest."""
        return Pin(self, find)

    def begin(self, pin: Pin) -> None:
        """Note that a lookup begins."""
        self._lookups[pin] = None

    def end(self, pin: Pin, manifest_id: int | None) -> None:
        """Note that the lookup has ended, and pin the manifest that it found."""
        if manifest_id is not None:
            self._pinned[manifest_id] += 1
        waited = self._lookups.pop(pin)
        if waited is not None:
            waited.set_result(None)

    def release(self, manifest_id: int) -> None:
        """Remove one pin of a manifest."""
        self._pinned[manifest_id] -= 1
        if not self._pinned[manifest_id]:
            del self._pinned[manifest_id]

    def held(self) -> Collection[int]:
        """Return the ids of the manifests that are pinned now."""
        return self._pinned.keys()

    async def wait_for_lookups(self) -> None:
        """Wait until all lookups that have begun by now have ended."""
        loop = asyncio.get_running_loop()
        # Only here do they get a future, because every request for a file is a lookup.
        for pin, waited in self._lookups.items():
            if waited is None:
                self._lookups[pin] = loop.create_future()
        ends = [waited for waited in self._lookups.values() if waited is not None]
        if ends:
            await asyncio.wait(ends)


class Pin(AbstractAsyncContextManager[File | None]):
    """The context in which one file is looked up and its manifest pinned."""

    __slots__ = ("_find", "_manifest_id", "_pins")

    def __init__(self, pins: Pins, find: Callable[[], Awaitable[File | None]]) -> None:
        self._pins = pins
        self._find = find
        self._manifest_id: int | None = None

    async def __aenter__(self) -> File | None:
        self._pins.begin(self)
        try:
            file = await self._find()
            if file is not None:
                self._manifest_id = file.manifest_id
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
