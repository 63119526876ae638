"""Values that a store returns: files, folders, pages of them, and results of edits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chunkstore.core.conditional import Validators
from chunkstore.core.manifest import Manifest
from chunkstore.core.names import FileName, FolderName


@dataclass(frozen=True, slots=True)
class File:
    """A name that points at file content.

    `content` is all of that where it came along with a look-up, else None.
    """

    name: FileName
    manifest: Manifest
    media_type: str
    created: datetime
    modified: datetime
    content: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def validators(self) -> Validators:
        """What conditional requests are evaluated against."""
        return Validators(str(self.manifest.digest), self.modified)


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

    `next` is where the next page continues, None on the last one.
    """

    files: Sequence[File]
    folders: Sequence[FolderName]
    next: str | None


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
