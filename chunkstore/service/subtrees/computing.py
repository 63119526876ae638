"""The digest of a content, computed of the chaining values of its chunks.

What a **base** has at the same offset is taken over, if it is the same chunk; the values of other
chunks are computed from their bytes. So of a content that differs little from a base, only what
differs is read.

A wrong value must never give a wrong digest. So what was taken over counts only once all values of
the base, as they were read here, have merged to the base's own digest, and all its entries, as they
were compared here, are the list that was sealed under that digest. Bytes of chunks are checked as
they are read. If any of that fails, there is no digest, and the content has to be read.

Lists are gone through in groups of 16,384 chunks, whose values take half a MiB, for the content and
for each base. Bytes are read into memory that is reserved for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Final

from chunkstore.core.digest import DIGEST_SIZE, Digest
from chunkstore.core.errors import StoreError
from chunkstore.service.memory import Account, Reservation
from chunkstore.service.subtrees.bases import Base
from chunkstore.service.subtrees.lists import EntryReader, EvenList, Span, Unprovable
from chunkstore.service.subtrees.merging import Merging, chaining_values
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.subtrees import SubtreePage

# Bytes of chunks whose values are computed together: fewer take longer each.
_BATCH_SIZE: Final = 4 * 1024 * 1024
# To compute the values of more takes longer than to read all, unless as much is taken over.
_MOST_COMPUTED: Final = 256 * 1024 * 1024
# What a byte takes while values are computed: itself, a copy beside those of other chunks, and its
# part of what numpy computes with.
_COST: Final = 2.5

_logger = logging.getLogger(__name__)


class ListDigest:
    """Computes the digest of the content that has a list, and keeps the values of its chunks.

    One that is `gentle` rests for as long as it works, and goes on however much it has to compute;
    others give up where it is faster to read the content, if they lack more than `most` bytes.
    """

    def __init__(
        self,
        store: Store,
        memory: Account,
        even: EvenList,
        bases: Sequence[Base],
        *,
        gentle: bool = False,
        most: int = _MOST_COMPUTED,
    ) -> None:
        self._store = store
        self._memory = memory
        self._even = even
        self._bases = bases
        self._gentle = gentle
        self._most_lacking = most // even.chunk_size
        self._lacking = self._compared = 0
        self._entries = EntryReader(store, even)
        self._merging = Merging()

    async def compute(self) -> Digest:
        """Return the digest.

        Raises:
            Unprovable: it cannot be told by values, or not as fast as by reading; those of a base
                that were wrong are dropped.
            StoreDamaged: a list or a chunk is damaged.
        """
        for group in self._even.groups():
            values = bytearray(self._even.count_in(group) * DIGEST_SIZE)
            lacking = await self._take_over(group, values)
            self._compared += self._even.count_in(group)
            self._lacking += len(lacking)
            self._require_worthwhile()
            await self._compute(group, lacking, values)
            await self._merging.add(bytes(values))
            await self._keep(group, bytes(values))
        for base in self._bases:
            if not await base.prove():
                _logger.warning("Chaining values of %s were wrong.", base.manifest.digest)
                await self._store.subtrees.drop(base.manifest.id)
                raise Unprovable
        return await self._merging.digest()

    def _require_worthwhile(self) -> None:
        """Give up where too much is lacking.

        Raises:
            Unprovable: to read the content is faster.
        """
        too_much = self._lacking > max(self._most_lacking, self._compared // 2)
        if too_much and not self._gentle:
            raise Unprovable

    async def _take_over(self, group: Span, values: bytearray) -> list[int]:
        """Fill in what a base has; return the numbers, within the group, of other chunks."""
        for base in self._bases:
            await base.next_group()
        lacking: list[int] = []
        number = 0
        for page in self._even.pages(group):
            entries = await self._entries.read_to(page.stop)
            known = [await base.next_page(page.stop) for base in self._bases]
            for place, entry in enumerate(entries):
                found = (one.find_value(place, entry) for one in known)
                value = next(filter(None, found), None)
                if value is None:
                    lacking.append(number)
                else:
                    values[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE] = value
                number += 1
        return lacking

    async def _compute(self, group: Span, lacking: Sequence[int], values: bytearray) -> None:
        """Compute the values of chunks: of some, while those behind them are read."""
        loop = asyncio.get_running_loop()
        computing: asyncio.Task[None] | None = None
        try:
            while lacking:
                began = loop.time()
                reservation = await self._reserve(len(lacking))
                count = max(1, int(reservation.size / _COST) // self._even.chunk_size)
                batch, lacking = lacking[:count], lacking[count:]
                try:
                    runs = await self._read(group, batch)
                    if computing is not None:
                        await _end_of(computing)
                except BaseException:
                    reservation.release()
                    raise
                computing = asyncio.create_task(self._fill(runs, batch, values))
                computing.add_done_callback(partial(_release, reservation))
                if self._gentle:
                    await _end_of(computing)
                    await asyncio.sleep(loop.time() - began)
            if computing is not None:
                await _end_of(computing)
        finally:
            if computing is not None and not computing.done():
                # What it reads stays reserved until then, some hundredths of a second.
                await asyncio.wait({computing})

    async def _reserve(self, chunks: int) -> Reservation:
        size = self._even.chunk_size
        most = min(max(_BATCH_SIZE, size), chunks * size)
        return await self._memory.reserve(int(_COST * size) + 1, int(_COST * most) + 1)

    async def _read(self, group: Span, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        """Return the bytes of chunks, and where they begin: of those that follow each other, one.

        Raises:
            StoreDamaged: a chunk is damaged or missing.
        """
        runs = []
        first = group.start // self._even.chunk_size
        # Within a run, numbers grow as their places do.
        for _, placed in groupby(enumerate(numbers), key=lambda one: one[1] - one[0]):
            run = [first + number for _, number in placed]
            start, stop = self._even.chunk(run[0]).start, self._even.chunk(run[-1]).stop
            content = await self._store.contents.read(self._even.chunks, start, stop)
            runs.append((start, content))
        return runs

    async def _fill(
        self, runs: list[tuple[int, bytes]], numbers: Sequence[int], values: bytearray
    ) -> None:
        computed = await asyncio.to_thread(chaining_values, runs, self._even.chunk_size)
        for place, number in enumerate(numbers):
            value = computed[place * DIGEST_SIZE : (place + 1) * DIGEST_SIZE]
            values[number * DIGEST_SIZE : (number + 1) * DIGEST_SIZE] = value

    async def _keep(self, group: Span, values: bytes) -> None:
        """Keep the values for the next version; that may fail."""
        pages = []
        for page in self._even.pages(group):
            size = self._even.count_in(page) * DIGEST_SIZE
            pages.append(SubtreePage(page.start, values[:size]))
            values = values[size:]
        try:
            await self._store.subtrees.keep(self._even.chunks.id, pages)
        except StoreError as error:
            _logger.info("Chaining values were not kept: %s", error)


async def _end_of(task: asyncio.Task[None]) -> None:
    """Wait for a task without cancelling it, and raise what it failed with."""
    await asyncio.wait({task})
    task.result()


def _release(reservation: Reservation, _: asyncio.Task[None]) -> None:
    reservation.release()
