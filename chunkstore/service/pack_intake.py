"""Intake of a pack: chunks that a client cut, each with its digest, in any order.

A record is decoded and compared with its digest off the event loop, by the batch, and stored while
the next ones come. What came before a bad record is stored, and so is what came whole before a
connection broke.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Codec, may_be_kept
from chunkstore.core.errors import Crowded, DigestMismatch, InvalidRequest, TooLarge
from chunkstore.core.packs import PackParser, Record
from chunkstore.service.batches import BATCH_SIZE, Batches, ChunkSink
from chunkstore.service.memory import Account, Reservation

# What a record takes in memory beside its bytes.
_RECORD_OVERHEAD: Final = 512
# Records of a batch, which is one transaction.
_MOST_RECORDS: Final = 2048


class PackIntake:
    """Checks the records of one pack and gives their chunks to a sink in batches.

    There may be `max_records` of them, of `max_size` bytes together, as their chunks have them.
    """

    def __init__(
        self,
        sink: ChunkSink,
        memory: Account,
        max_chunk_size: int,
        *,
        max_size: int,
        max_records: int,
    ) -> None:
        self._memory = memory
        self._max_chunk_size = max_chunk_size
        self._left = max_size
        self._records_left = max_records
        self._parser = PackParser(max_chunk_size)
        self._batches = Batches(sink, self._check)
        self._batch: list[Record] = []
        self._cost = 0
        self._reservation: Reservation | None = None
        self._fault: DigestMismatch | None = None
        self.received = 0

    async def take(self, piece: bytes) -> None:
        """Take the next bytes; an empty piece says that the client makes the server wait.

        Raises:
            InvalidRequest: they are no pack. DigestMismatch: a chunk is not what it should be.
            TooLarge: there are too many records, or they are too large together.
            StoreError: the sink failed; nothing more can be taken.
            Crowded: a client that holds less than this one still waits for memory.
        """
        if not piece:
            await self._give_back()
        await self._reserve()
        for record in self._parse(piece):
            await self._add(record)

    def end(self) -> None:
        """Refuse a pack that ends within a record.

        Raises:
            InvalidRequest: it does.
        """
        try:
            self._parser.finish()
        except ValueError as error:
            raise InvalidRequest(f"The pack is malformed: {error}.") from error

    async def settle(self) -> Sequence[Chunk]:
        """Wait until all batches are stored; return the chunks that remain, up to a bad one."""
        await self._batches.settle()
        batch, self._batch = self._batch, []
        return await self._check(batch)

    def require_sound(self) -> None:
        """Refuse the pack if a chunk of what has been stored or returned was bad.

        Raises:
            DigestMismatch: one was.
        """
        if self._fault is not None:
            raise self._fault

    def close(self) -> bool:
        """Cancel what is under way; return whether anything was."""
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None
        return self._batches.cancel()

    def _parse(self, piece: bytes) -> Iterator[Record]:
        """Yield the records that a piece completes, one by one, for short ones take much memory."""
        try:
            yield from self._parser.feed(piece)
        except ValueError as error:
            raise InvalidRequest(f"The pack is malformed: {error}.") from error

    async def _reserve(self) -> None:
        """Reserve room for the largest record, and for that of which the beginning has come."""
        least = 3 * self._max_chunk_size
        held = self._reservation
        if held is None or held.size - self._cost < least - self._max_chunk_size:
            if self._batch and held is not None:
                await self._hand_over()
            self._reservation = await self._memory.reserve(
                least, BATCH_SIZE, instead_of=self._reservation
            )

    async def _add(self, record: Record) -> None:
        self._left -= record.size
        self._records_left -= 1
        if self._left < 0 or self._records_left < 0:
            raise TooLarge("The pack has more chunks than one may have, or larger ones.")
        await self._reserve()
        self._batch.append(record)
        self._cost += len(record.encoded.content) + _RECORD_OVERHEAD
        if record.encoded.codec != Codec.IDENTITY:
            self._cost += record.size
        if len(self._batch) == _MOST_RECORDS:
            await self._hand_over()

    async def _hand_over(self) -> None:
        """Start to store the batch, under the part of the reservation that it takes."""
        await self._batches.wait_for_room()
        self.require_sound()
        assert self._reservation is not None
        batch, self._batch = self._batch, []
        self._batches.hand_over(batch, self._reservation.split(self._cost))
        self._cost = 0

    async def _give_back(self) -> None:
        """Reserve no more than has come, if others want memory: whole chunks are stored early."""
        if self._reservation is None or not self._reservation.wanted:
            return
        if self._batch:
            await self._hand_over()
        pending = self._reservation.split(self._parser.pending)
        self._reservation.release()
        self._reservation = pending
        if pending.size and pending.wanted_by_smaller_holder:
            raise Crowded

    async def _check(self, batch: list[Record]) -> Sequence[Chunk]:
        return await asyncio.to_thread(self._check_now, batch) if batch else ()

    def _check_now(self, batch: list[Record]) -> Sequence[Chunk]:
        """Return the chunks of a batch, none behind a bad one."""
        chunks: list[Chunk] = []
        for record in batch:
            if self._fault is not None:
                break
            try:
                chunks.append(_to_chunk(record))
            except ValueError as error:
                self._fault = DigestMismatch(
                    f"The chunk {record.digest}: {error}; those before it were kept."
                )
        self.received += len(chunks)
        return chunks


def _to_chunk(record: Record) -> Chunk:
    """Return a record's chunk.

    Raises:
        ValueError: it is not what its digest says, or not compressed as chunks are kept.
    """
    # First, because a frame may ask for much memory.
    if record.encoded.codec == Codec.ZSTD and not may_be_kept(record.encoded, record.size):
        raise ValueError("it is not one zstd frame of the kind that can be kept")
    return record.to_chunk()
