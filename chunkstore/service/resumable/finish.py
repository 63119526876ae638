"""How uploads that outlive their request end: as files, or as parts of one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from chunkstore.core.errors import (
    ChunkstoreError,
    Forbidden,
    NameConflict,
    NotFound,
    QuotaExceeded,
    SignInFailed,
    SignInNeeded,
    StoreError,
    UploadExpired,
    UploadSuperseded,
)
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.putting import Putting
from chunkstore.service.resumable.append import Ending, UploadAppender, UploadRequest
from chunkstore.service.resumable.digests import UploadDigests
from chunkstore.service.resumable.metadata import modified_in
from chunkstore.store.contract.edits import Put, Uploaded
from chunkstore.store.contract.resumable import (
    FATAL,
    Failure,
    ResumableUpload,
    UploadKind,
    UploadState,
)
from chunkstore.store.contract.upload_state import Acquire, Fail, Join, NoteDigest, require_part
from chunkstore.store.contract.values import Committed

# How long another process may take to get on with a concatenation before it is taken for gone.
_FOLLOW_SECONDS: Final = 60.0
_FOLLOW_PAUSE_SECONDS: Final = 0.2

# An upload that could not become its file because of these can later.
_TRIED_AGAIN: Final = (
    StoreError,
    NameConflict,
    QuotaExceeded,
    Forbidden,
    SignInFailed,
    SignInNeeded,
)

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Finishing:
    """One upload that is being finished: how many wait for it, and whether it outlasts them."""

    task: asyncio.Task[Committed | None]
    waiting: int = 0
    outlasts: bool = True
    cancelled: bool = False


class UploadFinisher:
    """Finishes each upload once, however many wait for it."""

    def __init__(self, appender: UploadAppender) -> None:
        self._appender = appender
        self.service = appender.service
        self._store = appender.service.store.uploads
        self._digests = UploadDigests(appender.service, appender.hashers)
        self.subtrees = self._digests.subtrees
        self.along = self._digests.along
        self._running: dict[str, _Finishing] = {}
        self._background: set[asyncio.Task[None]] = set()

    async def finish(self, upload_id: str, putting: Putting) -> Committed | None:
        """Make a whole upload the file it is for; None for a part, or if not all has come.

        Further callers wait for the same, by the first one's `putting`. It goes on when all of them
        are cancelled, but for a concatenation: to make one may take hours.

        Raises:
            One of FATAL: it can never become that file.
            NameConflict: it cannot while there are other names in its way.
            What `putting` raises: it cannot while it is not allowed.
        """
        finishing = self._running.get(upload_id)
        if finishing is None or finishing.cancelled:
            finishing = self._start(upload_id, finishing, putting)
        finishing.waiting += 1
        try:
            return await asyncio.shield(finishing.task)
        finally:
            finishing.waiting -= 1
            if not finishing.waiting and not finishing.outlasts:
                finishing.cancelled = True
                finishing.task.cancel()

    async def can_concatenate(self, parts: Sequence[str]) -> bool:
        """Whether all parts are whole.

        Raises:
            PartGone, NotFound, one of FATAL: what `require_part` says of one.
            UploadExpired: one has expired.
            TooLarge: they are too much together, as far as is known.
        """
        found = [await self._get_part(part) for part in parts]
        if any(part.expires <= datetime.now(UTC) for part in found):
            raise UploadExpired
        self._appender.limits.check_size(
            sum(part.offset if part.length is None else part.length for part in found)
        )
        return all(part.whole for part in found)

    async def get_whole(
        self, upload: ResumableUpload, putting: Putting
    ) -> tuple[ResumableUpload, Uploaded]:
        """As `ResumableUploads.get_whole`."""
        upload.require_not_failed()
        if upload.complete:
            raise NotFound("The upload is a file already.")
        if not upload.whole:
            raise NameConflict("The upload is not whole: bytes of it are missing.")
        await self._require_not_awaited(upload)
        digest = upload.known_digest
        if digest is None:
            try:
                digest = await self._digests.get(
                    upload, partial(self._check_target, upload, putting)
                )
            except FATAL as error:
                await self._store.apply(upload.id, Fail(Failure.of(error)))
                raise
            await self._store.apply(upload.id, NoteDigest(digest))
            # To read it can have taken long.
            await self._require_not_awaited(upload)
        return upload, Uploaded(upload.id, digest, self._appender.limits.expiry())

    async def _require_not_awaited(self, upload: ResumableUpload) -> None:
        if await self._store.awaiting(upload.id):
            raise NameConflict("The upload is part of another one, which needs it.")

    async def close(self) -> None:
        """Stop; what is not finished can be later."""
        running = (finishing.task for finishing in self._running.values())
        tasks: set[asyncio.Task[Any]] = {*running, *self._background}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await self.along.close()
        await self.subtrees.task.stop()

    def _start(self, upload_id: str, before: _Finishing | None, putting: Putting) -> _Finishing:
        async def finish() -> Committed | None:
            if before is not None:
                await asyncio.wait({before.task})
            return await self._finish(upload_id, finishing, putting)

        finishing = self._running[upload_id] = _Finishing(asyncio.create_task(finish()))
        finishing.task.add_done_callback(lambda _: self._forget(upload_id, finishing))
        # Perhaps nobody waits for it any more.
        finishing.task.add_done_callback(retrieve_exception)
        return finishing

    def _forget(self, upload_id: str, finishing: _Finishing) -> None:
        if self._running.get(upload_id) is finishing:
            del self._running[upload_id]

    async def _finish(
        self, upload_id: str, finishing: _Finishing, putting: Putting
    ) -> Committed | None:
        upload = await self._get(upload_id)
        if upload.spec.kind is UploadKind.PART:
            if upload.whole:
                self._finish_in_background(await self._store.awaiting(upload_id), putting)
            return None
        finishing.outlasts = upload.spec.kind is not UploadKind.CONCATENATION
        try:
            return await self._make_file(upload, putting)
        except FATAL as error:
            if await self._fail(upload_id, error):
                return None
            raise
        except NotFound:
            if (await self._store.get(upload_id)).complete:
                return None  # Another process was faster.
            raise

    async def _fail(self, upload_id: str, error: ChunkstoreError) -> bool:
        """Note why an upload can never become its file.

        Return whether it is complete, for another process was faster and is why it failed here.
        """
        try:
            return (await self._store.apply(upload_id, Fail(Failure.of(error)))).complete
        except StoreError as another:
            _logger.warning("That an upload failed was not noted: %s", another)
            return False

    async def _make_file(self, upload: ResumableUpload, putting: Putting) -> Committed | None:
        if upload.can_grow(joining=True) and upload.spec.kind is UploadKind.CONCATENATION:
            parts = [await self._get_part(part) for part in upload.spec.parts]
            if not all(part.whole for part in parts):
                return None
            await self._check_target(upload, putting)
            try:
                upload = await self._concatenate(upload, parts)
            except UploadSuperseded:
                return await self._follow(upload.id)
        return await self._complete(upload, putting) if upload.state is UploadState.WHOLE else None

    async def _get(self, upload_id: str) -> ResumableUpload:
        """Return an upload that has not failed."""
        upload = await self._store.get(upload_id)
        upload.require_not_failed()
        return upload

    async def _get_part(self, part_id: str) -> ResumableUpload:
        """Return a part that a concatenation can have; raise as `require_part`."""
        return require_part(await self._store.find(part_id))

    async def _check_target(self, upload: ResumableUpload, putting: Putting) -> None:
        """Judge before content is read what is judged again when it becomes its file."""
        if upload.spec.target is not None:
            await putting.check(upload.spec.target, upload.spec.conditions, upload.length)

    async def _complete(self, upload: ResumableUpload, putting: Putting) -> Committed:
        digest, hashed = upload.known_digest, self._appender.hashers.came_as_bytes(upload)
        if digest is None:
            digest = await self._digests.get(upload, partial(self._check_target, upload, putting))
        spec, expires = upload.spec, self._appender.limits.expiry()
        assert spec.target is not None
        content = Uploaded(upload.id, digest, expires)
        modified = modified_in(spec.metadata)
        put = Put(spec.target, content, spec.media_type, spec.conditions, modified=modified)
        try:
            committed = await putting.put(put)
        except _TRIED_AGAIN:
            if upload.known_digest is None:
                with suppress(StoreError, NotFound):
                    await self._store.apply(upload.id, NoteDigest(digest))
            raise
        if not hashed:
            # It came as a list, or would be read once more: so may its next version.
            self.subtrees.want(spec.target, digest, spec.bases)
        return committed

    def _finish_in_background(self, upload_ids: Sequence[str], putting: Putting) -> None:
        """Finish uploads one after the other, which nobody may be waiting for."""

        async def finish() -> None:
            for upload_id in upload_ids:
                try:
                    await self.finish(upload_id, putting)
                except ChunkstoreError as error:
                    _logger.info("An upload was not finished: %s", error)

        task = asyncio.create_task(finish())
        task.add_done_callback(self._background.discard)
        self._background.add(task)

    async def _concatenate(
        self, upload: ResumableUpload, parts: Sequence[ResumableUpload]
    ) -> ResumableUpload:
        """Append the parts, as far as that was not done before."""
        length = sum(part.offset for part in parts)
        self._appender.limits.check_size(length)
        upload = await self._store.apply(upload.id, Acquire(joining=True))
        upload.require_not_failed()
        if not upload.can_grow(joining=True):
            return upload  # Another process was faster.
        start = 0
        for part in parts:
            if upload.offset == start and part.offset:
                upload = await self._join(upload, part)
            start += part.offset
        request = UploadRequest(upload.offset, Ending.AT_LENGTH, length=length)
        return await self._appender.append(upload, request, nothing())

    async def _join(self, upload: ResumableUpload, part: ResumableUpload) -> ResumableUpload:
        hasher = self._appender.hashers.take(upload)
        expires = self._appender.limits.expiry()
        join = Join(part.id, upload.epoch, upload.offset, expires)
        joined = await self._store.apply(upload.id, join)
        if hasher is not None:
            assert joined.chunks is not None
            # By the list that it was copied to: the part may go.
            async with aclosing(self._digests.read(joined, upload.offset)) as windows:
                async for window in windows:
                    await asyncio.to_thread(hasher.update, window)
            self._appender.hashers.keep(upload.id, joined.chunks.size, hasher)
        return joined

    async def _follow(self, upload_id: str) -> Committed | None:
        """Wait for another process that has taken a concatenation over.

        Raises:
            UploadSuperseded: it does not get on.
        """
        loop = asyncio.get_running_loop()
        seen, deadline = None, 0.0
        while True:
            upload = await self._get(upload_id)
            if upload.complete:
                return None
            if seen != (upload.epoch, upload.offset, upload.whole):
                seen = upload.epoch, upload.offset, upload.whole
                deadline = loop.time() + _FOLLOW_SECONDS
            elif loop.time() > deadline:
                raise UploadSuperseded
            await asyncio.sleep(_FOLLOW_PAUSE_SECONDS)


async def nothing() -> AsyncIterator[bytes]:
    """Yield the pieces of an empty body."""
    return
    yield b""
