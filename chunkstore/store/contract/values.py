"""What a store answers with: files, folders, pages of them, and what an edit came to."""

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

    `content` is the whole of it where it came along, else None.
    """

    name: FileName
    manifest: Manifest
    media_type: str
    created: datetime
    modified: datetime
    content: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def validators(self) -> Validators:
        """What conditional requests are judged by."""
        return Validators(str(self.manifest.digest), self.modified)


@dataclass(frozen=True, slots=True)
class Folder:
    """A prefix of names: it was made, or something lies in it."""

    name: FolderName


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a folder: what lies in it, each part in order of its UTF-8 bytes.

    `next` is the cursor at which the next page begins, None on the last one.
    """

    files: Sequence[File]
    folders: Sequence[FolderName]
    next: str | None


@dataclass(frozen=True, slots=True)
class Applied:
    """What an edit came to: whether it replaced a file or a folder."""

    replaced: bool


@dataclass(frozen=True, slots=True)
class Committed(Applied):
    """What a `Put` came to; `new_chunks` and `new_size` count what was not known before."""

    file: File
    new_chunks: int
    new_size: int
