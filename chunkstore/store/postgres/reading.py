"""Reading file content: its chunk list from the primary, chunks from a standby if there is one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged, StoreError
from chunkstore.core.manifest import ChunkList, Manifest
from chunkstore.store.postgres.connection import Connection, Database
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.rows import QUERIES, Row
from chunkstore.store.shared.chunks import DamagedChunk, check_chunk, join_slices

# How many places of a chunk list are read at once, and how many such spans are cached.
_SPAN: Final = 1024
_SPANS: Final = 64
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
        self._spans: OrderedDict[tuple[int, int], Sequence[bytes]] = OrderedDict()

    async def read(self, chunks: ChunkList, start: int, stop: int) -> bytes:
        """Return the bytes `start` to `stop`, every chunk checked.

        Raises:
            DamagedChunk: a chunk is not what its digest says.
            StoreDamaged: the chunk list is not as long as it should be.
            StoreUnavailable: something is missing that may be there soon.
        """
        slices = list(chunks.slices(start, stop))
        if not slices:
            return b""
        digests = await self._places(chunks, slices[0].seq, slices[-1].seq + 1)
        if len(digests) != len(slices):
            self._forget(chunks.id)
            self._gaps.judge(chunks.id)
            raise StoreDamaged
        self._gaps.filled(chunks.id)
        contents = await self._contents(digests, stop - start)
        return join_slices(slices, [contents[digest] for digest in digests])

    async def _places(self, chunks: ChunkList, first: int, stop: int) -> Sequence[bytes]:
        if not isinstance(chunks, Manifest):
            # It is in the making, and its list may be another one the next time.
            return await self._read_places(chunks.id, first, stop)
        places: list[bytes] = []
        for span in range(first // _SPAN, -(-stop // _SPAN)):
            start = span * _SPAN
            digests = await self._span(chunks.id, start)
            places += digests[max(first - start, 0) : stop - start]
        return places

    async def _span(self, manifest: int, start: int) -> Sequence[bytes]:
        key = (manifest, start)
        digests = self._spans.get(key)
        if digests is None:
            digests = await self._read_places(manifest, start, start + _SPAN)
            self._spans[key] = digests
            if len(self._spans) > _SPANS:
                self._spans.popitem(last=False)
        else:
            self._spans.move_to_end(key)
        return digests

    def _forget(self, manifest: int) -> None:
        for key in [key for key in self._spans if key[0] == manifest]:
            del self._spans[key]

    async def _read_places(self, manifest: int, first: int, stop: int) -> Sequence[bytes]:
        return await self._primary.fetch_values("places", manifest, first, stop)

    async def _contents(self, digests: Sequence[bytes], size: int) -> dict[bytes, bytes]:
        """Return the bytes of chunks; `size` is about how many."""
        wanted = list(set(digests))

        async def fetch(db: Connection) -> list[Row]:
            return await db.fetch(QUERIES["chunks"], wanted)

        if self._standby is not None:
            try:
                return await _checked(wanted, await self._standby.once(fetch), size)
            except StoreError:
                pass  # It is behind, or gone, or damaged.
        try:
            contents = await _checked(wanted, await self._primary.read(fetch), size)
        except MissingChunk as error:
            self._gaps.judge(error.digest.raw)
            raise
        for digest in wanted:
            self._gaps.filled(digest)
        return contents


async def _checked(wanted: Sequence[bytes], rows: Sequence[Row], size: int) -> dict[bytes, bytes]:
    if size <= _CHECKED_INLINE:
        return _check(wanted, rows)
    return await asyncio.to_thread(_check, wanted, rows)


def _check(wanted: Sequence[bytes], rows: Sequence[Row]) -> dict[bytes, bytes]:
    contents = {
        row["digest"]: check_chunk(row["digest"], row["size"], row["codec"], row["bytes"])
        for row in rows
        if row["bytes"] is not None
    }
    for digest in wanted:
        if digest not in contents:
            raise MissingChunk(Digest(digest))
    return contents
