"""The content of files in a PostgreSQL store: uploads of one request, and reading."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from chunkstore.core.chunking import AnyChunk
from chunkstore.core.compression import Compression
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.store.contract.contents import Contents, PreparedBatch, Upload
from chunkstore.store.contract.values import File
from chunkstore.store.postgres import manifests
from chunkstore.store.postgres.damage import marking_damage
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.lookups import Lookups
from chunkstore.store.postgres.manifests import relying_on
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.reading import Reader
from chunkstore.store.shared.request_upload import RequestUpload, add_chunks


class PostgresContents(Contents):
    """The content of files in the database that is `opened`."""

    def __init__(self, opened: Opened, reader: Reader) -> None:
        self._opened = opened
        self._reader = reader
        self._lookups = Lookups(opened.database)

    @property
    def chunk_size(self) -> int:
        return self._opened.chunk_size

    def begin(self) -> PostgresUpload:
        return PostgresUpload(
            self._opened.writable,
            self._opened.compression,
            manifests.new_manifest_id(),
            self.chunk_size,
            self._opened.presence.server,
            # Of several logs, the one that a later commit syncs need not be this one's.
            synced=self._opened.is_spread,
        )

    def open(self, name: FileName, *, inline: int = 0) -> AbstractAsyncContextManager[File | None]:
        return self._opened.pins.opened(lambda: self._lookups.find(name, inline))

    async def read(
        self,
        chunks: ChunkList,
        start: int,
        stop: int,
        most: int | None = None,
        whole: ListHasher | None = None,
    ) -> bytes:
        chunks.require_range(start, stop)
        if start == stop:
            return b""
        async with marking_damage(self._opened, chunks):
            read = await self._reader.read(chunks, start, stop, most)
            if whole is not None:
                read.continue_list(chunks, whole)
        return read.content


class PostgresUpload(RequestUpload):
    """An upload to a PostgreSQL store, through `server`.

    Unless each of its batches is `synced`, the commit that gives it a name makes them durable.
    """

    def __init__(
        self,
        database: Database,
        compression: Compression,
        manifest_id: int,
        chunk_size: int,
        server: str,
        *,
        synced: bool,
    ) -> None:
        super().__init__(manifest_id, chunk_size)
        self._write = database.write if synced else database.write_unsynced
        self._database = database
        self._compression = compression
        self._server = server
        # A call whose caller was cancelled goes on, and the next one waits for it.
        self.lock = asyncio.Lock()

    async def prepare(self, chunks: Sequence[AnyChunk]) -> PlainBatch:
        return PlainBatch(self, chunks)

    async def store(self, chunks: Sequence[AnyChunk]) -> None:
        """Store the next chunks."""
        if not chunks:
            return
        self._begun = True
        await self._database.run_to_end(self._append(chunks))

    async def _append(self, chunks: Sequence[AnyChunk]) -> None:
        async with self.lock:
            self.appended += await relying_on(
                self._database,
                self._compression,
                chunks,
                lambda prepared: self._write(
                    manifests.append, self.manifest, self._server, prepared
                ),
            )
            add_chunks(self._list, chunks)

    async def abort(self) -> None:
        if self._begun:
            await self._database.run_to_end(self._abort())

    async def _abort(self) -> None:
        async with self.lock:
            if self._begun:
                await self._database.write(manifests.forget, self._id)
                self._begun = False


@dataclass(frozen=True, slots=True)
class PlainBatch(PreparedBatch):
    """Chunks of `upload`, of which nothing can be prepared before those ahead are stored."""

    upload: PostgresUpload
    chunks: Sequence[AnyChunk]

    async def store(self) -> None:
        await self.upload.store(self.chunks)


def own_upload(upload: Upload) -> PostgresUpload:
    """Return an upload that was begun by a store of this kind."""
    if not isinstance(upload, PostgresUpload):
        raise TypeError("the upload was begun by another store")
    return upload
