"""The state machine of resumable uploads, one table and one function for every store.

A store loads an upload, locks it, asks `advance` what becomes of it by an event, and saves that.
So no rule of uploads, and no message about one, is in a store. An upload is

- **open** while bytes come;
- **whole** once the last one has come: a part of a concatenation stays so;
- **complete** when a name points at its content, which belongs to the file from then on: a part
  that became a file by itself can be part of nothing else;
- **failed** when it can never become its file: it keeps no bytes.

`TRANSITIONS` says which event leads where.

**Leases.** A request that wants to append begins with `Acquire`, which leases it the upload and
gives it the next epoch as its fencing token. What it appends carries that epoch, and is refused
once another request has acquired the upload, in whichever process. So of two requests the newer
one wins.

**Confirmed and not.** `offset` counts bytes that are confirmed: told to the client, never taken
back. Chunks may be appended ahead of them, for content that is to be verified first; the next
`Acquire` removes what was never confirmed. Bytes behind the last whole chunk are the tail, kept
with the upload, so that progress does not depend on the chunk size.

**Packs.** What an upload has been sent to be referred to by its list is held with `Hold`, in any
order: that changes neither its list nor its lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeAlias

from chunkstore.core.chunking import AnyChunk, size_of
from chunkstore.core.digest import Digest
from chunkstore.core.errors import NotFound, PartGone, UploadCompleted, UploadSuperseded
from chunkstore.core.manifest import ChunkList
from chunkstore.store.contract.resumable import (
    Failure,
    ResumableUpload,
    UploadKind,
    UploadState,
)


@dataclass(frozen=True, slots=True)
class Acquire:
    """Lease the upload: who held it cannot append any more. What was not confirmed is removed.

    Where nothing can be appended nobody loses it; nor does who is `joining` the parts of a
    concatenation to somebody who is not.
    """

    joining: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """What an append confirms: bytes up to `offset`, the last of them, too few for a chunk, `tail`.

    `length` is recorded unless None; the upload lasts until `expires` at least.
    """

    offset: int
    tail: bytes
    length: int | None
    expires: datetime


@dataclass(frozen=True, slots=True)
class Append:
    """Add the next chunks, from offset `start` of the list on, under the lease with `epoch`.

    Without `progress` they are not confirmed yet. All unfinished uploads together may have at
    most `max_unfinished` bytes in the store, None for no bound.
    """

    epoch: int
    start: int
    chunks: Sequence[AnyChunk]
    progress: Progress | None
    max_unfinished: int | None = None

    @property
    def stop(self) -> int:
        """Where the list ends then."""
        return self.start + size_of(self.chunks)


@dataclass(frozen=True, slots=True)
class AppendLast(Append):
    """Add the last chunks, all confirmed: no byte will follow. Harmless when made again."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep a pack of chunks for what is to be appended; no lease is needed.

    It counts for `size` bytes among what is unfinished, of which there may be `max_unfinished`,
    None for no bound. The upload lasts until `expires` at least. This is part of `Uploads.hold`,
    never an event by itself.
    """

    size: int
    expires: datetime
    max_unfinished: int | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """Append all of a whole part at `offset`: its list of chunks is copied, no byte is.

    What the part has behind its last whole chunk becomes a chunk too, whatever its length.
    """

    part_id: str
    epoch: int
    offset: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class Renew:
    """Let the upload last until `expires` at least, if `epoch` is still that of its lease."""

    epoch: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class NoteDigest:
    """Keep the digest of a whole upload that has been read, so that it is read once."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class Fail:
    """Note that the upload can never become its file. Its bytes go, and count no more."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Complete:
    """A name points at the content, whose digest this is. The upload stays known until `expires`.

    This is part of a `Put`, never an event by itself.
    """

    digest: Digest
    expires: datetime


@dataclass(frozen=True, slots=True)
class Delete:
    """Forget the upload, in whichever state; a file that it became stays."""


Event: TypeAlias = Acquire | Append | Join | Renew | NoteDigest | Fail | Delete
Transition: TypeAlias = Acquire | Append | Hold | Join | Renew | NoteDigest | Fail | Complete

# Which events change something in which state, and the state then. Of those that change nothing
# `_leave_or_refuse` says which are refused.
TRANSITIONS: Final[Mapping[UploadState, Mapping[type[Transition], UploadState]]] = {
    UploadState.OPEN: {
        Acquire: UploadState.OPEN,
        Append: UploadState.OPEN,
        AppendLast: UploadState.WHOLE,
        Hold: UploadState.OPEN,
        Join: UploadState.OPEN,
        Renew: UploadState.OPEN,
        Fail: UploadState.FAILED,
    },
    UploadState.WHOLE: {
        Renew: UploadState.WHOLE,
        NoteDigest: UploadState.WHOLE,
        Fail: UploadState.FAILED,
        Complete: UploadState.COMPLETE,
    },
    UploadState.COMPLETE: {},
    UploadState.FAILED: {},
}


def advance(
    upload: ResumableUpload, event: Transition, part: ResumableUpload | None = None
) -> ResumableUpload:
    """Return the upload as an event leaves it: the very same one if that changes nothing.

    `part` is the upload that a `Join` names, None if there is none.

    Raises:
        UploadSuperseded: bytes would be appended under a lease that is not the newest, or to what
            takes none any more.
        PartGone, NotFound, one of FATAL: as `require_part`.
        NotFound: what would be completed is not whole, or has been completed before.
        UploadCompleted, Forbidden, one of FATAL: a pack would be held for what takes no bytes.
    """
    state = TRANSITIONS[upload.state].get(type(event))
    if state is None:
        return _leave_or_refuse(upload, event)
    match event:
        case Acquire(joining):
            if not upload.can_grow(joining=joining):
                return upload
            return replace(upload, epoch=upload.epoch + 1)
        case Append():
            return _append(upload, event, whole=state is UploadState.WHOLE)
        case Join():
            return _join(upload, event, require_part(part))
        case Hold(expires=expires):
            upload.require_appendable()
            return replace(upload, expires=max(upload.expires, expires))
        case Renew(epoch, expires):
            if epoch != upload.epoch or expires <= upload.expires:
                return upload
            return replace(upload, expires=expires)
        case NoteDigest(digest):
            return replace(upload, known_digest=digest)
        case Fail(failure):
            return replace(upload, failure=failure, tail=b"", chunks=_list_of(upload, 0))
        case Complete(digest, expires):
            return replace(upload, digest=digest, expires=expires, tail=b"", chunks=None)


def _leave_or_refuse(upload: ResumableUpload, event: Transition) -> ResumableUpload:
    """Return an upload in whose state an event changes nothing, or refuse the event."""
    match event:
        case Acquire() | Renew() | NoteDigest() | Fail():
            return upload
        case AppendLast() if upload.whole and _is_repeated(upload, event):
            return upload
        case Complete():
            raise NotFound("There is no such upload to complete.")
        case Hold():
            upload.require_appendable()
            raise UploadCompleted
        case _:
            raise UploadSuperseded


def _append(upload: ResumableUpload, event: Append, *, whole: bool) -> ResumableUpload:
    assert upload.chunks is not None
    progress = event.progress
    if event.start < upload.chunks.size and _is_repeated(upload, event):
        return upload
    in_place = event.start >= upload.chunks.size
    if progress is None:
        assert not whole
        _require_lease(upload, event.epoch, in_place)
        return replace(
            upload, chunks=replace(upload.chunks, chunk_size=_chunk_size_after(upload, event))
        )
    _require_lease(upload, event.epoch, in_place and progress.offset >= upload.offset)
    assert event.stop == progress.offset - len(progress.tail)
    return replace(
        upload,
        offset=progress.offset,
        length=upload.length if progress.length is None else progress.length,
        whole=whole,
        expires=max(upload.expires, progress.expires),
        tail=progress.tail,
        chunks=replace(_list_of(upload, event.stop), chunk_size=_chunk_size_after(upload, event)),
    )


def _chunk_size_after(upload: ResumableUpload, event: Append) -> int:
    """Return the chunk size of a list to which an append may add larger chunks that were known."""
    assert upload.chunks is not None
    return max([upload.chunks.chunk_size, *(chunk.size for chunk in event.chunks)])


def _join(upload: ResumableUpload, event: Join, part: ResumableUpload) -> ResumableUpload:
    assert upload.chunks is not None
    assert part.chunks is not None
    _require_lease(upload, event.epoch, event.offset == upload.offset)
    if part.state is not UploadState.WHOLE:
        raise NotFound("Not all bytes of a part have come yet.")
    assert upload.offset == upload.chunks.size
    offset = upload.offset + part.offset
    # Parts may have been begun with another chunk size than the store has now.
    chunk_size = max(upload.chunks.chunk_size, part.chunks.chunk_size)
    return replace(
        upload,
        offset=offset,
        expires=max(upload.expires, event.expires),
        chunks=replace(upload.chunks, size=offset, chunk_size=chunk_size),
    )


def require_part(part: ResumableUpload | None) -> ResumableUpload:
    """Return an upload that a concatenation can be made of, now or once it is whole.

    Raises:
        PartGone: it does not exist, or has become a file by itself.
        NotFound: it is not a part. One of FATAL: it has failed.
    """
    if part is None:
        raise PartGone
    if part.spec.kind is not UploadKind.PART:
        raise NotFound("What is to be concatenated is not a partial upload.")
    if part.complete:
        raise PartGone
    part.require_not_failed()
    return part


def _is_repeated(upload: ResumableUpload, event: Append) -> bool:
    """Whether the upload is where it is by this very append, whose answer was lost."""
    progress = event.progress
    return progress is not None and upload.epoch == event.epoch and upload.offset == progress.offset


def _require_lease(upload: ResumableUpload, epoch: int, in_place: bool) -> None:
    """Refuse what comes under another lease than the newest, or goes elsewhere than behind all."""
    if upload.epoch != epoch or not in_place:
        raise UploadSuperseded


def _list_of(upload: ResumableUpload, size: int) -> ChunkList:
    """Return the upload's chunk list as it is with so many bytes."""
    assert upload.chunks is not None
    return replace(upload.chunks, size=size)
