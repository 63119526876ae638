"""Uploads that outlive their request: turns on them, the bytes that come, and how they end.

The state is the store's (`chunkstore.store.uploads`). Here is what one process adds: a newer
request makes an older one of the same process stop and keep what it has, before it begins its own
turn; what has come is confirmed batch by batch, and to the last byte when the connection breaks;
and a whole upload is finished once, however many requests wait for that.

A content's digest is computed as its bytes come. Where that has been interrupted, by another
process or a restart, the chunks are read once at the end instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from chunkstore.appending import Addition, Appending, UploadLimits
from chunkstore.errors import (
    Forbidden,
    InconsistentLength,
    OffsetMismatch,
    UploadCompleted,
    UploadExpired,
    UploadSuperseded,
)
from chunkstore.finishing import Finishing
from chunkstore.service import Service
from chunkstore.store.base import Committed
from chunkstore.store.uploads import Bounds, Purpose, ResumableUpload, UploadKind

DEFAULT_EXPIRY_SECONDS: Final = 24 * 3600.0
DEFAULT_MAX_UNFINISHED: Final = 100 * 1024**3


class _Turn:
    """One request's time with an upload."""

    def __init__(self) -> None:
        self.timeout = asyncio.timeout(None)
        self.ended = asyncio.Event()

    def interrupt(self) -> None:
        """Make the request stop where it is."""
        if not self.ended.is_set() and not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())


class Uploads:
    """The uploads of one service's store that outlive their request.

    They last `expiry_seconds` from the last progress on; `max_unfinished` bounds the bytes that
    all unfinished ones have in the store, None for no bound.
    """

    def __init__(
        self,
        service: Service,
        *,
        expiry_seconds: float = DEFAULT_EXPIRY_SECONDS,
        max_unfinished: int | None = DEFAULT_MAX_UNFINISHED,
    ) -> None:
        bounds = [one for one in (service.max_file_size, max_unfinished) if one is not None]
        self.service = service
        self.limits = UploadLimits(expiry_seconds, min(bounds, default=None), max_unfinished)
        self._appending = Appending(service, self.limits)
        self._finishing = Finishing(self._appending)
        self._turns: dict[str, _Turn] = {}

    async def create(self, purpose: Purpose, length: int | None) -> ResumableUpload:
        """Begin an upload.

        Raises:
            TooLarge: `length` is more than there may be.
            TooMuchUnfinished: the unfinished ones have all the room there is for them.
            PreconditionFailed, NameConflict: it could not be completed even now.
            NotFound: a part does not exist.
        """
        self.limits.refuse_large(length)
        store = self.service.store
        if purpose.target is not None:
            current = await store.find_file(purpose.target)
            purpose.conditions.require(None if current is None else current.validators)
            await store.refuse_conflict(purpose.target)
        return await store.uploads.create(
            purpose, length, self.limits.expiry(), Bounds(self.limits.max_unfinished)
        )

    async def append(
        self, upload_id: str, addition: Addition, pieces: AsyncIterable[bytes]
    ) -> ResumableUpload:
        """Add bytes to an upload and return it as it is then. Nothing is read of what is refused.

        Raises:
            NotFound: there is no such upload; UploadExpired: there was.
            UploadCompleted: it takes no more bytes.
            Forbidden: its bytes come from its parts.
            OffsetMismatch: it is at another offset.
            InconsistentLength: more bytes come than there should be, or fewer.
            ContentMismatch: a check failed; nothing is kept.
            UploadSuperseded: a newer request has taken over; what had come is kept.
            TooLarge, TooMuchUnfinished: there is no room for so much.
        """
        async with self._turn(upload_id):
            upload = await self._acquire(upload_id)
            self._refuse(upload, addition)
            if not upload.whole:
                await self._appending.add(upload, addition, pieces)
        return await self.service.store.uploads.get(upload_id)

    async def look(self, upload_id: str) -> ResumableUpload:
        """Return an upload at an offset that holds: requests under way on it are ended.

        One that is whole is finished first, so that whoever sees all bytes arrived sees the file.

        Raises:
            NotFound: there is no such upload; UploadExpired: there was.
            PreconditionFailed, NameConflict: it cannot become the file it is for.
        """
        async with self._turn(upload_id):
            upload = await self._acquire(upload_id)
        if upload.complete:
            return upload
        if upload.whole or upload.purpose.kind is UploadKind.CONCATENATION:
            await self.finish(upload_id)
        return await self.service.store.uploads.get(upload_id)

    async def delete(self, upload_id: str) -> None:
        """End an upload for good; a file that it became stays.

        Raises:
            NotFound: there is no such upload; UploadExpired: there was.
        """
        async with self._turn(upload_id):
            await self._acquire(upload_id)
            await self.service.store.uploads.delete(upload_id)

    async def finish(self, upload_id: str) -> Committed | None:
        """As `Finishing.finish`."""
        return await self._finishing.finish(upload_id)

    async def close(self) -> None:
        """Stop finishing; what is not finished can be later."""
        await self._finishing.close()

    @asynccontextmanager
    async def _turn(self, upload_id: str) -> AsyncIterator[None]:
        """Have the upload for the time of a context, which ends when a newer request wants it."""
        previous = self._turns.get(upload_id)
        turn = self._turns[upload_id] = _Turn()
        try:
            async with turn.timeout:
                if previous is not None:
                    previous.interrupt()
                    await previous.ended.wait()
                yield
        except TimeoutError as error:
            if turn.timeout.expired():
                raise UploadSuperseded from error
            raise
        finally:
            turn.ended.set()
            if self._turns[upload_id] is turn:
                del self._turns[upload_id]

    async def _acquire(self, upload_id: str) -> ResumableUpload:
        upload = await self.service.store.uploads.acquire(upload_id)
        if upload.expires <= datetime.now(UTC):
            raise UploadExpired
        return upload

    def _refuse(self, upload: ResumableUpload, addition: Addition) -> None:
        if upload.purpose.kind is UploadKind.CONCATENATION:
            raise Forbidden("The bytes of this upload come from its parts.")
        if upload.complete:
            raise UploadCompleted
        if addition.offset != upload.offset:
            raise OffsetMismatch(upload.offset, addition.offset)
        if None not in (upload.length, addition.length) and upload.length != addition.length:
            raise InconsistentLength(f"The upload's length is {upload.length}.")
        length = upload.length if addition.length is None else addition.length
        reached = addition.offset + (addition.size or 0)
        if length is not None and reached > length:
            raise InconsistentLength(f"The upload's length is {length}; this would be more.")
        self.limits.refuse_large(reached if length is None else length)
