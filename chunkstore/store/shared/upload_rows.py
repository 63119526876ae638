"""Resumable uploads between their rows and the contract, the same for every store."""

from __future__ import annotations

import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from chunkstore.core.chunking import KnownChunk
from chunkstore.core.conditional import Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import FileName
from chunkstore.core.timestamps import to_datetime, to_microseconds
from chunkstore.store.contract.resumable import (
    Failure,
    ResumableUpload,
    UploadKind,
    UploadSpec,
    UploadState,
)
from chunkstore.store.contract.upload_state import (
    Acquire,
    Append,
    Fail,
    Hold,
    Join,
    Transition,
    advance,
)
from chunkstore.store.contract.uploads import NOTHING, Bounds, Unfinished
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.lists import OpenManifest
from chunkstore.store.shared.times import now_microseconds

# Of an upload's id: as many as a digest has, far beyond guessing.
_ID_BYTES: Final = 32
# What a chunk that is only referred to counts for in bytes: about what its place takes.
ROW_SIZE: Final = 64


def new_upload_id() -> str:
    """Return an id that no upload has."""
    return secrets.token_urlsafe(_ID_BYTES)


def can_exist(upload_id: str) -> bool:
    """Whether an upload can have this id; others are no text to some databases."""
    return upload_id.isascii() and "\0" not in upload_id


@dataclass(frozen=True, slots=True)
class UploadRow:
    """The columns of an upload, by their names. Times are in microseconds."""

    id: str
    kind: str
    target: str | None
    media_type: str
    conditions: str
    checks: str
    metadata: str
    received: int
    length: int | None
    whole: bool
    epoch: int
    created: int
    expires: int
    tail: bytes
    manifest: int | None
    chunk_size: int | None
    digest: bytes | None
    known_digest: bytes | None
    failure: str | None
    new_chunks: int
    new_size: int
    extent: int
    spared: int
    bases: str
    chunking: str
    owner: str
    used: bool

    def to_columns(self) -> dict[str, Any]:
        """Return the columns by their names."""
        return {name: getattr(self, name) for name in self.__slots__}

    def to_upload(self, parts: Sequence[str]) -> ResumableUpload:
        """Return the upload that has this row and is made of these parts."""
        chunks = None
        if self.manifest is not None:
            assert self.chunk_size is not None
            size = self.received - len(self.tail) if self.failure is None else 0
            chunks = ChunkList(self.manifest, size, self.chunk_size)
        return ResumableUpload(
            id=self.id,
            spec=self._to_spec(parts),
            offset=self.received,
            length=self.length,
            whole=bool(self.whole),
            epoch=self.epoch,
            created=to_datetime(self.created),
            expires=to_datetime(self.expires),
            tail=self.tail,
            chunks=chunks,
            digest=None if self.digest is None else Digest(self.digest),
            known_digest=None if self.known_digest is None else Digest(self.known_digest),
            failure=None if self.failure is None else Failure(**json.loads(self.failure)),
        )

    def _to_spec(self, parts: Sequence[str]) -> UploadSpec:
        headers: dict[str, str] = json.loads(self.conditions)
        checks: dict[str, str] = json.loads(self.checks)
        return UploadSpec(
            kind=UploadKind(self.kind),
            target=None if self.target is None else FileName(self.target),
            media_type=self.media_type,
            conditions=Conditions.from_headers(
                lambda field: [headers[field]] if field in headers else []
            ),
            checks={name: b64decode(value) for name, value in checks.items()},
            metadata=self.metadata,
            parts=tuple(parts),
            bases=tuple(FileName(name) for name in json.loads(self.bases)),
            chunking=self.chunking,
            owner=self.owner,
        )


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload, and what a store notes of it besides.

    `extent` bytes of it are in the store, also such as are not confirmed, a chunk at least; `new`
    is what of them was not known before; `used` says that a file was made of this part. By
    `spared` bytes it has less in the store than its confirmed bytes are: chunks that it only
    referred to count for their places, and packs for what they brought.
    """

    upload: ResumableUpload
    extent: int
    new: NewBytes
    spared: int = 0
    used: bool = False

    @classmethod
    def begin(
        cls,
        spec: UploadSpec,
        length: int | None,
        expires: datetime,
        *,
        manifest: int,
        chunk_size: int,
    ) -> StoredUpload:
        """Return a new upload, with a new id and an empty chunk list."""
        upload = ResumableUpload(
            id=new_upload_id(),
            spec=replace(spec, parts=tuple(spec.parts), bases=tuple(spec.bases)),
            offset=0,
            length=length,
            whole=False,
            epoch=0,
            created=to_datetime(now_microseconds()),
            expires=expires,
            tail=b"",
            chunks=ChunkList(manifest, 0, chunk_size),
        )
        return cls(upload, chunk_size, NewBytes())

    @classmethod
    def of(cls, row: UploadRow, parts: Sequence[str]) -> StoredUpload:
        """Return the upload that has this row and is made of these parts."""
        new = NewBytes(row.new_chunks, row.new_size)
        return cls(row.to_upload(parts), row.extent, new, row.spared, bool(row.used))

    def to_row(self) -> UploadRow:
        """Return the row that the upload has."""
        upload, spec, chunks = self.upload, self.upload.spec, self.upload.chunks
        checks = {name: b64encode(value).decode() for name, value in spec.checks.items()}
        return UploadRow(
            id=upload.id,
            kind=spec.kind.value,
            target=spec.target,
            media_type=spec.media_type,
            conditions=json.dumps(spec.conditions.to_headers()),
            checks=json.dumps(checks),
            metadata=spec.metadata,
            received=upload.offset,
            length=upload.length,
            whole=upload.whole,
            epoch=upload.epoch,
            created=to_microseconds(upload.created),
            expires=to_microseconds(upload.expires),
            tail=upload.tail,
            manifest=None if chunks is None else chunks.id,
            chunk_size=None if chunks is None else chunks.chunk_size,
            digest=None if upload.digest is None else upload.digest.raw,
            known_digest=None if upload.known_digest is None else upload.known_digest.raw,
            failure=_format_failure(upload.failure),
            new_chunks=self.new.new_chunks,
            new_size=self.new.new_size,
            extent=self.extent,
            spared=self.spared,
            bases=json.dumps(spec.bases),
            chunking=spec.chunking,
            owner=spec.owner,
            used=self.used,
        )

    @property
    def counted(self) -> Unfinished:
        """What it counts for among all that are unfinished."""
        upload = self.upload
        if self.used or upload.state in (UploadState.COMPLETE, UploadState.FAILED):
            return NOTHING
        return Unfinished.of(upload.spec.kind, self.extent, upload.offset)

    def open_manifest(self, size: int | None = None) -> OpenManifest:
        """Return the chunk list with its first `size` bytes, or with those that are confirmed."""
        chunks = self.upload.chunks
        assert chunks is not None
        return OpenManifest(chunks.id, chunks.chunk_size, chunks.size if size is None else size)

    def after(self, event: Transition, part: StoredUpload | None = None) -> StoredUpload:
        """Return it as `advance` says: the very same one if the event changes nothing."""
        upload = advance(self.upload, event, None if part is None else part.upload)
        if upload is self.upload:
            return self
        spared = self.spared + _spared_by(event)
        extent = self._extent_after(event, upload, spared)
        return replace(self, upload=upload, extent=extent, spared=spared)

    def _extent_after(self, event: Transition, upload: ResumableUpload, spared: int) -> int:
        match event:
            case Acquire():
                return max(upload.offset - spared, self.open_manifest().chunk_size)
            case Append():
                stop = max(upload.offset, event.stop)
                return max(stop - spared, self.open_manifest().chunk_size)
            case Hold(size):
                return self.extent + size
            case Join():
                return max(upload.offset, self.extent)
            case Fail():
                return 0
            case _:
                return self.extent

    def check_growth(self, before: StoredUpload, event: Append | Hold, present: Unfinished) -> None:
        """Refuse an event by which there would be more than it allows.

        Raises:
            TooMuchUnfinished: there would.
        """
        growth = self.counted.size - before.counted.size
        if growth > 0:
            Bounds(event.max_unfinished).check_growth(growth, present)


def _spared_by(event: Transition) -> int:
    """Return by how many bytes less the store has than an event confirms."""
    match event:
        case Append(chunks=chunks, progress=progress) if progress is not None:
            # Those that are not confirmed are counted whole: they may go, and come again.
            known = (chunk.size for chunk in chunks if isinstance(chunk, KnownChunk))
            return sum(size - ROW_SIZE for size in known)
        case Hold(size):
            return -size
        case _:
            return 0


def _format_failure(failure: Failure | None) -> str | None:
    if failure is None:
        return None
    return json.dumps({"reason": failure.reason, "detail": failure.detail})
