"""Chunks and lists of a PostgreSQL store by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chunkstore.core.chunking import KnownChunk
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.store.contract.chunks import Chunks, KeptChunks
from chunkstore.store.contract.values import DamagedFile
from chunkstore.store.postgres import manifests
from chunkstore.store.postgres.damage import marking_damage
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.reading import Reader
from chunkstore.store.postgres.rows import to_file_to_edit
from chunkstore.store.shared.lists import continue_list, entries_of


class PostgresChunks(Chunks):
    """The chunks and lists of the database that is `opened`."""

    def __init__(self, opened: Opened, reader: Reader) -> None:
        self._opened = opened
        self._reader = reader

    async def read_kept(
        self, chunks: ChunkList, start: int, stop: int, most: int, whole: ListHasher | None = None
    ) -> KeptChunks:
        chunks.require_range(start, stop)
        if start == stop:
            return KeptChunks(start, ())
        async with marking_damage(self._opened, chunks):
            places, records = await self._reader.read_kept(chunks, start, stop, most)
            if whole is not None:
                continue_list(chunks, places, places[-1].stop, whole)
        return KeptChunks(places[0].start, records)

    async def entries(
        self, chunks: ChunkList, start: int, most: int, whole: ListHasher | None = None
    ) -> Sequence[KnownChunk]:
        chunks.require_range(start, chunks.size)
        if start == chunks.size:
            return ()
        async with marking_damage(self._opened, chunks):
            return entries_of(chunks, await self._reader.entries(chunks, start, most), whole)

    async def find_sizes(self, digests: Sequence[Digest]) -> Mapping[Digest, int]:
        return await manifests.find_sizes(self._opened.database, digests)

    async def find_equal(self, list_digest: Digest, names: Sequence[FileName]) -> Digest | None:
        database = self._opened.database
        rows = await database.fetch("files_among", list(names))
        for row in rows:
            file = to_file_to_edit(row)
            if isinstance(file, DamagedFile) or file.manifest.list_digest != list_digest:
                continue
            if not await database.fetch("marked_lists", [file.manifest_id]):
                return file.manifest.digest
        return None
