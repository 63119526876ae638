"""The contract of uploads that outlive their request: their rows, and how many there may be.

What an upload is stands in `chunkstore.store.contract.resumable`, what becomes of it in
`chunkstore.store.contract.upload_state`. The obligations of `chunkstore.store.contract.store` hold
here too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from chunkstore.core.chunking import AnyChunk, Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound, TooMuchUnfinished
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.resumable import ResumableUpload, UploadKind, UploadSpec
from chunkstore.store.contract.upload_state import Append, Event


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What unfinished uploads together have in the store, in bytes, and how many are empty.

    One counts for a chunk at least; `empty` are those without a confirmed byte, also if they hold
    packs: nothing tells yet that these chunks belong to a file. Concatenations are counted apart,
    for their bytes are those of their parts.
    """

    size: int
    empty: int
    concatenations: int

    @classmethod
    def of(cls, kind: UploadKind, extent: int, received: int) -> Unfinished:
        """Return what one upload comes to that has so many bytes, and so many confirmed."""
        if kind is UploadKind.CONCATENATION:
            return cls(0, 0, 1)
        return cls(extent, int(received == 0), 0)

    def plus(self, other: Unfinished) -> Unfinished:
        """Return both together."""
        return Unfinished(
            self.size + other.size,
            self.empty + other.empty,
            self.concatenations + other.concatenations,
        )

    def minus(self, other: Unfinished) -> Unfinished:
        """Return what is left without the other."""
        return self.plus(Unfinished(-other.size, -other.empty, -other.concatenations))


NOTHING: Final = Unfinished(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that there may be `Unfinished`, each None for no bound."""

    size: int | None = None
    empty: int | None = None
    concatenations: int | None = None

    def check_new(self, kind: UploadKind, chunk_size: int, present: Unfinished) -> None:
        """Refuse one more upload than there are at present.

        Raises:
            TooMuchUnfinished: it would be one too many.
        """
        if kind is UploadKind.CONCATENATION:
            if self.concatenations is not None and present.concatenations >= self.concatenations:
                raise TooMuchUnfinished("Too many uploads wait for their parts; try again later.")
            return
        if self.empty is not None and present.empty >= self.empty:
            raise TooMuchUnfinished(
                "Too many uploads have begun of which no byte has come; try again in some minutes."
            )
        self.check_growth(chunk_size, present)

    def check_growth(self, size: int, present: Unfinished) -> None:
        """Refuse `size` more bytes than there are at present.

        Raises:
            TooMuchUnfinished: that would be too much.
        """
        if self.size is not None and present.size + size > self.size:
            raise TooMuchUnfinished


UNBOUNDED: Final = Bounds()


# Chunks of a page of those that an upload holds, at most.
HELD_AT_ONCE: Final = 1024


@dataclass(frozen=True, slots=True)
class HeldChunks:
    """A page of the chunks that an upload holds, by their digests, in no order and some twice.

    `next` is where the next page continues, None on the last one.
    """

    digests: Sequence[Digest]
    next: tuple[int, int] | None


class PreparedAppend:
    """Chunks that an `Appending` has prepared, while those before may not be appended yet."""


class Appending:
    """The appends of one request to the upload with this id, in order, all under one lease.

    A store may write what is appended in larger pieces than it comes: then it confirms less than
    asked at first, and all of it when asked to settle. This one confirms each append at once.
    """

    def __init__(self, uploads: Uploads, upload_id: str) -> None:
        self._uploads = uploads
        self._upload_id = upload_id

    async def prepare(self, chunks: Sequence[AnyChunk]) -> PreparedAppend:
        """Do the part of an append that changes nothing; its progress need not be known yet."""
        return PreparedAppend()

    async def append(self, append: Append, prepared: PreparedAppend) -> ResumableUpload:
        """Append the chunks that were prepared; return the upload as far as it is confirmed.

        Raises: as `Uploads.apply`.
        """
        return await self._uploads.apply(self._upload_id, append)

    async def settle(self) -> None:
        """Have all that was appended ready to be confirmed by an append that follows it.

        Raises: as `Uploads.apply`.
        """

    async def close(self) -> None:
        """Forget what was not settled. To be done at the end of the request, however it ends."""


class Uploads(ABC):
    """The rows of resumable uploads. Their bytes are read as any `Contents`, and put by `Put`."""

    @abstractmethod
    async def create(
        self,
        spec: UploadSpec,
        length: int | None,
        expires: datetime,
        bounds: Bounds = UNBOUNDED,
    ) -> ResumableUpload:
        """Begin an upload under a new id, which cannot be guessed.

        Raises:
            TooMuchUnfinished: there is as much unfinished already as `bounds` allow.
            PartGone, NotFound, one of FATAL: what `require_part` says of one of the parts.
        """

    @abstractmethod
    async def find(self, upload_id: str) -> ResumableUpload | None:
        """Return the upload as it is, None if there is none."""

    async def get(self, upload_id: str) -> ResumableUpload:
        """Return the upload as it is.

        Raises:
            NotFound: there is none.
        """
        upload = await self.find(upload_id)
        if upload is None:
            raise NotFound("There is no such upload.")
        return upload

    @abstractmethod
    async def apply(self, upload_id: str, event: Event) -> ResumableUpload:
        """Let an event happen to an upload, and return it as it is then; what was, by a `Delete`.

        What `Append` brings is stored where it is missing, and referenced where it is relied on, in
        the same transaction, as `Upload.append` does.

        Raises:
            NotFound: there is no such upload.
            What `advance` raises.
            TooMuchUnfinished: there would be more than an `Append` allows.
            ChunksMissing: as `Upload.append`; `offset` is where the upload's list ends.
        """

    @abstractmethod
    async def hold(
        self,
        upload_id: str,
        pack: Upload,
        last: Sequence[Chunk],
        expires: datetime,
        max_unfinished: int | None = None,
    ) -> ResumableUpload:
        """Keep all chunks of a pack for an upload, which lasts until `expires` at least.

        The pack is an upload of this request, with all but its `last` chunks appended. From here on
        it is the resumable upload's: its chunks are not collected before that is complete, failed,
        deleted or expired. Any number of packs may be held at once, and no lease is needed. The
        pack's size counts among what is unfinished (`max_unfinished`, None for no bound), though
        some of its chunks may have been known.

        Raises:
            NotFound: there is no such upload, or the pack was put or held before.
            What `advance` raises of a `Hold`.
            TooMuchUnfinished: there would be more than is allowed.
        """

    @abstractmethod
    async def held(self, upload_id: str, after: tuple[int, int] | None = None) -> HeldChunks:
        """Return a page of the chunks that an upload holds; `after` is the `next` of another.

        There are none of an upload that does not exist.
        """

    def appending(self, upload: ResumableUpload) -> Appending:
        """Return what takes the appends of one request, under the lease that `upload` has."""
        return Appending(self, upload.id)

    @abstractmethod
    async def awaiting(self, part_id: str) -> Sequence[str]:
        """Return the ids of the concatenations that a part belongs to and that are not complete."""
