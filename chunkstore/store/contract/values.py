"""Values that a store returns: files, folders, pages of them, and results of edits."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from chunkstore.core.conditional import Validators
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import FileName, FolderName
from chunkstore.core.timestamps import to_datetime


class File(NamedTuple):
    """A name that points at file content.

    It is the tuple of what is kept of it, because lists have thousands of files: values that few
    of them are asked for are made when they are. `created_us` and `modified_us` are timestamps.
    `content` is all of the content where it came along with a look-up, else None.
    """

    name: FileName
    manifest_id: int
    raw_digest: bytes
    size: int
    chunk_size: int
    chunk_count: int
    raw_list_digest: bytes
    media_type: str
    created_us: int
    modified_us: int
    content: bytes | None = None

    @classmethod
    def of(
        cls, name: FileName, manifest: Manifest, media_type: str, created_us: int, modified_us: int
    ) -> File:
        """Return the file of this name whose content a manifest has."""
        return cls(
            name,
            manifest.id,
            manifest.digest.raw,
            manifest.size,
            manifest.chunk_size,
            manifest.chunk_count,
            manifest.list_digest.raw,
            media_type,
            created_us,
            modified_us,
        )

    @property
    def manifest(self) -> Manifest:
        """The chunk list of the content."""
        return Manifest(
            self.manifest_id,
            self.size,
            self.chunk_size,
            Digest(self.raw_digest),
            self.chunk_count,
            Digest(self.raw_list_digest),
        )

    @property
    def etag(self) -> str:
        """The digest of the content, in hexadecimal digits."""
        return self.raw_digest.hex()

    @property
    def created(self) -> datetime:
        """When the name was made, or what a client says of it."""
        return to_datetime(self.created_us)

    @property
    def modified(self) -> datetime:
        """When the name was last given content, or what a client says of it."""
        return to_datetime(self.modified_us)

    @property
    def validators(self) -> Validators:
        """What conditional requests are evaluated against."""
        return Validators(self.etag, self.modified)


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A name of which only that it is a file's can be told: it can be put again, or deleted."""

    name: FileName


@dataclass(frozen=True, slots=True)
class Folder:
    """A prefix of names that was made, or in which something lies."""

    name: FolderName


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a listing: files and folders, each in order of their UTF-8 bytes.

    `next` is where the next page continues, None on the last one. Properties are kept with those
    of the files that are `described`, and nobody has a lock unless the page `may_be_locked`: so
    who tells of these need not ask for what is not there.
    """

    files: Sequence[File]
    folders: Sequence[FolderName]
    next: str | None
    described: Set[FileName]
    may_be_locked: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of an edit: whether it replaced a file or a folder."""

    replaced: bool


@dataclass(frozen=True, slots=True)
class Committed(Applied):
    """The result of a `Put`; `new_chunks` and `new_size` count what was new to the store."""

    file: File
    new_chunks: int
    new_size: int
