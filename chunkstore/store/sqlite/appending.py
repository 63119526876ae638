"""Appends to resumable uploads whose large batches go to segments.

What a batch brings is noted at once, without being confirmed: it counts among what is unfinished,
and places of known chunks are there. When the segment that it is in has been published, all up to
its last batch is confirmed. So a request whose connection breaks keeps all that has come, and one
whose server dies keeps what was sealed. Each transaction makes sure that the lease still holds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from chunkstore.core.chunking import AnyChunk
from chunkstore.store.contract.resumable import ResumableUpload
from chunkstore.store.contract.upload_state import Append
from chunkstore.store.contract.uploads import Appending, PreparedAppend, Uploads
from chunkstore.store.shared.chunks import NewBytes
from chunkstore.store.shared.lists import OpenManifest
from chunkstore.store.sqlite import resumable
from chunkstore.store.sqlite.contents import encode
from chunkstore.store.sqlite.engine.connection import Job
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.segment_intake import (
    Entry,
    PlaceKnown,
    Publish,
    SegmentIntake,
    WrittenBatch,
)
from chunkstore.store.sqlite.segment_sequence import Segment


@dataclass(frozen=True, slots=True)
class _Prepared(PreparedAppend):
    """Chunks whose missing ones were written to a segment, if they were."""

    written: WrittenBatch | None


class SegmentAppending(Appending):
    """The appends of one request, under the lease that `upload` has."""

    def __init__(self, uploads: Uploads, database: OpenDatabase, upload: ResumableUpload) -> None:
        super().__init__(uploads, upload.id)
        assert upload.chunks is not None
        self._database = database
        self._confirmed = upload
        opened = OpenManifest(upload.chunks.id, upload.chunks.chunk_size, 0)
        self._intake = _Intake(database, opened, upload, self._confirm)

    async def prepare(self, chunks: Sequence[AnyChunk]) -> _Prepared:
        database = self._database
        least = database.segments.bounds.least
        encodings, size = await encode(database.readers, database.policy, chunks, least)
        if not encodings or not database.segments.are_for(size):
            return _Prepared(None)
        return _Prepared(await self._intake.write(encodings))

    async def append(self, append: Append, prepared: PreparedAppend) -> ResumableUpload:
        assert isinstance(prepared, _Prepared)
        if prepared.written is not None:
            await self._intake.append(prepared.written, append)
        elif self._intake.idle:
            self._confirmed = await self._uploads.apply(self._upload_id, append)
        else:
            # What is before it is not confirmed yet.
            await self._uploads.apply(self._upload_id, replace(append, progress=None))
        return self._confirmed

    async def _confirm(self, append: Append) -> None:
        self._confirmed = await self._uploads.apply(self._upload_id, append)

    async def settle(self) -> None:
        await self._intake.finish()

    async def close(self) -> None:
        await self._intake.discard()


class _Intake(SegmentIntake):
    """The intake of a resumable upload; `confirm` is called when more can be confirmed."""

    def __init__(
        self,
        database: OpenDatabase,
        manifest: OpenManifest,
        upload: ResumableUpload,
        confirm: Callable[[Append], Awaitable[None]],
    ) -> None:
        super().__init__(database, manifest)
        self._upload = upload
        self._confirm = confirm
        # For each segment what confirms all up to its last batch.
        self._last: dict[int, Append] = {}

    async def append(self, written: WrittenBatch, append: Append) -> None:
        """Note a batch that was written, and place its known chunks."""
        unconfirmed = replace(append, progress=None)
        manifest = replace(self._manifest, size=append.start)
        within = partial(_place_appended, upload_id=self._upload.id, append=unconfirmed)

        def note_last() -> None:
            self._last[written.segment.file.id] = replace(append, start=append.stop, chunks=[])

        await self.place(written, manifest, append.chunks, within, note_last)

    async def _publish(self, segment: Segment[Entry]) -> None:
        await super()._publish(segment)
        last = self._last.pop(segment.file.id, None)
        if last is not None and last.progress is not None:
            await self._confirm(last)

    def _publishing(self, publish: Publish) -> Job[NewBytes]:
        return PublishAppended(self._upload.id, self._upload.epoch, publish).run


def _place_appended(place_known: PlaceKnown, upload_id: str, append: Append) -> Job[set[bytes]]:
    return PlaceAppended(upload_id, append, place_known).run


@dataclass(frozen=True, slots=True)
class PlaceAppended:
    """The job that notes an append which is not confirmed, and places its known chunks."""

    upload_id: str
    append: Append
    place_known: PlaceKnown

    def run(self, db: sqlite3.Connection) -> set[bytes]:
        """Return the digests of those that are not known any more.

        Raises:
            What the append itself would be refused for.
        """
        before = resumable.get(db, self.upload_id)
        after = before.after(self.append)
        after.check_growth(before, self.append, resumable.find_unfinished(db))
        resumable.save(db, after)
        return self.place_known.run(db)


@dataclass(frozen=True, slots=True)
class PublishAppended:
    """The job that publishes what was appended under the lease with `epoch`, if that holds."""

    upload_id: str
    epoch: int
    publish: Publish

    def run(self, db: sqlite3.Connection) -> NewBytes:
        """Return how much of it is new.

        Raises:
            UploadSuperseded, NotFound: somebody else has the upload now, or nobody can have it.
        """
        stored = resumable.get(db, self.upload_id)
        assert stored.upload.chunks is not None
        stored.after(Append(self.epoch, stored.upload.chunks.size, [], None))
        new = self.publish.run(db)
        resumable.save(db, replace(stored, new=stored.new + new))
        return new
