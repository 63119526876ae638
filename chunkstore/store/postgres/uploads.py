"""The contract of resumable uploads over the jobs on them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Compression
from chunkstore.core.errors import ChunksMissing
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.resumable import ResumableUpload, UploadSpec
from chunkstore.store.contract.upload_state import Append, Delete, Event, Hold, Join, advance
from chunkstore.store.contract.uploads import (
    UNBOUNDED,
    Bounds,
    HeldChunks,
    Uploads,
)
from chunkstore.store.postgres import manifests, resumable, upload_table
from chunkstore.store.postgres.contents import PostgresUpload, own_upload
from chunkstore.store.postgres.database import Database
from chunkstore.store.postgres.manifests import PreparedChunks, relying_on
from chunkstore.store.shared.upload_rows import StoredUpload


class PostgresUploads(Uploads):
    """The uploads of a PostgreSQL store."""

    def __init__(self, database: Database, compression: Compression, chunk_size: int) -> None:
        self._database = database
        self._compression = compression
        self._chunk_size = chunk_size

    async def create(
        self,
        spec: UploadSpec,
        length: int | None,
        expires: datetime,
        bounds: Bounds = UNBOUNDED,
    ) -> ResumableUpload:
        new = StoredUpload.begin(
            spec, length, expires, manifest=manifests.new_manifest_id(), chunk_size=self._chunk_size
        )
        return await self._database.write_once(resumable.CreateUpload(new, bounds).run)

    async def find(self, upload_id: str) -> ResumableUpload | None:
        found = await self._database.read(partial(upload_table.find, upload_id=upload_id))
        return None if found is None else found.upload

    async def apply(self, upload_id: str, event: Event) -> ResumableUpload:
        database = self._database

        async def append(chunks: PreparedChunks) -> ResumableUpload:
            return await database.write(resumable.ApplyEvent(upload_id, event, chunks).run)

        async def join(tail: PreparedChunks) -> ResumableUpload:
            return await database.write_once(resumable.ApplyEvent(upload_id, event, tail).run)

        match event:
            case Append():
                try:
                    return await relying_on(database, self._compression, event.chunks, append)
                except ChunksMissing as missing:
                    upload = await self.get(upload_id)
                    # It may be refused for another reason.
                    advance(upload, event)
                    missing.offset = upload.offset
                    raise
            case Join():
                tail = await database.read(resumable.find_tail, event.part_id)
                last = [] if tail is None else [tail]
                return await relying_on(database, self._compression, last, join)
            case Delete():
                return await database.write_once(resumable.ApplyEvent(upload_id, event).run)
            case _:
                return await database.write(resumable.ApplyEvent(upload_id, event).run)

    async def hold(
        self,
        upload_id: str,
        pack: Upload,
        last: Sequence[Chunk],
        expires: datetime,
        max_unfinished: int | None = None,
    ) -> ResumableUpload:
        own = own_upload(pack)
        hold = Hold(own.extent_with(last), expires, max_unfinished)
        return await self._database.run_to_end(self._hold(upload_id, own, last, hold))

    async def _hold(
        self, upload_id: str, pack: PostgresUpload, last: Sequence[Chunk], hold: Hold
    ) -> ResumableUpload:
        async with pack.lock:
            pack.require_held_once()
            job = resumable.HoldPack(upload_id, pack.manifest, hold, pack.appended)

            async def write(chunks: PreparedChunks) -> ResumableUpload:
                return await self._database.write(job.run, chunks)

            upload = await relying_on(self._database, self._compression, last, write)
            pack.committed()
            return upload

    async def held(self, upload_id: str, after: tuple[int, int] | None = None) -> HeldChunks:
        return await self._database.read(resumable.find_held, upload_id, after or (0, 0))

    async def awaiting(self, part_id: str) -> Sequence[str]:
        return await self._database.read(partial(resumable.find_awaiting, part_id=part_id))
