"""Uploads that outlive their request: who holds one, the bytes that come, and how they end.

The state is the store's (`chunkstore.store.contract.upload_state`). Here is what one process adds:
requests hold an upload by leases (`leases`), so that a newer one makes older ones stop and keep
what they have before it begins; what has come is confirmed batch by batch, and to the last byte
when the connection breaks; and a whole upload is finished once, however many requests wait for
that.

A content's digest is computed as its bytes come. Where that has been interrupted, by another
process or a restart, the chunks are read once at the end instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from chunkstore.core.chunk_lists import format_digests
from chunkstore.core.errors import (
    ChunkstoreError,
    InconsistentLength,
    LengthExceeded,
    OffsetMismatch,
    UploadCompleted,
    UploadExpired,
)
from chunkstore.core.periodic import Periodic
from chunkstore.service.putting import AllowedNames, Putting
from chunkstore.service.resumable.append import (
    UploadAppender,
    UploadLimits,
    UploadRequest,
    receive,
)
from chunkstore.service.resumable.finish import UploadFinisher
from chunkstore.service.resumable.leases import Lease, Leases
from chunkstore.service.resumable.listing import ListReceiver
from chunkstore.service.resumable.packs import PackReceiver
from chunkstore.service.rights import EVERY_RIGHT
from chunkstore.service.service import Service
from chunkstore.store.contract.edits import Uploaded
from chunkstore.store.contract.resumable import (
    Failure,
    ResumableUpload,
    UploadKind,
    UploadSpec,
)
from chunkstore.store.contract.upload_state import Acquire, Delete, Fail, Renew
from chunkstore.store.contract.uploads import Bounds
from chunkstore.store.contract.values import Committed

DEFAULT_EXPIRY_SECONDS: Final = 24 * 3600.0
DEFAULT_MAX_UNFINISHED: Final = 100 * 1024**3
# How long an upload lasts of which no byte has come, and how many such there can be: they cost
# their client nothing, and must not keep others from uploading.
EMPTY_EXPIRY_SECONDS: Final = 600.0
_MAX_EMPTY: Final = 10_000
_MAX_CONCATENATIONS: Final = 10_000
_RENEWALS: Final = 3

_logger = logging.getLogger(__name__)


class ResumableUploads:
    """The uploads of one service's store that outlive their request.

    They last `expiry_seconds` from the last progress on, and `empty_expiry_seconds` until there is
    any; `max_unfinished` bounds the bytes that all unfinished ones have in the store, and
    `max_empty` the number of those without a byte. None sets no bound.
    """

    def __init__(
        self,
        service: Service,
        *,
        expiry_seconds: float = DEFAULT_EXPIRY_SECONDS,
        empty_expiry_seconds: float = EMPTY_EXPIRY_SECONDS,
        max_unfinished: int | None = DEFAULT_MAX_UNFINISHED,
        max_empty: int | None = _MAX_EMPTY,
    ) -> None:
        bounds = [one for one in (service.max_file_size, max_unfinished) if one is not None]
        self.service = service
        self.limits = UploadLimits(
            expiry_seconds,
            min(expiry_seconds, empty_expiry_seconds),
            min(bounds, default=None),
            max_unfinished,
        )
        self._bounds = Bounds(max_unfinished, max_empty, _MAX_CONCATENATIONS)
        self._store = service.store.uploads
        self._appender = UploadAppender(service, self.limits)
        self._finisher = UploadFinisher(self._appender)
        self._leases = Leases()
        self._putting = AllowedNames(service.store.names, EVERY_RIGHT, service.store.quotas)

    @property
    def tasks(self) -> Sequence[Periodic]:
        """What is to be started for them in the background; `close` stops it."""
        return [self._finisher.subtrees.task]

    async def create(
        self, spec: UploadSpec, length: int | None, putting: Putting | None = None
    ) -> ResumableUpload:
        """Begin an upload, which becomes its file by `putting`.

        Raises:
            TooLarge: `length`, or that of all parts, is more than there may be.
            TooMuchUnfinished: the unfinished ones have all the room there is for them.
            PreconditionFailed, NameConflict, QuotaExceeded: it could not be completed even now.
            PartGone, NotFound, one of FATAL: what `require_part` says of a part.
        """
        self.limits.check_size(length)
        if spec.target is not None:
            await (putting or self._putting).check(spec.target, spec.conditions, length)
        waits = not await self._finisher.can_concatenate(spec.parts)
        expires = self.limits.expiry(empty=not waits)
        chunking = await self.service.choose_chunking(spec.target)
        spec = replace(spec, chunking=chunking.value)
        return await self._store.create(spec, length, expires, self._bounds)

    async def append(
        self,
        upload_id: str,
        request: UploadRequest,
        pieces: AsyncIterable[bytes],
        putting: Putting | None = None,
    ) -> ResumableUpload:
        """Add bytes to an upload and return it as it is then. Nothing is read of what is refused.

        It is to become its file by `putting`.

        Raises:
            NotFound: there is no such upload; UploadExpired: there was.
            UploadCompleted: it takes no more bytes.
            Forbidden: its bytes come from its parts.
            OffsetMismatch: it is at another offset.
            InconsistentLength: more bytes come than there should be, or fewer.
            ContentMismatch: a check failed; nothing is kept.
            UploadSuperseded: a newer request has taken over; what had come is kept.
            TooLarge, TooMuchUnfinished, QuotaExceeded: there is no room for so much.
            Other of `FATAL`: it has failed.
        """
        async with self._leases.queue(upload_id) as lease:
            upload = await self._get(upload_id)
            if upload.can_grow():
                await lease.take()
                upload = await self._acquire(upload_id)
            try:
                self._check_request(upload, request)
                if upload.whole:
                    return upload
                request = await self._with_room(upload, request, putting or self._putting)
                async with self._renewing(upload):
                    body = _then_irrevocable(pieces, lease)
                    return await self._append(upload, request, body)
            except InconsistentLength as error:
                if request.voids and upload.can_grow():
                    await self._store.apply(upload_id, Fail(Failure.of(error)))
                raise

    async def _with_room(
        self, upload: ResumableUpload, request: UploadRequest, putting: Putting
    ) -> UploadRequest:
        """Return a request with the room that its quotas leave; refuse what is too large by now."""
        if upload.spec.target is None:
            return request
        room = await putting.room(upload.spec.target)
        length = upload.length if request.length is None else request.length
        room.check(request.offset + (request.size or 0) if length is None else length)
        return replace(request, room=room)

    async def _append(
        self, upload: ResumableUpload, request: UploadRequest, pieces: AsyncIterable[bytes]
    ) -> ResumableUpload:
        if request.parser is None:
            return await self._appender.append(upload, request, pieces)
        memory = self.service.on_behalf_of(request.client).upload_memory
        known = request.known or self.service.store.chunks
        receiver = ListReceiver(
            known, self._store, self.limits, upload, request, memory, request.parser
        )
        upload = await receive(receiver, pieces)
        if not upload.whole:
            self._finisher.along.begin(upload)
        return upload

    async def receive_pack(
        self, upload_id: str, pieces: AsyncIterable[bytes], client: str, *, raw: bool
    ) -> int:
        """Have an upload hold a pack of chunks, as `PackReceiver.receive`; return how many came.

        Raises:
            NotFound: there is no such upload; UploadExpired: there was.
            UploadCompleted: it takes no more. Forbidden: its bytes come from its parts.
            One of `FATAL`: it has failed.
        """
        upload = await self._get(upload_id)
        upload.require_appendable()
        if upload.whole:
            raise UploadCompleted
        memory = self.service.on_behalf_of(client).upload_memory
        receiver = PackReceiver(self.service.store.contents, self._store, self.limits)
        async with self._renewing(upload, leased=False):
            return await receiver.receive(upload_id, pieces, memory, raw=raw)

    async def iter_held(self, upload_id: str) -> AsyncGenerator[bytes, None]:
        """Yield the digests of the chunks that an upload has been sent, end to end, in pages.

        Raises:
            NotFound: there is no such upload, or none any more; UploadExpired: there was.
        """
        await self._get(upload_id)
        after, is_last = None, False
        while not is_last:
            page = await self._store.held(upload_id, after)
            after, is_last = page.next, page.next is None
            octets = format_digests(page.digests)
            # Digests take more memory than their bytes, and a client may be slow to take those.
            del page
            if is_last:
                await self._get(upload_id)
            yield octets

    async def acquire_and_get(
        self, upload_id: str, putting: Putting | None = None
    ) -> ResumableUpload:
        """Return an upload at an offset that holds: requests that append to it are ended.

        One that is whole is finished first, so that whoever sees all bytes arrived sees the file.

        Raises:
            NotFound: there is no such upload; UploadExpired: there was.
            UploadSuperseded: a newer request has taken over.
            One of `FATAL`: it can never become the file it is for; NameConflict: not now.
        """
        async with self._leases.queue(upload_id) as lease:
            upload = await self._get(upload_id)
            if upload.can_grow():
                await lease.take()
                lease.make_irrevocable()
                upload = await self._acquire(upload_id)
        upload.require_not_failed()
        if upload.complete:
            return upload
        if upload.whole or upload.spec.kind is UploadKind.CONCATENATION:
            await self.finish(upload_id, putting)
            return await self._store.get(upload_id)
        return upload

    async def find(self, upload_id: str) -> ResumableUpload | None:
        """Return an upload as it is at the moment, None if there is none."""
        return await self._store.find(upload_id)

    async def is_unfinished(self, upload_id: str) -> bool:
        """Whether there is an upload that may become its file yet."""
        upload = await self._store.find(upload_id)
        if upload is None or upload.complete or upload.failure is not None:
            return False
        return upload.expires > datetime.now(UTC)

    async def delete(self, upload_id: str) -> None:
        """End an upload for good; a file that it became stays.

        Raises:
            NotFound: there is no such upload; UploadExpired: there was.
        """
        async with self._leases.queue(upload_id) as lease:
            await lease.take()
            lease.make_irrevocable()
            await self._acquire(upload_id)
            await self._store.apply(upload_id, Delete())

    async def get_whole(
        self, upload_id: str, putting: Putting | None = None
    ) -> tuple[ResumableUpload, Uploaded]:
        """Return an upload that is whole and no file yet, and its content for a `Put`.

        Raises:
            NotFound: there is no such upload, or it was put; UploadExpired: there was.
            NameConflict: it is not whole, or another upload that is not complete is made of it.
            One of `FATAL`: its content is not what it should be.
        """
        return await self._finisher.get_whole(await self._get(upload_id), putting or self._putting)

    async def finish(self, upload_id: str, putting: Putting | None = None) -> Committed | None:
        """As `UploadFinisher.finish`."""
        return await self._finisher.finish(upload_id, putting or self._putting)

    async def hashed(self, upload_id: str) -> None:
        """Wait until what has come of an upload is hashed, as far as that was begun."""
        await self._finisher.along.settle(upload_id)

    async def close(self) -> None:
        """Stop finishing; what is not finished can be later."""
        await self._finisher.close()

    async def _get(self, upload_id: str) -> ResumableUpload:
        return _not_expired(await self._store.get(upload_id))

    async def _acquire(self, upload_id: str) -> ResumableUpload:
        return _not_expired(await self._store.apply(upload_id, Acquire()))

    @asynccontextmanager
    async def _renewing(
        self, upload: ResumableUpload, *, leased: bool = True
    ) -> AsyncIterator[None]:
        """Keep an upload from expiring for the time of a context, however slowly bytes come.

        If it is not `leased` within the context, others may lease it meanwhile.
        """
        renewing = asyncio.create_task(self._renew(upload, leased=leased))
        try:
            yield
        finally:
            renewing.cancel()

    async def _renew(self, upload: ResumableUpload, *, leased: bool) -> None:
        while True:
            await asyncio.sleep(self.limits.empty_expiry_seconds / _RENEWALS)
            expires = self.limits.expiry(empty=True)
            try:
                if not leased:
                    upload = await self._store.get(upload.id)
                await self._store.apply(upload.id, Renew(upload.epoch, expires))
            except ChunkstoreError as error:
                _logger.info("An upload's lease was not renewed: %s", error)

    def _check_request(self, upload: ResumableUpload, request: UploadRequest) -> None:
        upload.require_appendable()
        if request.offset != upload.offset:
            raise OffsetMismatch(upload.offset, request.offset)
        if None not in (upload.length, request.length) and upload.length != request.length:
            raise InconsistentLength(f"The upload's length is {upload.length}.")
        length = upload.length if request.length is None else request.length
        reached = request.offset + (request.size or 0)
        if length is not None and reached > length:
            raise LengthExceeded(f"The upload's length is {length}; this would be more.")
        self.limits.check_size(reached if length is None else length)


def _not_expired(upload: ResumableUpload) -> ResumableUpload:
    if upload.expires <= datetime.now(UTC):
        raise UploadExpired
    return upload


async def _then_irrevocable(pieces: AsyncIterable[bytes], lease: Lease) -> AsyncIterator[bytes]:
    """Yield the pieces; once all have come they are kept, whoever wants the upload."""
    async for piece in pieces:
        yield piece
    lease.make_irrevocable()
