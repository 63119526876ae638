"""What a store tells of itself: what it holds, and what came of looking after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from chunkstore.digest import Digest
from chunkstore.names import FileName


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
class Copied:
    """What one step of a backup copied; `size` is that of the chunks as stored.

    `part`, from 0 to 1, is how much of the source has been gone through.
    """

    chunks: int
    size: int
    part: float
    damage: Sequence[Damage] = ()


@dataclass(frozen=True, slots=True)
class Stats:
    """What a store holds.

    `logical_size` is the sum of all files' sizes, `unique_size` that of the chunks kept for them,
    `stored_size` that of these as they are kept, compressed where that pays, all in bytes;
    `damaged` counts chunks found damaged and not repaired yet; `database_size` is what the
    database takes on disk; `scrub` is the last report; `versions` names the software and formats
    in use.
    """

    files: int
    contents: int
    chunks: int
    damaged: int
    logical_size: int
    unique_size: int
    stored_size: int
    database_size: int
    chunk_size: int
    scrub: ScrubReport | None
    versions: dict[str, str]

    @property
    def ratio(self) -> float | None:
        """Bytes given for each byte kept; None for an empty store."""
        return self.logical_size / self.stored_size if self.stored_size else None

    @property
    def deduplication(self) -> float | None:
        """The part of `ratio` that is due to keeping equal chunks once."""
        return self.logical_size / self.unique_size if self.unique_size else None

    @property
    def compression(self) -> float | None:
        """The part of `ratio` that is due to compression."""
        return self.unique_size / self.stored_size if self.stored_size else None
