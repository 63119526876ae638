"""All errors of chunkstore, under one root.

The first line of a class's docstring is its default message. Messages are for the person who
made the request: they say what to do and name no internals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


class ChunkstoreError(Exception):
    """Something went wrong in chunkstore.

    `edit` is the place, from 0 on, of the edit that failed, where several were made at once.
    """

    edit: int | None = None

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])

    @property
    def for_clients(self) -> str:
        """What clients are told."""
        return str(self)


def describe_causes(error: BaseException) -> str:
    """Return an error and its chain of causes on one line, for the log."""
    texts: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = error
    # One that was raised from itself has no end.
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        texts.append(" ".join(f"{type(cause).__name__}: {cause}".split()))
        cause = cause.__cause__
    return ", from ".join(texts)


class InvalidRequest(ChunkstoreError):
    """The request cannot be understood."""


class InvalidName(InvalidRequest):
    """The name is not one that a file or a folder can have."""


class ContentMismatch(InvalidRequest):
    """The content that arrived does not match the digest sent with it."""


class DigestMismatch(InvalidRequest):
    """A chunk that arrived does not match its digest; those before it were kept."""


class NotFound(ChunkstoreError):
    """There is no file or folder of this name."""


class AlreadyExists(ChunkstoreError):
    """There is something of this name already."""


class NameConflict(ChunkstoreError):
    """A file and a folder cannot have the same name."""


class TooManyNames(NameConflict):
    """A folder has too many names in it to be changed beside other edits; change it by itself."""


class Forbidden(ChunkstoreError):
    """The request is understood and refused."""


class InsecureLogin(Forbidden):
    """Passwords and tokens are not taken without TLS, as others can read them; use https."""


class VerbLacking(Forbidden):
    """You have no right to do this here."""

    def __init__(self, name: str, verb: str) -> None:
        """`verb` is what may not be done with `name`, or everywhere below it."""
        super().__init__(f"You have no right to {verb} {name or '/'!r}.")


class PreconditionFailed(ChunkstoreError):
    """The file is not in the state that the request makes a condition."""


class TooLarge(ChunkstoreError):
    """The content is larger than this server accepts."""


class TooManyProperties(ChunkstoreError):
    """The properties of one name would be too large together."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is told of a lock: what it was taken on, by whom, and when it ends.

    `name` ends in a slash for a folder. `by` is what whoever took it says of themselves, "" for
    nothing. `principal` is who that is, which is told to themselves alone.
    """

    name: str
    by: str
    principal: str
    expires: datetime


class Locked(ChunkstoreError):
    """A lock is in the way; send its token, or wait until it is gone.

    `asker` is who is told so, "" for nobody in particular.
    """

    asker: str = ""

    def __init__(self, locks: Sequence[Held], message: str | None = None) -> None:
        """`locks` are those in the way, or the first of them."""
        super().__init__(message)
        self.locks = locks
        self._is_worded = message is not None

    @property
    def roots(self) -> Sequence[str]:
        """The names that the locks were taken on."""
        return list(dict.fromkeys(lock.name for lock in self.locks))

    def is_own(self, lock: Held) -> bool:
        """Whether whoever is told of a lock has taken it."""
        return lock.principal != "" and lock.principal == self.asker

    @property
    def for_clients(self) -> str:
        if self._is_worded or not self.locks:
            return str(self)
        lock = self.locks[0]
        by = " by you" if self.is_own(lock) else f" by {lock.by!r}" if lock.by else ""
        # The token of a lock that an account has taken opens nothing to others.
        is_of_use = lock.principal == "" or self.is_own(lock)
        way = (
            "send the token of the lock" if is_of_use else "have it broken by who has `admin` there"
        )
        return (
            f"{f'/{lock.name}'!r} is locked{by} until {lock.expires:%H:%M} UTC, if it is not"
            f" renewed. Try again then, or {way}."
        )


class TooManyLocks(ChunkstoreError):
    """There are as many locks as there may be; unlock some, or wait until they end."""


class UploadExpired(NotFound):
    """The upload has expired; begin it anew."""


class PartGone(NotFound):
    """A part does not exist any more, or has become a file by itself; upload the parts anew."""


class UploadCompleted(ChunkstoreError):
    """The upload is complete; nothing can be added to it."""


class UploadSuperseded(ChunkstoreError):
    """A newer request goes on with this upload; ask for its offset before going on here."""


class OffsetMismatch(ChunkstoreError):
    """The offset is not that of the upload."""

    def __init__(self, expected: int, provided: int) -> None:
        """`expected` is the offset of the upload, `provided` that of the request."""
        super().__init__(f"The upload is at offset {expected}, and the request at {provided}.")
        self.expected = expected
        self.provided = provided


class InconsistentLength(InvalidRequest):
    """The lengths given for the upload contradict each other or its content."""


class LengthExceeded(InconsistentLength):
    """More bytes came than the upload's length says."""


class ChunksMissing(ChunkstoreError):
    """The store lacks chunks that the request refers to; send them, then ask again."""

    def __init__(
        self, digests: Sequence[str], offset: int | None = None, *, count: int | None = None
    ) -> None:
        """`digests` are the chunks', in hexadecimal digits, each once, in the order of the request.

        `offset` is where the list of the upload ends that they were to be appended to, None where
        it is no upload's. `count` is how many are missing, if that is more than `digests`.
        """
        super().__init__()
        self.digests = digests
        self.offset = offset
        self.count = len(digests) if count is None else count


class InvalidAccountName(InvalidRequest):
    """A name of accounts and groups has letters, digits and . _ - + @ only."""


class PasswordRefused(InvalidRequest):
    """The password is not one that can be chosen."""


class SignInFailed(ChunkstoreError):
    """The name and password, or the token, are not right; with a second factor, send a token."""


class SignInNeeded(ChunkstoreError):
    """Only who has signed in may do this here."""


class CodeRefused(ChunkstoreError):
    """The code is not right, or was used before; take the next one."""


class PasswordNeeded(Forbidden):
    """It is too long ago that the password was given; give it again, then repeat the request."""


class SignOnFailed(ChunkstoreError):
    """Signing in with the other server has failed; begin again."""


class UnknownIdentity(Forbidden):
    """The other server knows you, but no account here is linked with that."""


class ProviderUnavailable(ChunkstoreError):
    """The server that signs you in does not answer as it should; try again, or use a password."""


class TooManyAttempts(ChunkstoreError):
    """Too many attempts to sign in have failed; try again later."""

    def __init__(self, retry_after_seconds: float) -> None:
        """After so many seconds another attempt is possible."""
        seconds = math.ceil(retry_after_seconds)
        super().__init__(
            f"Too many attempts to sign in have failed; try again in {seconds} seconds."
        )
        self.retry_after_seconds = retry_after_seconds


class SignInBusy(ChunkstoreError):
    """Too many passwords are being checked at the moment; try again."""


class AccountExists(ChunkstoreError):
    """There is an account or a group with this name, or one that looks the same."""


class NoSuchAccount(NotFound):
    """There is no such account, group, token, link or session."""


class NoSuchLink(NotFound):
    """There is no such link, or it is not valid any more."""


class LinkPasswordNeeded(SignInNeeded):
    """This link has a password."""


class LinkPasswordWrong(SignInFailed):
    """The password is not the one of this link."""


class LinkUsedUp(ChunkstoreError):
    """This link has been used as often as it may be."""


class LinkContentReplaced(ChunkstoreError):
    """What this link was made for has been replaced or moved away; ask for another link."""


class LinkFull(ChunkstoreError):
    """This link takes no more than it has been sent."""


class RecordsChanged(ChunkstoreError):
    """Somebody else has just changed the same; look at it again, then repeat the change."""


class RangeNotSatisfiable(ChunkstoreError):
    """None of the requested ranges lies within the content."""

    def __init__(self, size: int, message: str | None = None) -> None:
        """`size` is that of the whole file in bytes; answers state it (RFC 9110 §15.5.17)."""
        super().__init__(message or f"No requested range lies within the {size} bytes there are.")
        self.size = size


class LocalFileError(ChunkstoreError):
    """A file or folder of the file system cannot be read or written."""


class Crowded(ChunkstoreError):
    """The upload was slow while others waited for the memory that it took; try again."""


class QuotaExceeded(ChunkstoreError):
    """The quota of a folder does not allow so much; delete something there, or ask for more."""

    def __init__(
        self, folder: str | None = None, unit: str = "", limit: int = 0, used: int = 0
    ) -> None:
        """`limit` and `used` are of the folder, in `unit`: bytes or files; None tells nothing."""
        super().__init__(
            None
            if folder is None
            else f"The folder {f'/{folder}'!r} may have {limit:,} {unit} and has {used:,} by now;"
            " delete something there, or ask for more."
        )
        self.folder = folder
        self.unit = unit
        self.limit = limit
        self.used = used

    def without_figures(self) -> QuotaExceeded:
        """Return what may be told to anybody."""
        plain = QuotaExceeded()
        plain.edit = self.edit
        return plain


class StoreError(ChunkstoreError):
    """The store failed."""


class StoreFull(StoreError):
    """The disk that the store is on is full."""


class TooMuchUnfinished(StoreFull):
    """Unfinished uploads have all of --max-unfinished; try again when some ended or expired."""


class StoreUnavailable(StoreError):
    """The store cannot be reached at the moment; try again."""


class StoreFileUnavailable(StoreUnavailable):
    """A file of the store cannot be used at the moment.

    The message says which and why, for who runs the server. Clients are told what the base says.
    """

    @property
    def for_clients(self) -> str:
        return str(StoreUnavailable())


class StoreAway(StoreUnavailable):
    """The store's database does not answer at the moment; try again."""

    # The store logs once that it is away, and once that it is back; nothing else needs to log it.


class DatabaseReplaced(StoreAway):
    """The database was deleted or replaced under the server, which stores nothing any more."""


class DatabaseDamaged(StoreError):
    """The database itself is damaged, which no upload repairs; a backup has to be restored."""


class StoreDamaged(StoreError):
    """What is stored is damaged and was not sent; put the same content again to repair it."""


class StoreUnusable(StoreError):
    """The store cannot be opened."""


class StoreMissing(StoreUnusable):
    """There is no such file."""


class StoreInUse(StoreUnusable):
    """Another process has the store open for writing; stop it first."""


class ForeignLog(StoreUnusable):
    """The log beside the database belongs to another one."""


class NotAStore(StoreUnusable):
    """The file is not a chunkstore database."""


class NewerSchema(StoreUnusable):
    """The store was written by a newer chunkstore; upgrade this program to open it."""
