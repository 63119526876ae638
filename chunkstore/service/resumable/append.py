"""Appending the bytes of one request to an upload that outlives it."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import OrderedDict
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from chunkstore.core.archives import DECIDING_SIZE
from chunkstore.core.chunk_lists import ListParser
from chunkstore.core.chunkers import Chunking, recognise
from chunkstore.core.chunking import Chunk, size_of
from chunkstore.core.digest import ContentCheck, ContentHasher
from chunkstore.core.errors import ChunkstoreError, InconsistentLength, LengthExceeded, TooLarge
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.ingest import Intake
from chunkstore.service.known_chunks import KnownChunks
from chunkstore.service.memory import Account
from chunkstore.service.room import NO_BOUND, Room
from chunkstore.service.service import Service
from chunkstore.store.contract.contents import PreparedBatch
from chunkstore.store.contract.resumable import ResumableUpload
from chunkstore.store.contract.upload_state import Append, AppendLast, Progress
from chunkstore.store.contract.uploads import PreparedAppend

# A hasher takes about 2 KiB.
_KEPT_HASHERS: Final = 1000

_logger = logging.getLogger(__name__)

T = TypeVar("T")
OnProgress = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What uploads may take: `max_size` bytes each, `max_unfinished` bytes in the store together.

    None sets no bound. They last `expiry_seconds` from the last progress on, and
    `empty_expiry_seconds` from their beginning until there is any.
    """

    expiry_seconds: float
    empty_expiry_seconds: float
    max_size: int | None = None
    max_unfinished: int | None = None

    def expiry(self, *, empty: bool = False) -> datetime:
        """Return until when an upload lasts that makes progress now, or begins `empty`."""
        seconds = self.empty_expiry_seconds if empty else self.expiry_seconds
        return datetime.now(UTC) + timedelta(seconds=seconds)

    def check_size(self, size: int | None) -> None:
        """Refuse content of `size` bytes, None if that is not known, if it is too large.

        Raises:
            TooLarge: it is.
        """
        if size is not None and self.max_size is not None and size > self.max_size:
            raise TooLarge(f"An upload can have {self.max_size} bytes here, not {size}.")


class Ending(enum.Enum):
    """When an upload is whole: once its length is reached, with this request's body, or later."""

    AT_LENGTH = enum.auto()
    WITH_BODY = enum.auto()
    LATER = enum.auto()


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What a request adds to an upload: bytes from `offset` on.

    `length` is what the client says the whole will have, None if nothing; `size` how many bytes
    this request brings, None if it does not say; `checks` must hold for these bytes, or none of
    them is kept; `on_progress` is called with each offset that is confirmed. A length that does
    not fit `voids` the upload, or else is only refused. `client` is the address that the bytes
    come from, "" for the server itself. `parser` is given where the body is a list of chunks that
    the store has, in place of their bytes; `known` are those that it may refer to, None for all.
    `room` is what quotas leave for the whole.
    """

    offset: int
    ending: Ending
    length: int | None = None
    size: int | None = None
    checks: Sequence[ContentCheck] = ()
    on_progress: OnProgress | None = None
    voids: bool = False
    client: str = ""
    parser: ListParser | None = None
    known: KnownChunks | None = None
    room: Room = NO_BOUND


class AppendingReceiver(Protocol):
    """Takes the body of one request and appends what it brings to an upload."""

    async def take(self, piece: bytes) -> None:
        """Take the next bytes."""

    async def keep(self) -> None:
        """Confirm what has come of a body that broke off."""

    async def confirm(self, *, body_ended: bool) -> ResumableUpload:
        """Confirm all that has come; return the upload as it is then."""

    async def close(self) -> None:
        """Forget what was not confirmed."""


async def receive(receiver: AppendingReceiver, pieces: AsyncIterable[bytes]) -> ResumableUpload:
    """Give all pieces to the receiver; return the upload as it is then."""
    try:
        async for piece in pieces:
            await receiver.take(piece)
    except BaseException:
        await run_to_end(receiver.keep())
        raise
    else:
        return await run_to_end(receiver.confirm(body_ended=True))
    finally:
        await run_to_end(receiver.close())


class Hashers:
    """Hashers of uploads whose next bytes may come to this process, the latest ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _KeptHasher] = OrderedDict()

    def know(self, upload: ResumableUpload) -> bool:
        """Whether there is one that has seen all whole chunks of the upload."""
        kept = self._kept.get(upload.id)
        return (0 if kept is None else kept.size) == _whole_size(upload)

    def came_as_bytes(self, upload: ResumableUpload) -> bool:
        """Whether there is one that has seen them all as they came, and not as they were read."""
        kept = self._kept.get(upload.id)
        return self.know(upload) and not (kept is not None and kept.was_read)

    def take(self, upload: ResumableUpload) -> ContentHasher | None:
        """Return one that has seen all whole chunks of the upload, None if there is none."""
        size, hasher = self.take_prefix(upload.id)
        return hasher if size == _whole_size(upload) else None

    def take_prefix(self, upload_id: str) -> tuple[int, ContentHasher]:
        """Return one that has seen the first bytes of an upload, and how many."""
        kept = self._kept.pop(upload_id, None)
        return (0, ContentHasher()) if kept is None else (kept.size, kept.hasher)

    def keep(
        self, upload_id: str, size: int, hasher: ContentHasher, *, was_read: bool = False
    ) -> None:
        """Keep one that has seen all whole chunks, or the first ones, which have `size` bytes.

        `was_read` says that they did not come as bytes, but had to be read.
        """
        self._kept[upload_id] = _KeptHasher(size, hasher, was_read)
        if len(self._kept) > _KEPT_HASHERS:
            self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _KeptHasher:
    """A hasher that has seen the first `size` bytes of an upload."""

    size: int
    hasher: ContentHasher
    was_read: bool


def _whole_size(upload: ResumableUpload) -> int:
    """Return how many bytes the whole chunks of an upload have."""
    return 0 if upload.chunks is None else upload.chunks.size


class UploadAppender:
    """Appends bytes to the uploads of one service."""

    def __init__(self, service: Service, limits: UploadLimits) -> None:
        self.service = service
        self.limits = limits
        self.hashers = Hashers()

    async def append(
        self,
        upload: ResumableUpload,
        request: UploadRequest,
        pieces: AsyncIterable[bytes],
        memory: Account | None = None,
    ) -> ResumableUpload:
        """Append all pieces under the epoch of `upload`; return the upload as it is then.

        If they break off, those that have come are kept, unless all were to be checked together.
        Batches are reserved on the account `memory`, or on that of the request's client.

        Raises:
            LengthExceeded, TooLarge, QuotaExceeded: more bytes come than there may be.
            InconsistentLength: fewer come than there should be.
            ContentMismatch: a check failed; nothing is kept.
            UploadSuperseded, NotFound, StoreError: as `Uploads.apply` in the store.
        """
        if memory is None:
            memory = self.service.on_behalf_of(request.client).upload_memory
        chunking = await self._chunking_of(upload)
        return await receive(_BodyReceiver(self, upload, request, memory, chunking), pieces)

    async def _chunking_of(self, upload: ResumableUpload) -> Chunking:
        """Return how the upload is cut, if need be as its first bytes decided.

        Before any chunk is there they are its tail, by which the chunker decides.
        """
        chunking, chunks = Chunking(upload.spec.chunking), upload.chunks
        if chunking is not Chunking.AUTO or chunks is None or not chunks.size:
            return chunking
        stop = min(DECIDING_SIZE, chunks.size)
        async with aclosing(self.service.reader.stream(chunks, 0, stop)) as pieces:
            return recognise(b"".join([piece async for piece in pieces]))


class _BodyReceiver:
    """Takes the bytes of one request and appends them to its upload, batch by batch."""

    def __init__(
        self,
        appender: UploadAppender,
        upload: ResumableUpload,
        request: UploadRequest,
        memory: Account,
        chunking: Chunking,
    ) -> None:
        assert upload.chunks is not None
        self._uploads = appender.service.store.uploads
        self._limits = appender.limits
        self._hashers = appender.hashers
        self._upload = upload
        self._appending = self._uploads.appending(upload)
        self._request = request
        self._stored = upload.chunks.size
        self._length = upload.length if request.length is None else request.length
        self._reached = self._told = request.offset
        self._hasher = self._hashers.take(upload)
        self._intake = Intake(
            self,
            memory,
            upload.chunks.chunk_size,
            chunker=chunking.chunker(upload.chunks.chunk_size),
            checks=request.checks,
            hasher=self._hasher,
            tail=upload.tail,
        )

    async def take(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._reached += len(piece)
        if self._length is not None and self._reached > self._length:
            raise LengthExceeded(f"The upload's length is {self._length}; more bytes came.")
        self._limits.check_size(self._reached)
        self._request.room.check(self._reached)
        await self._intake.take(piece)

    async def prepare(self, chunks: Sequence[Chunk]) -> PreparedBatch:
        """Return what stores a batch from the intake."""
        return _ReceivedBatch(self, chunks, await self._appending.prepare(chunks))

    async def store(self, chunks: Sequence[Chunk], prepared: PreparedAppend) -> None:
        """Store a batch; what is to be checked is not confirmed by that."""
        progress = None
        if not self._request.checks:
            offset = self._stored + size_of(chunks)
            progress = self._progress(offset, b"", whole=False)
        append = self._append_of(Append, chunks, progress)
        upload = await self._appending.append(append, prepared)
        self._stored += size_of(chunks)
        if progress is not None:
            await self._tell(upload)

    async def keep(self) -> None:
        """Confirm what has come of a body that broke off."""
        if self._request.checks:
            self._intake.close()
            return
        try:
            await self.confirm(body_ended=False)
        except ChunkstoreError as error:
            _logger.info("What had come of an upload was not kept: %s", error)

    async def confirm(self, *, body_ended: bool) -> ResumableUpload:
        """Store and confirm all that has come; return the upload as it is then."""
        try:
            chunks, tail = await self._intake.settle()
            for check in self._request.checks:
                check.verify()
            offset = self._stored + size_of(chunks) + len(tail)
            whole = self._is_whole(offset, body_ended=body_ended)
            progress = self._progress(offset, tail, whole=whole)
            await self._appending.settle()
            append = self._append_of(AppendLast if whole else Append, chunks, progress)
            upload = await self._uploads.apply(self._upload.id, append)
            self._stored += size_of(chunks)
            await self._tell(upload)
        finally:
            self._intake.close()
        if self._hasher is not None:
            self._hashers.keep(self._upload.id, offset - len(tail), self._hasher)
        if body_ended and self._request.ending is Ending.WITH_BODY and not whole:
            raise InconsistentLength(f"The upload's length is {self._length}; fewer bytes came.")
        return upload

    def _is_whole(self, offset: int, *, body_ended: bool) -> bool:
        match self._request.ending:
            case Ending.AT_LENGTH:
                return offset == self._length
            case Ending.WITH_BODY:
                return body_ended and self._length in (None, offset)
            case Ending.LATER:
                return False

    def _progress(self, offset: int, tail: bytes, *, whole: bool) -> Progress:
        length = offset if whole else self._length
        advances = whole or offset > self._upload.offset
        expires = self._limits.expiry() if advances else self._upload.expires
        return Progress(offset, tail, length, expires)

    def _append_of(
        self, kind: type[Append], chunks: Sequence[Chunk], progress: Progress | None
    ) -> Append:
        return kind(
            epoch=self._upload.epoch,
            start=self._stored,
            chunks=chunks,
            progress=progress,
            max_unfinished=self._limits.max_unfinished,
        )

    async def _tell(self, upload: ResumableUpload) -> None:
        """Tell of what is confirmed, if it is more than before."""
        if self._request.on_progress is not None and upload.offset > self._told:
            self._told = upload.offset
            await self._request.on_progress(upload.offset)

    async def close(self) -> None:
        """Forget what was not confirmed."""
        await self._appending.close()


@dataclass(frozen=True, slots=True)
class _ReceivedBatch(PreparedBatch):
    """Chunks of one request, to be stored behind those before."""

    receiver: _BodyReceiver
    chunks: Sequence[Chunk]
    prepared: PreparedAppend

    async def store(self) -> None:
        await self.receiver.store(self.chunks, self.prepared)


async def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` comes to, which goes on to its end also if the caller is cancelled."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        retrieve_exception(task)
        raise
