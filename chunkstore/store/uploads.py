"""The contract of uploads that outlive their request: what a store keeps of each, and its moves.

An upload is open while bytes come, whole once the last one has come, and complete when its name
points at its content. A part (of a concatenation) ends whole. All of it lies in the database:

    create -> open --append--> open --append(whole)--> whole --complete--> complete

**Turns.** A request that wants to append begins with `acquire`, which gives it the next epoch.
What it appends carries that epoch, and is refused once another request has acquired the upload,
in whichever process. So of two requests the newer one wins.

**Confirmed and not.** `offset` counts bytes that are confirmed: told to the client, never taken
back. Chunks may be appended ahead of them, for content that is to be verified first; the next
`acquire` removes what was never confirmed. Bytes behind the last whole chunk are the tail, kept
with the upload, so that progress does not depend on the chunk size.

The obligations of `chunkstore.store.base` hold here too.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from chunkstore.chunking import Chunk
from chunkstore.conditional import UNCONDITIONAL, Conditions
from chunkstore.digest import Digest
from chunkstore.errors import NotFound
from chunkstore.manifest import ChunkList
from chunkstore.names import FileName

if TYPE_CHECKING:
    from chunkstore.store.base import Committed


class UploadKind(enum.StrEnum):
    """What becomes of an upload: a file, a part of one, or a file made of parts."""

    FILE = "file"
    PART = "part"
    CONCATENATION = "concatenation"


@dataclass(frozen=True, slots=True)
class Purpose:
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


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """An upload as the store keeps it.

    `offset` is how many bytes are confirmed, `length` how many there will be, None until that is
    known; `tail` are those of the confirmed bytes that fill no chunk yet. `chunks` lists the
    whole chunks of them, None once the upload is complete; then `digest` is that of the file.
    """

    id: str
    purpose: Purpose
    offset: int
    length: int | None
    whole: bool
    epoch: int
    created: datetime
    expires: datetime
    tail: bytes
    chunks: ChunkList | None
    digest: Digest | None

    @property
    def complete(self) -> bool:
        """Whether its name has been pointed at its content."""
        return self.digest is not None


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
class Append:
    """The next chunks of an upload, at place `first` of its list and on, under a turn's `epoch`.

    Without `progress` they are not confirmed yet. All unfinished uploads together may have at
    most `max_unfinished` bytes in the store, None for no bound.
    """

    epoch: int
    first: int
    chunks: Sequence[Chunk]
    progress: Progress | None
    max_unfinished: int | None = None


class UploadStore(ABC):
    """The uploads of one store. Every method raises as it says and as `Store` has it."""

    @abstractmethod
    async def create(
        self,
        purpose: Purpose,
        length: int | None,
        expires: datetime,
        max_unfinished: int | None = None,
    ) -> ResumableUpload:
        """Begin an upload under a new id, which cannot be guessed.

        Raises:
            StoreFull: all unfinished uploads together have `max_unfinished` bytes already. One
                that has few counts for a chunk, so that their number is bounded as well.
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
    async def acquire(self, upload_id: str) -> ResumableUpload:
        """Begin a turn: from here on no older one can append. What was not confirmed is removed.

        A whole upload is only returned, for nothing can be appended to it.

        Raises:
            NotFound: there is no such upload.
        """

    @abstractmethod
    async def append(self, upload_id: str, append: Append) -> None:
        """Add chunks and confirm progress, both in one transaction.

        Chunks that are missing are stored, those that are relied on referenced, in the same
        transaction, as `Upload.append` does. What is confirmed stays: `offset` never decreases.

        Raises:
            UploadSuperseded: a newer turn has begun, or the upload is whole.
            NotFound: there is no such upload any more.
            StoreFull: there would be more than `max_unfinished` bytes.
        """

    @abstractmethod
    async def join(self, upload_id: str, part_id: str, epoch: int, expires: datetime) -> None:
        """Append all of a whole part: its list of chunks is copied, no byte is.

        The upload's offset is a multiple of its chunk size, which is also the part's.

        Raises:
            UploadSuperseded, NotFound: as `append`.
        """

    @abstractmethod
    async def awaiting(self, part_id: str) -> Sequence[str]:
        """Return the ids of the unfinished concatenations that the part belongs to."""

    @abstractmethod
    async def complete(self, upload_id: str, digest: Digest, expires: datetime) -> Committed:
        """Make a whole upload the file it is for.

        In one transaction: the conditions are judged, the tail becomes the last chunk, the chunk
        list is sealed or the one that the same content has is taken, the name points at it, and
        the upload is complete. It stays known until `expires`, as do the parts of a
        concatenation, which count no more among the unfinished.

        Raises:
            NotFound: there is no such upload, or it is complete already.
            PreconditionFailed, NameConflict: as `Store.commit`.
        """

    @abstractmethod
    async def delete(self, upload_id: str) -> None:
        """Forget the upload; a file that it became stays.

        Raises:
            NotFound: there is none.
        """
