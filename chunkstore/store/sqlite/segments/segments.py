"""The segments of an open database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chunkstore.core.errors import StoreFull
from chunkstore.store.sqlite.engine.disk_space import DiskReserve
from chunkstore.store.sqlite.segments.folder import SegmentFolder, new_session
from chunkstore.store.sqlite.segments.reading import SegmentReaders
from chunkstore.store.sqlite.segments.writing import SegmentFile

# Each takes a descriptor. What else comes at the same time goes to the database.
_MOST_WRITTEN_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class SegmentBounds:
    """What goes to segments: `least` bytes at once, less goes to the database through its log.

    A segment is full when it has about `size` bytes.
    """

    least: int = 1024 * 1024
    size: int = 64 * 1024 * 1024


BOUNDS: Final = SegmentBounds()


@dataclass(frozen=True, slots=True)
class Segments:
    """Segments of `folder` are read by `readers`; large contents go to new ones if `wanted`.

    `reserve` tells whether there is room; it is None where nothing is written.
    """

    folder: SegmentFolder
    readers: SegmentReaders
    reserve: DiskReserve | None
    wanted: bool
    bounds: SegmentBounds

    @classmethod
    def of(
        cls,
        database: Path,
        reserve: DiskReserve | None = None,
        *,
        wanted: bool = False,
        bounds: SegmentBounds = BOUNDS,
    ) -> Segments:
        """Return the segments of the database at this path, in a new session."""
        folder = SegmentFolder(database, new_session())
        return cls(folder, SegmentReaders(folder), reserve, wanted, bounds)

    def are_for(self, size: int) -> bool:
        """Whether so many bytes that come at once go to a segment."""
        return self.wanted and size >= self.bounds.least

    def begin(self) -> SegmentFile | None:
        """Return a new segment, whose file is created with its first bytes; None for none."""
        if not self.wanted or len(self.folder.held()) >= _MOST_WRITTEN_AT_ONCE:
            return None
        return SegmentFile(self.folder, self._check_room)

    def begin_rewriting(self) -> SegmentFile | None:
        """Return a new segment for bytes that others have: it may use space that is kept free."""
        return SegmentFile(self.folder, lambda size: None) if self.wanted else None

    def _check_room(self, size: int) -> None:
        if self.reserve is not None and (reason := self.reserve.why_full(size)) is not None:
            raise StoreFull(reason)
