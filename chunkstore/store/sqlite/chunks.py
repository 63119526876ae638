"""Chunks and lists of an SQLite store by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from chunkstore.core.chunking import KnownChunk
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.store.contract.chunks import Chunks, KeptChunks
from chunkstore.store.shared.lists import continue_list, entries_of
from chunkstore.store.sqlite import manifests
from chunkstore.store.sqlite.damage import marking_damage, read_bytes
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.reading import ReadChunks, ReadEntries


class SQLiteChunks(Chunks):
    """The chunks and lists of an open database."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def read_kept(
        self, chunks: ChunkList, start: int, stop: int, most: int, whole: ListHasher | None = None
    ) -> KeptChunks:
        chunks.require_range(start, stop)
        if start == stop:
            return KeptChunks(start, ())
        job = ReadChunks(chunks, start, stop, most)
        async with marking_damage(self._database):
            places, records = await read_bytes(self._database, job.run_kept)
            if whole is not None:
                continue_list(chunks, places, places[-1].stop, whole)
        return KeptChunks(places[0].start, records)

    async def entries(
        self, chunks: ChunkList, start: int, most: int, whole: ListHasher | None = None
    ) -> Sequence[KnownChunk]:
        chunks.require_range(start, chunks.size)
        if start == chunks.size:
            return ()
        job = ReadEntries(chunks, start, most)
        async with marking_damage(self._database):
            return entries_of(chunks, await self._database.readers.run(job.run), whole)

    async def find_sizes(self, digests: Sequence[Digest]) -> Mapping[Digest, int]:
        return await self._database.readers.run(partial(manifests.find_sizes, digests=digests))

    async def find_equal(self, list_digest: Digest, names: Sequence[FileName]) -> Digest | None:
        return await self._database.readers.run(
            partial(manifests.find_equal, list_digest=list_digest)
        )
