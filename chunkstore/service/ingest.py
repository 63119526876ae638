"""Ingest: split incoming bytes into chunks and store them in batches.

Pieces are cut into chunks, which collect in a batch. A full batch is hashed off the event loop
and stored while the next ones fill and are hashed. The last chunks travel with the `Put`, so that
a small file takes one transaction. Batches are reserved from the memory budget.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Sequence
from datetime import datetime
from typing import Final

from chunkstore.core.chunkers import Chunker, Chunking, FixedChunker
from chunkstore.core.chunking import Chunk
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.digest import Checksum, ContentCheck, ContentHasher
from chunkstore.core.errors import Crowded, TooLarge
from chunkstore.core.names import FileName
from chunkstore.service.batches import BATCH_SIZE, Batches, ChunkSink
from chunkstore.service.memory import Account, Reservation
from chunkstore.service.room import Room
from chunkstore.store.contract.contents import Contents
from chunkstore.store.contract.edits import Put, Received

# Up to this size, hashing takes less time than handing it to a thread.
_HASHED_INLINE: Final = 128 * 1024


class Intake:
    """Cuts the bytes of one file content into chunks and gives them to a sink in batches.

    Chunks have `chunk_size` bytes, or at most so many where a `chunker` cuts them. `tail` are bytes
    that came earlier and are in no chunk yet: they begin the first chunk, and `checks` do not cover
    them. `hasher` has seen all whole chunks before; None hashes nothing.
    """

    def __init__(
        self,
        sink: ChunkSink,
        memory: Account,
        chunk_size: int,
        *,
        chunker: Chunker | None = None,
        checks: Sequence[Checksum] = (),
        hasher: ContentHasher | None = None,
        tail: bytes = b"",
    ) -> None:
        self._batches = Batches(sink, self._hash)
        self._memory = memory
        self._chunk_size = chunk_size
        self._checks = checks
        self._hasher = hasher
        self._chunker = FixedChunker(chunk_size) if chunker is None else chunker
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._add(self._chunker.feed(tail))
        self._unchecked = len(tail)
        self._reservation: Reservation | None = None

    async def take(self, piece: bytes) -> None:
        """Take the next bytes; hand a batch to the sink when it is full.

        A piece is taken in parts, each once memory is reserved for it. An empty piece says that the
        client makes the server wait: memory that others want is given back.

        Raises:
            StoreError: the sink failed; nothing more can be taken.
            Crowded: a client that holds less than this one still waits for memory.
        """
        view = memoryview(piece)
        if not view:
            await self._give_back()
        while view:
            if self._reservation is None or self._reservation.size < self._chunk_size:
                self._reservation = await self._memory.reserve(
                    self._chunk_size, BATCH_SIZE, instead_of=self._reservation
                )
            room = self._capacity - self._batch_size - self._chunker.pending
            self._add(self._chunker.feed(view[:room]))
            if len(view) >= room:
                await self._batches.wait_for_room()
                pending = self._reservation.split(self._chunker.pending)
                self._hand_over(self._reservation)
                self._reservation = pending
            view = view[room:]

    def _add(self, chunks: list[bytes]) -> None:
        self._batch += chunks
        self._batch_size += sum(map(len, chunks))

    def _take_batch(self) -> list[bytes]:
        batch, self._batch, self._batch_size = self._batch, [], 0
        return batch

    @property
    def _capacity(self) -> int:
        """Bytes of whole chunks that the reservation covers, one chunk at least."""
        reserved = 0 if self._reservation is None else self._reservation.size
        return max(1, reserved // self._chunk_size) * self._chunk_size

    def _hand_over(self, reservation: Reservation) -> None:
        """Start to store the batch, which takes its reservation along."""
        self._batches.hand_over(self._take_batch(), reservation)

    async def _give_back(self) -> None:
        """Reserve no more than has come, if others want memory: whole chunks are stored early.

        What remains, less than a chunk, is not reserved while `take` waits for more later.

        Raises:
            Crowded: a client that holds less than this one still waits for memory.
        """
        if self._reservation is None or not self._reservation.wanted:
            return
        if self._batch:
            await self._batches.wait_for_room()
            self._hand_over(self._reservation.split(self._batch_size))
        pending = self._reservation.split(self._chunker.pending)
        self._reservation.release()
        self._reservation = pending
        if pending.size and pending.wanted_by_smaller_holder:
            raise Crowded

    async def settle(self) -> tuple[list[Chunk], bytes]:
        """Wait until all batches are stored; return the chunks and bytes that remain."""
        await self._batches.settle()
        rest, tail = self._chunker.rest()
        self._add(rest)
        chunks = await self._hash(self._take_batch())
        self._check(tail)
        return chunks, tail

    def release(self) -> None:
        """Give the reservation back."""
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None

    def close(self) -> bool:
        """Cancel what is under way; return whether anything was."""
        self.release()
        return self._batches.cancel()

    async def _hash(self, batch: list[bytes]) -> list[Chunk]:
        if sum(map(len, batch)) <= _HASHED_INLINE:
            return self._hash_now(batch)
        return await asyncio.to_thread(self._hash_now, batch)

    def _hash_now(self, batch: list[bytes]) -> list[Chunk]:
        chunks = []
        for content in batch:
            if self._hasher is not None:
                self._hasher.update(content)
            self._check(content)
            chunks.append(Chunk.of(content))
        return chunks

    def _check(self, content: bytes) -> None:
        fresh = memoryview(content)[self._unchecked :]
        self._unchecked = max(0, self._unchecked - len(content))
        for check in self._checks:
            check.update(fresh)


class Receiver:
    """Receives the bytes of one file content and stores its chunks.

    It computes the checksums by the `algorithms`, as far as no check does.
    """

    def __init__(
        self,
        contents: Contents,
        memory: Account,
        chunking: Chunking,
        *,
        max_size: int | None,
        checks: Sequence[ContentCheck],
        algorithms: Sequence[str],
        room: Room,
    ) -> None:
        self.upload = contents.begin()
        self.size = 0
        self._max_size = max_size
        self._room = room
        self._checks = checks
        computed: dict[str, Checksum] = {check.algorithm: check for check in checks}
        added = [Checksum(name) for name in algorithms if name not in computed]
        computed.update((checksum.algorithm, checksum) for checksum in added)
        self._checksums = [computed[name] for name in algorithms]
        self._hasher = ContentHasher()
        self._intake = Intake(
            self.upload,
            memory,
            contents.chunk_size,
            chunker=chunking.chunker(contents.chunk_size),
            checks=[*checks, *added],
            hasher=self._hasher,
        )
        self._last: list[Chunk] = []

    async def receive(self, pieces: AsyncIterable[bytes]) -> None:
        """Take all pieces and verify the checks.

        Raises:
            TooLarge, QuotaExceeded: they have more bytes than there may be.
            ContentMismatch: a check failed.
            StoreError: the store failed.
        """
        async for piece in pieces:
            self.size += len(piece)
            if self._max_size is not None and self.size > self._max_size:
                raise TooLarge(f"This server accepts files of at most {self._max_size} bytes.")
            self._room.check(self.size)
            await self._intake.take(piece)
        self._last, tail = await self._intake.settle()
        if tail:
            self._hasher.update(tail)
            self._last.append(Chunk.of(tail))
        for check in self._checks:
            check.verify()

    async def flush(self) -> None:
        """Store all chunks now, so that no memory is reserved until the `Put`."""
        await self.upload.append(self._last)
        self._last = []
        self._intake.release()

    def put(
        self,
        name: FileName,
        media_type: str,
        conditions: Conditions = UNCONDITIONAL,
        *,
        created: datetime | None = None,
        modified: datetime | None = None,
    ) -> Put:
        """Return the edit that makes what was received the content of `name`; see `Put`."""
        checksums = {checksum.algorithm: checksum.value for checksum in self._checksums}
        content = Received(self.upload, self._last, self._hasher.digest(), self.size, checksums)
        return Put(name, content, media_type, conditions, created, modified)

    async def close(self) -> None:
        """Forget what was not committed, even if the caller is cancelled again meanwhile."""
        if self._intake.close() or self.upload.begun:
            # The store runs jobs in order, so this one comes after the last batch.
            await asyncio.shield(self.upload.abort())
