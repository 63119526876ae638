"""Which request of this process holds an upload.

A request that is about to change an upload, or to tell its offset, takes a lease on it. Leases on
one upload are exclusive, and the newest request gets it: it revokes all older leases, and waits
until every one of them has ended, which is when it has kept what had come. One that is revoked
while it waits gives up at once. Requests of other processes are fenced off by the upload's epoch
instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chunkstore.core.errors import UploadSuperseded


class Lease:
    """One request's place in the queue for an upload, behind the `older` leases."""

    def __init__(self, older: Sequence[Lease]) -> None:
        self._older = older
        self._timeout = asyncio.timeout(None)
        self._irrevocable = False
        self.ended = asyncio.Event()

    def revoke(self) -> None:
        """Make the request stop where it is, unless it is about to end anyway."""
        if not (self._irrevocable or self.ended.is_set() or self._timeout.expired()):
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def take(self) -> None:
        """Take the upload from all older requests, once each has kept what it had."""
        for one in self._older:
            one.revoke()
        for one in self._older:
            await one.ended.wait()

    def make_irrevocable(self) -> None:
        """Keep the upload to the end, which no client can delay from here: who is newer waits."""
        self._irrevocable = True
        if not self._timeout.expired():
            self._timeout.reschedule(None)

    @asynccontextmanager
    async def revocable(self) -> AsyncIterator[None]:
        """Leave the context when the lease is revoked.

        Raises:
            UploadSuperseded: it was.
        """
        try:
            async with self._timeout:
                yield
        except TimeoutError as error:
            if self._timeout.expired():
                raise UploadSuperseded from error
            raise


class Leases:
    """The leases of all uploads that this process has requests on."""

    def __init__(self) -> None:
        self._of: dict[str, list[Lease]] = {}

    @asynccontextmanager
    async def queue(self, upload_id: str) -> AsyncIterator[Lease]:
        """Queue for the upload for the time of a context, in which it can be taken.

        Raises:
            UploadSuperseded: a newer request took it; what the context was about is over.
        """
        queue = self._of.setdefault(upload_id, [])
        lease = Lease(tuple(queue))
        queue.append(lease)
        try:
            async with lease.revocable():
                yield lease
        finally:
            lease.ended.set()
            queue.remove(lease)
            if not queue:
                del self._of[upload_id]
