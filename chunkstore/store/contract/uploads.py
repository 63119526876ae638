"""The contract of uploads that outlive their request: what a store keeps of each, and its moves.

An upload is open while bytes come, whole once the last one has come, and complete when its name
points at its content. A part (of a concatenation) ends whole. One that can never become its file
has failed, and keeps no bytes. All of it lies in the database:

    create -> open --append--> open --append(whole)--> whole --complete--> complete
    open or whole --fail--> failed

**Leases.** A request that wants to append begins with `acquire`, which leases it the upload and
gives it the next epoch as its fencing token. What it appends carries that epoch, and is refused
once another request has acquired the upload, in whichever process. So of two requests the newer
one wins.

**Confirmed and not.** `offset` counts bytes that are confirmed: told to the client, never taken
back. Chunks may be appended ahead of them, for content that is to be verified first; the next
`acquire` removes what was never confirmed. Bytes behind the last whole chunk are the tail, kept
with the upload, so that progress does not depend on the chunk size.

The obligations of `chunkstore.store.contract.store` hold here too.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ChunkstoreError,
    ContentMismatch,
    InconsistentLength,
    NotFound,
    PreconditionFailed,
    TooLarge,
    TooMuchUnfinished,
)
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import FileName


class UploadKind(enum.StrEnum):
    """What becomes of an upload: a file, a part of one, or a file made of parts."""

    FILE = "file"
    PART = "part"
    CONCATENATION = "concatenation"


@dataclass(frozen=True, slots=True)
class UploadSpec:
    """What a client says of an upload when it begins.

    `target` is the file it becomes, None for a part; `conditions` are judged when it does, and
    `checks` are what the content must have, by `hashlib`'s name of the algorithm; `metadata` is
    handed back as it came; `parts` are the uploads that a concatenation is made of, in order.
    """

    kind: UploadKind
    target: FileName | None
    media_type: str
    conditions: Conditions = UNCONDITIONAL
    checks: Mapping[str, bytes] = field(default_factory=dict)
    metadata: str = ""
    parts: Sequence[str] = ()


# By the names that stores keep: why an upload can never become its file.
_FAILURES: Final[Mapping[str, type[ChunkstoreError]]] = {
    "precondition-failed": PreconditionFailed,
    "content-mismatch": ContentMismatch,
    "inconsistent-length": InconsistentLength,
    "too-large": TooLarge,
}
FATAL: Final = tuple(_FAILURES.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an upload can never become its file: one of FATAL, by its name, and what it said."""

    reason: str
    detail: str

    @classmethod
    def of(cls, error: ChunkstoreError) -> Failure:
        """Return what `error`, which is one of FATAL, comes to."""
        reason = next(name for name, kind in _FAILURES.items() if isinstance(error, kind))
        return cls(reason, str(error))

    def to_error(self) -> ChunkstoreError:
        """Return the error that whoever asks for the upload is told."""
        return _FAILURES[self.reason](self.detail)


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """An upload as the store keeps it.

    `offset` is how many bytes are confirmed, `length` how many there will be, None until that is
    known; `tail` are those of the confirmed bytes that fill no chunk yet. `chunks` lists the
    whole chunks of them, None once the upload is complete; then `digest` is that of the file.
    `known_digest` is that of a whole content that has been read and has passed its checks, where
    the store was told. `failure` is set once it can never become its file: nothing of its bytes
    is there any more.
    """

    id: str
    spec: UploadSpec
    offset: int
    length: int | None
    whole: bool
    epoch: int
    created: datetime
    expires: datetime
    tail: bytes
    chunks: ChunkList | None
    digest: Digest | None
    known_digest: Digest | None = None
    failure: Failure | None = None

    @property
    def complete(self) -> bool:
        """Whether its name has been pointed at its content."""
        return self.digest is not None

    @property
    def ended(self) -> bool:
        """Whether nothing can become of it any more: it is complete or has failed."""
        return self.complete or self.failure is not None

    def can_grow(self, *, joining: bool = False) -> bool:
        """Whether bytes can be appended, for a concatenation by `joining` its parts alone."""
        if self.spec.kind is UploadKind.CONCATENATION and not joining:
            return False
        return not self.whole and not self.ended


@dataclass(frozen=True, slots=True)
class Progress:
    """What an append confirms: bytes up to `offset`, the last of them, too few for a chunk, `tail`.

    `length` is recorded unless None; `whole` says that no byte will follow; the upload lasts
    until `expires` at least.
    """

    offset: int
    tail: bytes
    length: int | None
    whole: bool
    expires: datetime


@dataclass(frozen=True, slots=True)
class ChunkBatch:
    """The next chunks of an upload, at place `first` of its list and on, under a lease's `epoch`.

    Without `progress` they are not confirmed yet. All unfinished uploads together may have at
    most `max_unfinished` bytes in the store, None for no bound.
    """

    epoch: int
    first: int
    chunks: Sequence[Chunk]
    progress: Progress | None
    max_unfinished: int | None = None

    def repeats(self, upload: ResumableUpload) -> bool:
        """Whether `upload` became whole by this very append, whose answer was lost."""
        return (
            self.progress is not None
            and self.progress.whole
            and upload.whole
            and upload.epoch == self.epoch
            and upload.offset == self.progress.offset
        )


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What all unfinished uploads together have in the store, in bytes, and how many are empty.

    One counts for a chunk at least; `empty` are those without a confirmed byte. Concatenations
    are counted apart, for their bytes are those of their parts.
    """

    size: int
    empty: int
    concatenations: int

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


def counted(kind: UploadKind, extent: int, received: int) -> Unfinished:
    """Return what one unfinished upload comes to that has so many bytes, and so many confirmed."""
    if kind is UploadKind.CONCATENATION:
        return Unfinished(0, 0, 1)
    return Unfinished(extent, int(received == 0), 0)


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


class UploadStore(ABC):
    """The uploads of one store. Every method raises as it says and as `Store` has it."""

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
            NotFound: one of the parts does not exist.
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
    async def acquire(self, upload_id: str, *, joining: bool = False) -> ResumableUpload:
        """Lease the upload: who held it cannot append any more. What was not confirmed is removed.

        Where nothing can be appended, the upload is only returned and nobody loses it: once it is
        whole or has failed; and a concatenation, unless this is for `joining` its parts.

        Raises:
            NotFound: there is no such upload.
        """

    @abstractmethod
    async def append(self, upload_id: str, batch: ChunkBatch) -> None:
        """Add chunks and confirm progress, both in one transaction.

        Chunks that are missing are stored, those that are relied on referenced, in the same
        transaction, as `Upload.append` does. What is confirmed stays: `offset` never decreases.
        To make the last append again, by which the upload became whole, is harmless.

        Raises:
            UploadSuperseded: it was leased to another meanwhile, is whole, or has failed.
            NotFound: there is no such upload any more.
            TooMuchUnfinished: there would be more than `max_unfinished` bytes.
        """

    @abstractmethod
    async def renew(self, upload_id: str, epoch: int, expires: datetime) -> None:
        """Let the upload last until `expires` at least, if `epoch` is still that of its lease."""

    @abstractmethod
    async def join(self, upload_id: str, part_id: str, epoch: int, expires: datetime) -> None:
        """Append all of a whole part: its list of chunks is copied, no byte is.

        The upload's offset is a multiple of its chunk size, which is also the part's.

        Raises:
            UploadSuperseded, NotFound: as `append`.
        """

    @abstractmethod
    async def note_digest(self, upload_id: str, digest: Digest) -> None:
        """Keep the digest of a whole upload that has been read, so that it is read once."""

    @abstractmethod
    async def fail(self, upload_id: str, failure: Failure) -> None:
        """Note that an upload can never become its file. Its bytes go, and count no more.

        It stays known until it expires. One that is complete, has failed or is gone is left so.
        """

    @abstractmethod
    async def unfinished(self) -> Unfinished:
        """Return what all unfinished uploads come to, at a cost that does not grow with them."""

    @abstractmethod
    async def awaiting(self, part_id: str) -> Sequence[str]:
        """Return the ids of the unfinished concatenations that the part belongs to."""

    @abstractmethod
    async def delete(self, upload_id: str) -> None:
        """Forget the upload; a file that it became stays.

        Raises:
            NotFound: there is none.
        """
