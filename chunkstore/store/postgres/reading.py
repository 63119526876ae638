"""Reading file content: its chunk list from the primary, chunks from a standby if there is one."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias, TypeVar

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreError
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.core.packs import Record
from chunkstore.store.postgres.connection import Connection
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk, to_record
from chunkstore.store.shared.lists import DamagedList, Place, ReadBytes, most_places, read_places

T = TypeVar("T")
# Makes something of a chunk by its digest, size, codec and stored bytes, which it may refuse.
Check: TypeAlias = Callable[[bytes, int, int, bytes], T]

# How many places of a chunk list are read at once: of one that is read on, and where it is read
# for the first time. How many such spans are cached.
_SPAN: Final = 256
_FIRST_SPAN: Final = 16
_SPANS: Final = 128
# How many places are read at once by whoever reads all of a list; to check them takes some 2 ms.
PLACES_A_STEP: Final = 1024
# Below this, checking takes less time than handing it to a thread.
_CHECKED_INLINE: Final = 128 * 1024


class MissingChunk(DamagedChunk):
    """What is stored is damaged and was not sent; put the same content again to repair it."""


class Reader:
    """Reads chunk lists of one store, and chunks, from `standby` first if there is one."""

    def __init__(self, primary: Database, standby: Database | None, gaps: Gaps) -> None:
        self._primary = primary
        self._standby = standby
        self._gaps = gaps
        self._spans: OrderedDict[tuple[int, int], Sequence[Place]] = OrderedDict()

    async def read(
        self, chunks: ChunkList, start: int, stop: int, most: int | None = None
    ) -> ReadBytes:
        """Return the bytes `start` to `stop`, every chunk and place checked.

        They are at most `most`, of the number of chunks that `most_places` tells.

        Raises:
            DamagedChunk: a chunk is not what its digest says.
            DamagedList: the chunk list is not as it was written.
            StoreUnavailable: something is missing that may be there soon.
        """
        places = await self._checked_places(chunks, start, stop, most)
        contents = await self._chunks(places, check_chunk)
        return ReadBytes.join(places, contents, start, stop)

    async def read_kept(
        self, chunks: ChunkList, start: int, stop: int, most: int
    ) -> tuple[Sequence[Place], Sequence[Record]]:
        """Return the places of the same chunks, and the chunks as they are kept; as `read`."""
        places = await self._checked_places(chunks, start, stop, most)
        return places, await self._chunks(places, to_record)

    async def entries(self, chunks: ChunkList, start: int, most: int) -> Sequence[Place]:
        """Return some places, at most `most`, from the one on that holds `start`.

        Raises:
            DamagedList, StoreUnavailable: as `read`.
        """
        with self._judging(chunks):
            return await self._read_places(chunks.id, start, min(most, PLACES_A_STEP))

    async def _checked_places(
        self, chunks: ChunkList, start: int, stop: int, most: int | None
    ) -> list[Place]:
        limit = stop if most is None else min(stop, start + most)
        count = None if most is None else most_places(most)
        try:
            with self._judging(chunks):
                return (await self._places(chunks, start, stop, limit, count))[:count]
        except DamagedList:
            self._forget(chunks.id)
            raise

    @contextmanager
    def _judging(self, chunks: ChunkList) -> Iterator[None]:
        """Judge whether damage of a list that is found in the context may be a gap."""
        try:
            yield
        except DamagedList:
            self._gaps.judge(chunks.id)
            raise
        self._gaps.filled(chunks.id)

    async def _places(
        self, chunks: ChunkList, start: int, stop: int, limit: int, count: int | None
    ) -> list[Place]:
        """Return the places of `start` to `stop`; if that is behind `limit`, those that end by it.

        The first place is one of them in any case. Behind the first `count` there may be others.
        """
        places: list[Place] = []
        offset = start
        while offset < limit and (count is None or len(places) < count):
            span = await self._span(chunks, offset)
            for place in span:
                if place.stop <= offset:
                    continue
                if place.start >= stop or (places and limit < stop and place.stop > limit):
                    return places
                places.append(place)
            offset = span[-1].stop
        return places

    async def _span(self, chunks: ChunkList, offset: int) -> Sequence[Place]:
        """Return places that follow each other, one of which holds the offset."""
        if not isinstance(chunks, Manifest):
            # It is in the making, and its list may be another one the next time.
            return await self._read_places(chunks.id, offset, _SPAN)
        continued = offset == 0
        for key, span in self._spans.items():
            if key[0] == chunks.id:
                if span[0].start <= offset < span[-1].stop:
                    self._spans.move_to_end(key)
                    return span
                continued = continued or span[-1].stop == offset
        count = _SPAN if continued else _FIRST_SPAN
        span = await self._read_places(chunks.id, offset, count)
        self._spans[chunks.id, span[0].start] = span
        if len(self._spans) > _SPANS:
            self._spans.popitem(last=False)
        return span

    def _forget(self, manifest: int) -> None:
        for key in [key for key in self._spans if key[0] == manifest]:
            del self._spans[key]

    async def _read_places(self, manifest: int, offset: int, count: int) -> Sequence[Place]:
        rows = await self._primary.fetch("places_at", manifest, offset, count)
        return _sound_places(manifest, [Place(*row) for row in rows], offset)

    async def _chunks(self, places: Sequence[Place], check: Check[T]) -> list[T]:
        """Return what `check` makes of the chunks at some places."""
        wanted = {place.digest: place.size for place in places}

        async def fetch(db: Connection) -> list[Row]:
            return await db.fetch(QUERIES["chunks"], list(wanted))

        if self._standby is not None:
            try:
                found = await _checked(wanted, await self._standby.once(fetch), check)
                return [found[place.digest] for place in places]
            except StoreError:
                pass  # It is behind, or gone, or damaged.
        try:
            found = await _checked(wanted, await self._primary.read(fetch), check)
        except MissingChunk as error:
            self._gaps.judge(error.digest.raw)
            raise
        for digest in wanted:
            self._gaps.filled(digest)
        return [found[place.digest] for place in places]


def _sound_places(manifest: int, places: Sequence[Place], offset: int) -> Sequence[Place]:
    """Return the places from that of the offset on, up to the first that is damaged or missing.

    Raises:
        DamagedList: that is the first one.
    """

    def is_damaged(count: int) -> bool:
        with suppress(DamagedList):
            read_places(manifest, places[:count], offset)
            return False
        return True

    if not is_damaged(len(places)):
        return places
    sound = bisect_left(range(1, len(places)), True, key=is_damaged)
    if sound == 0:
        raise DamagedList(manifest)
    return places[:sound]


async def _checked(
    wanted: Mapping[bytes, int], rows: Sequence[Row], check: Check[T]
) -> dict[bytes, T]:
    if sum(wanted.values()) <= _CHECKED_INLINE or check is to_record:
        return _check(wanted, rows, check)
    return await asyncio.to_thread(_check, wanted, rows, check)


def _check(wanted: Mapping[bytes, int], rows: Sequence[Row], check: Check[T]) -> dict[bytes, T]:
    found = {
        digest: check(digest, wanted[digest], codec, stored)
        for digest, codec, stored in rows
        if stored is not None
    }
    for digest in wanted:
        if digest not in found:
            raise MissingChunk(Digest(digest))
    return found


async def next_places(db: Connection, manifest: int, offset: int) -> list[Place]:
    """Return some places from the offset on, checked.

    Raises:
        DamagedList: they are not as they were written, or there are none.
    """
    rows = await db.fetch(QUERIES["places_from"], manifest, offset, PLACES_A_STEP)
    places = [Place(*row) for row in rows]
    read_places(manifest, places, offset)
    return places
