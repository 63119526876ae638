"""Results of maintenance: what a store holds, and what collections, scrubs and backups did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName
from chunkstore.store.contract.uploads import Unfinished


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed, or would remove; `size` is that of the chunks as stored."""

    manifests: int = 0
    chunks: int = 0
    size: int = 0

    def __add__(self, other: Collected) -> Collected:
        return Collected(
            self.manifests + other.manifests, self.chunks + other.chunks, self.size + other.size
        )


@dataclass(frozen=True, slots=True)
class Damage:
    """A chunk or a chunk list that does not match its digest, or a name with other content.

    `files` are the names of all files that are affected; `digest` is that of the chunk or of the
    content, None for a name, because nothing says what it was of.
    """

    kind: Literal["chunk", "content", "name"]
    digest: Digest | None
    files: Sequence[FileName]


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What one step of a scrub checked and found; `size` is that of the chunks as stored."""

    chunks: int = 0
    size: int = 0
    damage: Sequence[Damage] = ()


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """The result of a whole scrub; `size` is in bytes, `damaged` the number of `Damage`s."""

    started: datetime
    finished: datetime
    chunks: int
    size: int
    damaged: int


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a store can keep its promises, as far as this process has seen since its start.

    `faults` are sentences, none if all is well; `full` says why new content would be refused for
    lack of space, None if it would not; `scrub` is the last report.
    """

    faults: Sequence[str]
    full: str | None
    scrub: ScrubReport | None


@dataclass(frozen=True, slots=True)
class Copied:
    """What one step of a backup copied; `size` is that of the chunks as stored.

    `part`, from 0 to 1, is the part of the source that is done.
    """

    chunks: int
    size: int
    part: float
    damage: Sequence[Damage] = ()


@dataclass(frozen=True, slots=True)
class Reclaimable:
    """What collections will give back, in bytes.

    `size` is that of the chunks that neither a file nor an upload needs, `stored_size` that of the
    same chunks as stored, `free_size` what is free within the database.
    """

    size: int
    stored_size: int
    free_size: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store holds.

    `files`, `contents` (different ones), `chunks` and `damaged` (chunks marked so) are numbers.
    Sizes are in bytes: `logical_size` is the sum of all files, `unique_size` that of all chunks,
    `stored_size` that of the chunks as stored, compressed where it pays, `database_size` what the
    database takes on disk, `chunk_size` that of new content. `reclaimable` is what collections will
    give back, None where that is not known; `unfinished` is of resumable uploads; `scrub` is the
    last report; `versions` names the software and formats in use.
    """

    files: int
    contents: int
    chunks: int
    damaged: int
    logical_size: int
    unique_size: int
    stored_size: int
    reclaimable: Reclaimable | None
    database_size: int
    chunk_size: int
    unfinished: Unfinished
    scrub: ScrubReport | None
    versions: dict[str, str]

    @property
    def ratio(self) -> float | None:
        """Bytes of files per byte stored for them; None where that is not known."""
        return _saving(self.logical_size, self._needed_stored_size)

    @property
    def deduplication(self) -> float | None:
        """The part of `ratio` that is due to storing equal chunks once."""
        return _saving(self.logical_size, self._needed_size)

    @property
    def compression(self) -> float | None:
        """The part of `ratio` that is due to compression."""
        return _saving(self._needed_size, self._needed_stored_size)

    @property
    def reclaimable_size(self) -> int | None:
        """Bytes of the database that collections will free; None where that is not known."""
        found = self.reclaimable
        return None if found is None else found.stored_size + found.free_size

    @property
    def _needed_size(self) -> int:
        return self.unique_size - (self.reclaimable.size if self.reclaimable else 0)

    @property
    def _needed_stored_size(self) -> int:
        return self.stored_size - (self.reclaimable.stored_size if self.reclaimable else 0)


def _saving(given: int, kept: int) -> float | None:
    """Return given / kept, None if more is kept than given.

    That is so where unfinished uploads are included, or garbage whose amount is not known.
    """
    return given / kept if 0 < kept <= given else None
