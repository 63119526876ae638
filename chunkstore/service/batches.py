"""Batches of one content on their way to the store: made into chunks, prepared, stored, in order.

While one batch is stored, the next is prepared and the one after that is hashed, so no more than
so many are under way at once. Each holds its reservation of the memory budget until it is stored.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

from chunkstore.core.chunking import Chunk
from chunkstore.core.tasks import retrieve_exception
from chunkstore.service.memory import Reservation
from chunkstore.store.contract.contents import PreparedBatch

BATCH_SIZE: Final = 4 * 1024 * 1024
# Full batches of one upload: one is hashed while the other is stored.
_IN_FLIGHT: Final = 2

T = TypeVar("T")


class ChunkSink(Protocol):
    """Takes the chunks of one file content, in order, a batch at a time."""

    async def prepare(self, chunks: Sequence[Chunk]) -> PreparedBatch:
        """Prepare the next batch; the batches before it may not be stored yet."""


class Batches(Generic[T]):
    """The batches of one content, each of which `to_chunks` makes into chunks for the sink."""

    def __init__(
        self, sink: ChunkSink, to_chunks: Callable[[list[T]], Awaitable[Sequence[Chunk]]]
    ) -> None:
        self._sink = sink
        self._to_chunks = to_chunks
        self._in_flight: deque[asyncio.Task[None]] = deque()
        self._hashing = asyncio.Lock()
        self._preparing = asyncio.Lock()
        self._storing = asyncio.Lock()
        self._failed = False

    async def wait_for_room(self) -> None:
        """Wait until one more batch can be handed over.

        Raises:
            StoreError: the sink failed; nothing more can be stored.
        """
        await self._wait(_IN_FLIGHT - 1)

    def hand_over(self, batch: list[T], reservation: Reservation) -> None:
        """Start to store a batch, which takes its reservation along."""
        task = asyncio.create_task(self._store(batch))
        # Not by a context within the task, which may be cancelled before it starts.
        task.add_done_callback(partial(_release, reservation))
        self._in_flight.append(task)

    async def settle(self) -> None:
        """Wait until all batches are stored.

        Raises:
            StoreError: the sink failed.
        """
        await self._wait(0)

    def cancel(self) -> bool:
        """Cancel what is under way; return whether anything was."""
        for task in self._in_flight:
            task.cancel()
            task.add_done_callback(retrieve_exception)
        return bool(self._in_flight)

    async def _wait(self, most: int) -> None:
        """Wait until at most `most` batches are in flight.

        A caller that is cancelled meanwhile can still settle or cancel.
        """
        while len(self._in_flight) > most:
            await asyncio.shield(self._in_flight[0])
            self._in_flight.popleft()

    async def _store(self, batch: list[T]) -> None:
        """Hash a batch while the one before is stored; each lock keeps their order."""
        try:
            async with self._hashing:
                chunks = await self._to_chunks(batch)
            if not chunks:
                return
            async with self._preparing:
                prepared = await self._sink.prepare(chunks)
            async with self._storing:
                if not self._failed:
                    await prepared.store()
        except BaseException:
            # No gap: later batches are not stored, and whoever waits for this one gets the error.
            self._failed = True
            raise


def _release(reservation: Reservation, _: asyncio.Task[None]) -> None:
    reservation.release()
