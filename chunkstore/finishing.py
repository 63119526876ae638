"""How uploads that outlive their request end: as files, or as parts of one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

from chunkstore.appending import Addition, Appending, Ending
from chunkstore.digest import ContentCheck, ContentHasher, Digest
from chunkstore.errors import ChunkstoreError, NotFound, StoreDamaged, TooLarge
from chunkstore.store.base import Committed
from chunkstore.store.uploads import ResumableUpload, UploadKind

_logger = logging.getLogger(__name__)


class Finishing:
    """Finishes each upload once, however many wait for it."""

    def __init__(self, appending: Appending) -> None:
        self._appending = appending
        self.service = appending.service
        self._tasks: dict[str, asyncio.Task[Committed | None]] = {}
        self._later: set[asyncio.Task[None]] = set()
        # Concatenations hold windows that no budget counts, so one runs at a time.
        self._concatenating = asyncio.Lock()

    async def finish(self, upload_id: str) -> Committed | None:
        """Make a whole upload the file it is for; None for a part, or if not all has come.

        It goes on when the caller is cancelled, and further callers wait for the same.

        Raises:
            PreconditionFailed, NameConflict, ContentMismatch: it cannot become that file.
        """
        task = self._tasks.get(upload_id)
        if task is None:
            task = self._tasks[upload_id] = asyncio.create_task(self._finish(upload_id))
            task.add_done_callback(lambda task: self._forget(upload_id, task))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Stop; what is not finished can be later."""
        tasks: set[asyncio.Task[Any]] = {*self._tasks.values(), *self._later}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _forget(self, upload_id: str, task: asyncio.Task[Committed | None]) -> None:
        del self._tasks[upload_id]
        if not task.cancelled():
            # Perhaps nobody waits for it any more; asyncio warns of errors nobody looked at.
            task.exception()

    async def _finish(self, upload_id: str) -> Committed | None:
        store = self.service.store.uploads
        upload = await store.get(upload_id)
        if upload.purpose.kind is UploadKind.CONCATENATION and not upload.whole:
            async with self._concatenating:
                upload = await self._concatenate(upload)
        if upload.purpose.kind is UploadKind.PART and upload.whole:
            for concatenation in await store.awaiting(upload_id):
                self._finish_later(concatenation)
        if upload.purpose.kind is UploadKind.PART or upload.complete or not upload.whole:
            return None
        digest = await self._digest(upload)
        return await store.complete(upload_id, digest, self._appending.limits.expiry())

    def _finish_later(self, upload_id: str) -> None:
        async def finish() -> None:
            try:
                await self.finish(upload_id)
            except ChunkstoreError as error:
                _logger.info("An upload was not finished, but may be later: %s", error)

        task = asyncio.create_task(finish())
        task.add_done_callback(self._later.discard)
        self._later.add(task)

    async def _digest(self, upload: ResumableUpload) -> Digest:
        """Return the content's digest, by reading it unless that is spared; verify its checks."""
        checks = [
            ContentCheck(algorithm, value) for algorithm, value in upload.purpose.checks.items()
        ]
        hasher = self._appending.hashers.take(upload)
        if hasher is None or checks:
            hasher = ContentHasher()
            async for window in self._stored(upload):
                await asyncio.to_thread(_update, window, hasher, checks)
        _update(upload.tail, hasher, checks)
        for check in checks:
            check.verify()
        return hasher.digest()

    async def _stored(self, upload: ResumableUpload) -> AsyncIterator[bytes]:
        """Yield the bytes of the whole chunks of an upload."""
        assert upload.chunks is not None
        try:
            async for window in self.service.windows.stream(upload.chunks, 0, upload.chunks.size):
                yield window
        except StoreDamaged:
            if await self.service.store.uploads.find(upload.id) is None:
                raise NotFound("The upload was ended meanwhile.") from None
            raise

    async def _concatenate(self, upload: ResumableUpload) -> ResumableUpload:
        """Append the parts, as far as that was not done before, if all of them are whole."""
        store = self.service.store.uploads
        parts = [await store.get(part) for part in upload.purpose.parts]
        if not all(part.whole for part in parts):
            return upload
        length = sum(part.offset for part in parts)
        if self.service.max_file_size is not None and length > self.service.max_file_size:
            raise TooLarge(f"The parts have {length} bytes together, too many for this server.")
        upload = await store.acquire(upload.id, joining=True)
        skipped = 0
        for part in parts:
            if upload.offset < skipped + part.offset:
                await self._add_part(upload, part, upload.offset - skipped)
                upload = await store.get(upload.id)
            skipped += part.offset
        addition = Addition(upload.offset, Ending.AT_LENGTH, length=length)
        await self._appending.add(upload, addition, nothing())
        return await store.get(upload.id)

    async def _add_part(self, upload: ResumableUpload, part: ResumableUpload, start: int) -> None:
        """Append a part from byte `start` on: its chunk list as it is, where the chunks fit."""
        assert upload.chunks is not None
        assert part.chunks is not None
        fits = start == 0 and not upload.tail
        if not fits or upload.chunks.chunk_size != part.chunks.chunk_size:
            addition = Addition(upload.offset, Ending.LATER)
            await self._appending.add(upload, addition, self._windows(part, start))
            return
        hasher = self._appending.hashers.take(upload)
        expires = self._appending.limits.expiry()
        await self.service.store.uploads.join(upload.id, part.id, upload.epoch, expires)
        if hasher is not None:
            async for window in self._stored(part):
                await asyncio.to_thread(hasher.update, window)
            self._appending.hashers.keep(upload.id, upload.offset + part.chunks.size, hasher)

    async def _windows(self, part: ResumableUpload, start: int) -> AsyncIterator[bytes]:
        """Yield a part's bytes from `start` on, none of them under a reservation.

        Who takes them may have to wait for one, which no window may be kept from.
        """
        assert part.chunks is not None
        while start < part.chunks.size:
            window, reservation = await self.service.windows.read(
                part.chunks, start, part.chunks.size
            )
            reservation.release()
            start += len(window)
            yield window
        yield part.tail[start - part.chunks.size :]


async def nothing() -> AsyncIterator[bytes]:
    """Yield the pieces of an empty body."""
    return
    yield b""


def _update(piece: bytes, hasher: ContentHasher, checks: Sequence[ContentCheck]) -> None:
    hasher.update(piece)
    for check in checks:
        check.update(piece)
