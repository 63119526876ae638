"""Reading the list of a content, page by page, in one of the forms in which lists travel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chunkstore.core.chunking import KnownChunk, size_of
from chunkstore.core.manifest import ListHasher, Manifest
from chunkstore.core.ranges import ByteRange
from chunkstore.service.chunks.windows import Octets
from chunkstore.service.memory import Account, Reservation
from chunkstore.service.resumable.listing import ENTRY_COST
from chunkstore.store.contract.chunks import Chunks

_PAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins: its first chunk's offset, and the place of its form in the body."""

    offset: int
    position: int


class ListReader:
    """Reads the bytes `bounds` of the list of a file that is open (`WindowReader`).

    `to_bytes` returns entries as they travel. Who reads to the end is given the last page only if
    the list is the one that was sealed.
    """

    def __init__(
        self,
        store: Chunks,
        memory: Account,
        manifest: Manifest,
        to_bytes: Callable[[Sequence[KnownChunk]], bytes],
        bounds: ByteRange,
    ) -> None:
        self._store = store
        self._memory = memory
        self._manifest = manifest
        self._to_bytes = to_bytes
        self._bounds = bounds
        self._whole = ListHasher()
        self._next = self._last = _Place(0, 0)

    async def read(self, instead_of: Reservation | None) -> Octets | None:
        """Return the next page, None if there is no more."""
        size = _PAGE * ENTRY_COST
        reservation = await self._memory.reserve(size, size, instead_of=instead_of)
        try:
            octets = await self._read()
        except BaseException:
            reservation.release()
            raise
        # The entries were larger than what is made of them.
        reservation.split(max(0, reservation.size - len(octets))).release()
        return Octets([octets], reservation) if octets else None

    def unread(self, size: int) -> None:
        """Have the last `size` bytes of the last page come again."""
        stop = min(self._next.position, self._bounds.stop)
        self._bounds = ByteRange(stop - size, self._bounds.stop)
        self._next = self._last

    async def _read(self) -> bytes:
        """Return the bytes of the next page that has some of those wanted; none at the end."""
        while self._next.offset < self._manifest.size and self._next.position < self._bounds.stop:
            self._last = self._next
            # What was read before was added before.
            is_new = self._next.offset == self._whole.size
            page = await self._store.entries(
                self._manifest, self._next.offset, _PAGE, self._whole if is_new else None
            )
            octets = self._to_bytes(page)
            position = self._last.position
            self._next = _Place(self._last.offset + size_of(page), position + len(octets))
            start = max(0, self._bounds.start - position)
            octets = octets[start : max(0, self._bounds.stop - position)]
            if octets:
                return octets
        return b""
