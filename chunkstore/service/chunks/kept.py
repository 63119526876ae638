"""Reading chunks of a content as they are kept: none is decoded, and each comes once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged, TooLarge
from chunkstore.core.manifest import ChunkList
from chunkstore.core.packs import HEAD_SIZE, MAX_PACK_SIZE, Record
from chunkstore.core.ranges import ByteRange
from chunkstore.service.chunks.windows import Octets
from chunkstore.service.memory import Account, Reservation
from chunkstore.service.resumable.packs import MAX_DIGESTS
from chunkstore.store.contract.chunks import Chunks

_WINDOW_SIZE: Final = 512 * 1024
# What a record takes in memory beside its bytes.
_RECORD_COST: Final = 512
# What it takes to remember a digest.
_SEEN_COST: Final = 128


class KeptReader:
    """Reads a pack of chunks of one list, window by window (`WindowReader`).

    The ranges ascend and are disjoint. Each chunk that has a byte in one of them comes once, in the
    order of the list; one that is in it again may be repeated behind `MAX_DIGESTS` others.

    Raises:
        TooLarge: the ranges have more bytes than a pack may have.
    """

    def __init__(
        self, store: Chunks, memory: Account, chunks: ChunkList, ranges: Sequence[ByteRange]
    ) -> None:
        if sum(map(len, ranges)) > MAX_PACK_SIZE:
            raise TooLarge(f"The ranges can have {MAX_PACK_SIZE} bytes together.")
        self._store = store
        self._memory = memory
        self._chunks = chunks
        # Those that are still to be read, the next one last.
        self._ranges = list(reversed(ranges))
        self._start = 0
        self._seen: set[Digest] = set()
        self._window: list[tuple[int, Record]] = []
        # How much of the next record was sent, and what it began with.
        self._sent, self._head = 0, b""

    async def read(self, instead_of: Reservation | None) -> Octets | None:
        """Return the next records, None if there are no more."""
        # Freed before others are waited for.
        self._window = []
        remembered = _SEEN_COST * len(self._seen)
        least = self._chunks.chunk_size + _RECORD_COST
        reservation = await self._memory.reserve(
            least + remembered, max(least, _WINDOW_SIZE) + remembered, instead_of=instead_of
        )
        try:
            self._window = await self._read_records(reservation.size - remembered)
            pieces = self._pieces()
        except BaseException:
            reservation.release()
            raise
        if not pieces:
            reservation.release()
            return None
        return Octets(pieces, reservation)

    def unread(self, size: int) -> None:
        """Have the last `size` bytes of the last window come again."""
        while size > 0:
            start, record = self._window.pop()
            length = HEAD_SIZE + len(record.encoded.content)
            self._sent, self._head = max(0, length - size), record.head
            size -= length
            self._seen.discard(record.digest)
            self._ranges.append(ByteRange(start, start + record.size))
            self._start = start

    def _pieces(self) -> list[bytes]:
        pieces: list[bytes] = []
        for _, record in self._window:
            head, content = record.head, record.encoded.content
            if self._sent:
                if head != self._head:
                    # It was repaired meanwhile, and is kept in another way.
                    raise StoreDamaged
                content = content[max(0, self._sent - len(head)) :]
                head = head[self._sent :]
                self._sent = 0
            pieces += [head, content]
        return pieces

    async def _read_records(self, room: int) -> list[tuple[int, Record]]:
        """Return records of about `room` bytes, or of one chunk, with the offsets of the chunks."""
        records: list[tuple[int, Record]] = []
        least = self._chunks.chunk_size + _RECORD_COST
        while self._ranges and (room >= least or not records):
            bounds = self._ranges[-1]
            start = max(bounds.start, self._start)
            if start >= bounds.stop:
                self._ranges.pop()
                continue
            most = max(room - _RECORD_COST, self._chunks.chunk_size)
            kept = await self._store.read_kept(self._chunks, start, bounds.stop, most)
            start = kept.start
            for record in kept.records:
                if self._is_fresh(record.digest):
                    records.append((start, record))
                    room -= _RECORD_COST + len(record.encoded.content)
                start += record.size
            self._start = start
        return records

    def _is_fresh(self, digest: Digest) -> bool:
        """Whether a chunk comes for the first time, as far as is remembered."""
        if digest in self._seen:
            return False
        if len(self._seen) < MAX_DIGESTS:
            self._seen.add(digest)
        return True
