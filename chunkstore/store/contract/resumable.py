"""What a resumable upload is: one that outlives its request.

How it comes from one state into the next is in `chunkstore.store.contract.upload_state`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    ChunkstoreError,
    ContentMismatch,
    Forbidden,
    InconsistentLength,
    PartGone,
    PreconditionFailed,
    TooLarge,
    UploadCompleted,
)
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import FileName


class UploadKind(enum.StrEnum):
    """What an upload is for: a file, a part of one, or a file made of parts."""

    FILE = "file"
    PART = "part"
    CONCATENATION = "concatenation"


@dataclass(frozen=True, slots=True)
class UploadSpec:
    """What a client says of an upload when it begins.

    `target` is the file it becomes, None for a part; `conditions` are judged when it does, and
    `checks` are what the content must have, by `hashlib`'s name of the algorithm; `metadata` is
    handed back as it came; `parts` are the uploads that a concatenation is made of, in order;
    `bases` are files that the content was made from; `chunking` names the way in which it is cut.
    `owner` is whose it is, "" for anybody's.
    """

    kind: UploadKind
    target: FileName | None
    media_type: str
    conditions: Conditions = UNCONDITIONAL
    checks: Mapping[str, bytes] = field(default_factory=dict)
    metadata: str = ""
    parts: Sequence[str] = ()
    bases: Sequence[FileName] = ()
    chunking: str = "fixed"
    owner: str = ""


# By the names that stores keep: why an upload can never become its file.
_FAILURES: Final[Mapping[str, type[ChunkstoreError]]] = {
    "precondition-failed": PreconditionFailed,
    "content-mismatch": ContentMismatch,
    "inconsistent-length": InconsistentLength,
    "too-large": TooLarge,
    "part-gone": PartGone,
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


class UploadState(enum.Enum):
    """How far an upload is."""

    OPEN = enum.auto()
    WHOLE = enum.auto()
    COMPLETE = enum.auto()
    FAILED = enum.auto()


@dataclass(frozen=True, slots=True)
class ResumableUpload:
    """An upload as the store keeps it.

    `offset` is how many bytes are confirmed, `length` how many there will be, None until that is
    known; `tail` are those of the confirmed bytes that fill no chunk yet. `chunks` lists the
    whole chunks of them, None once the upload is complete; then `digest` is that of the file.
    `known_digest` is that of a whole content that has been read and has passed its checks, where
    the store was told. `whole` says that all bytes have come, `failure` why it can never become
    its file; then nothing of its bytes is there any more.
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
    digest: Digest | None = None
    known_digest: Digest | None = None
    failure: Failure | None = None

    @property
    def state(self) -> UploadState:
        """How far the upload is."""
        if self.failure is not None:
            return UploadState.FAILED
        if self.digest is not None:
            return UploadState.COMPLETE
        return UploadState.WHOLE if self.whole else UploadState.OPEN

    @property
    def complete(self) -> bool:
        """Whether a name has been pointed at its content."""
        return self.state is UploadState.COMPLETE

    def can_grow(self, *, joining: bool = False) -> bool:
        """Whether bytes can be appended, for a concatenation by `joining` its parts alone."""
        if self.spec.kind is UploadKind.CONCATENATION and not joining:
            return False
        return self.state is UploadState.OPEN

    def require_not_failed(self) -> None:
        """Raise why the upload can never become its file, if it cannot: one of FATAL."""
        if self.failure is not None:
            raise self.failure.to_error()

    def require_appendable(self) -> None:
        """Refuse whatever a client would append, unless it may be nothing to what is whole.

        Raises:
            One of FATAL: the upload has failed.
            Forbidden: its bytes come from its parts.
            UploadCompleted: it is complete.
        """
        self.require_not_failed()
        if self.spec.kind is UploadKind.CONCATENATION:
            raise Forbidden("The bytes of this upload come from its parts.")
        if self.complete:
            raise UploadCompleted
