"""What a store tells of itself: what it holds, and what came of looking after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName


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
    """A chunk whose bytes are not what they were, or a content whose chunk list is not whole.

    `files` are all names that it touches.
    """

    kind: Literal["chunk", "content"]
    digest: Digest
    files: Sequence[FileName]


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What one step of a scrub checked and found; `size` is that of the chunks as stored."""

    chunks: int = 0
    size: int = 0
    damage: Sequence[Damage] = ()


@dataclass(frozen=True, slots=True)
class ScrubReport:
    """What a whole scrub came to; `size` is in bytes, `damaged` counts what was found so."""

    started: datetime
    finished: datetime
    chunks: int
    size: int
    damaged: int


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a store keeps its promises, as far as is known, also of the past of this process.

    `faults` are sentences, none where all is well; `full` says why new content would be refused
    for want of room, None if it would not; `scrub` is the report of the last one.
    """

    faults: Sequence[str]
    full: str | None
    scrub: ScrubReport | None


@dataclass(frozen=True, slots=True)
class Copied:
    """What one step of a backup copied; `size` is that of the chunks as stored.

    `part`, from 0 to 1, is how much of the source has been gone through.
    """

    chunks: int
    size: int
    part: float
    damage: Sequence[Damage] = ()


@dataclass(frozen=True, slots=True)
class Reclaimable:
    """What collections will give back, in bytes.

    `size` is that of the chunks that neither a file nor an upload needs, `stored_size` that of
    these as they are kept, `free_size` what the database has free within itself.
    """

    size: int
    stored_size: int
    free_size: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store holds.

    `logical_size` is the sum of all files' sizes, `unique_size` that of all chunks, `stored_size`
    that of these as they are kept, compressed where that pays, all in bytes; `reclaimable` is what
    of that, and besides, comes back by itself, None where that is not known; `damaged` counts
    chunks found damaged and not repaired yet; `database_size` is what the database takes on disk;
    `scrub` is the last report; `versions` names the software and formats in use.
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
    scrub: ScrubReport | None
    versions: dict[str, str]

    @property
    def ratio(self) -> float | None:
        """Bytes given for each byte kept for them; None where that is not known."""
        return _saving(self.logical_size, self._needed_stored_size)

    @property
    def deduplication(self) -> float | None:
        """The part of `ratio` that is due to policy equal chunks once."""
        return _saving(self.logical_size, self._needed_size)

    @property
    def compression(self) -> float | None:
        """The part of `ratio` that is due to compression."""
        return _saving(self._needed_size, self._needed_stored_size)

    @property
    def _needed_size(self) -> int:
        return self.unique_size - (self.reclaimable.size if self.reclaimable else 0)

    @property
    def _needed_stored_size(self) -> int:
        return self.stored_size - (self.reclaimable.stored_size if self.reclaimable else 0)


def _saving(given: int, kept: int) -> float | None:
    """Return given / kept.

    None if there is more kept than given: then unfinished uploads are among it, or what waits to be
    collected and is not known.
    """
    return given / kept if 0 < kept <= given else None
