"""The contract of resumable uploads over the jobs on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.resumable import ResumableUpload, UploadSpec
from chunkstore.store.contract.upload_state import Append, Event, Hold, Join
from chunkstore.store.contract.uploads import (
    UNBOUNDED,
    Appending,
    Bounds,
    HeldChunks,
    Uploads,
)
from chunkstore.store.shared.chunks import Encodings
from chunkstore.store.shared.upload_rows import StoredUpload
from chunkstore.store.sqlite import resumable
from chunkstore.store.sqlite.appending import SegmentAppending
from chunkstore.store.sqlite.contents import encode, own_upload, size_of_places
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, FURTHER_EDIT_SIZE
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.reading import PLACES_A_STEP

# Bytes that a place of a chunk list takes, with that in the index by chunk.
_PLACE_SIZE: Final = 32


class SQLiteUploads(Uploads):
    """The resumable uploads of an open database; `manifest_ids` yields new ids."""

    def __init__(self, database: OpenDatabase, manifest_ids: Iterator[int]) -> None:
        self._database = database
        self._manifest_ids = manifest_ids

    async def create(
        self,
        spec: UploadSpec,
        length: int | None,
        expires: datetime,
        bounds: Bounds = UNBOUNDED,
    ) -> ResumableUpload:
        new = StoredUpload.begin(
            spec,
            length,
            expires,
            manifest=next(self._manifest_ids),
            chunk_size=self._database.state.chunk_size,
        )
        return await self._database.writable.run(
            resumable.CreateUpload(new, bounds).run,
            size=EDIT_SIZE + len(spec.metadata) + FURTHER_EDIT_SIZE * len(spec.parts),
        )

    async def find(self, upload_id: str) -> ResumableUpload | None:
        found = await self._database.readers.run(partial(resumable.find, upload_id=upload_id))
        return None if found is None else found.upload

    async def apply(self, upload_id: str, event: Event) -> ResumableUpload:
        encodings: Encodings = {}
        size = 0
        match event:
            case Append(chunks=chunks, progress=progress):
                encodings, size = await encode(
                    self._database.readers, self._database.policy, chunks
                )
                size += EDIT_SIZE + size_of_places(chunks)
                size += 0 if progress is None else len(progress.tail)
            case Join():
                size = EDIT_SIZE + await self._copy_places(upload_id, event)
        policy, manifest = self._database.policy, next(self._manifest_ids)
        job = resumable.ApplyEvent(upload_id, event, policy, encodings, manifest)
        return await self._database.writable.run(job.run, size=size)

    async def _copy_places(self, upload_id: str, join: Join) -> int:
        """Copy a part's chunk list, in steps, because all others who write wait for each.

        What is not confirmed then goes with the next lease. Return the size of the part's tail.
        """
        part = await self.find(join.part_id)
        if part is None or part.chunks is None:
            return 0
        start = 0
        while start < part.chunks.size:
            start = await self._database.writable.run(
                resumable.CopyPlaces(upload_id, join, start).run,
                size=EDIT_SIZE + PLACES_A_STEP * _PLACE_SIZE,
                durable=False,
            )
        return len(part.tail)

    async def hold(
        self,
        upload_id: str,
        pack: Upload,
        last: Sequence[Chunk],
        expires: datetime,
        max_unfinished: int | None = None,
    ) -> ResumableUpload:
        own = own_upload(pack)
        own.require_held_once()
        await own.finish()
        database = self._database
        encodings, size = await encode(database.readers, database.policy, last)
        hold = Hold(own.extent_with(last), expires, max_unfinished)
        job = resumable.HoldPack(
            upload_id, own.manifest, last, hold, own.appended, database.policy, encodings
        )
        upload = await database.writable.run(job.run, size=size + EDIT_SIZE)
        own.committed()
        return upload

    async def held(self, upload_id: str, after: tuple[int, int] | None = None) -> HeldChunks:
        job = partial(resumable.find_held, upload_id=upload_id, after=after or (0, 0))
        return await self._database.readers.run(job)

    def appending(self, upload: ResumableUpload) -> Appending:
        return SegmentAppending(self, self._database, upload)

    async def awaiting(self, part_id: str) -> Sequence[str]:
        return await self._database.readers.run(partial(resumable.find_awaiting, part_id=part_id))
