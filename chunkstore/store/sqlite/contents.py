"""The content of files in an SQLite store: uploads of one request, batch by batch, and reading."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar
from weakref import WeakSet

from chunkstore.core.chunking import AnyChunk, Chunk, KnownChunk, size_of
from chunkstore.core.compression import Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import ChunkList, ListHasher
from chunkstore.core.names import FileName
from chunkstore.store.contract.contents import Contents, PreparedBatch, Upload
from chunkstore.store.contract.values import File
from chunkstore.store.shared.chunks import (
    Encodings,
    NewBytes,
)
from chunkstore.store.shared.pins import Pins
from chunkstore.store.shared.request_upload import RequestUpload, add_chunks
from chunkstore.store.sqlite import manifests
from chunkstore.store.sqlite.damage import marking_damage, read_bytes
from chunkstore.store.sqlite.engine.connection import ReaderPool
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.manifests import (
    EncodeMissing,
    StoragePolicy,
)
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.reading import OpenFile, ReadChunks
from chunkstore.store.sqlite.segment_intake import SegmentIntake, WrittenBatch
from chunkstore.store.sqlite.segment_sequence import SIZE_OF_ROWS

T = TypeVar("T")

# Less is encoded within its transaction, which takes less time than handing it to a reader's
# thread.
_ENCODED_BY_WRITER: Final = 64 * 1024


class SQLiteContents(Contents):
    """The content of files in an open database; `manifest_ids` yields new ids."""

    def __init__(
        self, database: OpenDatabase, pins: Pins, manifest_ids: itertools.count[int]
    ) -> None:
        self._database = database
        self._pins = pins
        self._manifest_ids = manifest_ids
        self._running: WeakSet[SQLiteUpload] = WeakSet()

    @property
    def chunk_size(self) -> int:
        return self._database.state.chunk_size

    def begin(self) -> SQLiteUpload:
        upload = SQLiteUpload(self._database, next(self._manifest_ids))
        self._running.add(upload)
        return upload

    def open_manifests(self) -> Sequence[int]:
        """Return the ids of the manifests that uploads of this process have begun."""
        return [upload.manifest.id for upload in self._running if upload.begun]

    def open(self, name: FileName, *, inline: int = 0) -> AbstractAsyncContextManager[File | None]:
        return self._pins.opened(partial(self._database.lookups.run, OpenFile(name, inline).run))

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
        job = ReadChunks(chunks, start, stop, most)
        async with marking_damage(self._database):
            read = await read_bytes(self._database, job.run)
            if whole is not None:
                read.continue_list(chunks, whole)
        return read.content


class SQLiteUpload(RequestUpload):
    """An upload to an open database, whose manifest has this id."""

    def __init__(self, database: OpenDatabase, manifest_id: int) -> None:
        super().__init__(manifest_id, database.state.chunk_size)
        self._database = database
        self._segments: SegmentIntake | None = None

    async def prepare(self, chunks: Sequence[AnyChunk]) -> EncodedBatch:
        policy, bounds = self._database.policy, self._database.segments.bounds
        encodings, size = await encode(self._database.readers, policy, chunks, bounds.least)
        written = None
        if encodings and self._database.segments.are_for(size):
            written = await self._write(encodings)
        return EncodedBatch(self, chunks, policy, {} if written else encodings, size, written)

    async def _write(self, encodings: Mapping[Digest, Encoded]) -> WrittenBatch | None:
        """Write much that is missing to a segment; None if it has to go to the database."""
        if self._segments is None:
            self._segments = SegmentIntake(self._database, self.manifest)
        self._begun = True
        return await self._segments.write(encodings)

    async def store(self, batch: EncodedBatch) -> None:
        """Store a batch after those before it."""
        self._begun = True
        if batch.written is not None:
            assert self._segments is not None
            await self._segments.place(batch.written, self.manifest, batch.chunks)
        else:
            self.appended += await self._database.writable.run(
                batch.run, size=batch.size + EDIT_SIZE + size_of_places(batch.chunks), durable=False
            )
        add_chunks(self._list, batch.chunks)

    async def finish(self) -> None:
        """Have the database know all that was stored; to be done before the `Put`."""
        if self._segments is not None:
            self.appended += await self._segments.finish()

    async def abort(self) -> None:
        if self._begun:
            self._begun = False
            if self._segments is not None:
                await self._segments.discard()
            await self._database.writable.run(partial(manifests.forget, manifest_id=self._id))


@dataclass(frozen=True, slots=True)
class EncodedBatch(PreparedBatch):
    """Chunks of `upload`, the missing ones encoded, or `written` to a segment.

    The encoded ones take about `size` bytes.
    """

    upload: SQLiteUpload
    chunks: Sequence[AnyChunk]
    policy: StoragePolicy
    encodings: Encodings
    size: int
    written: WrittenBatch | None

    async def store(self) -> None:
        await self.upload.store(self)

    def run(self, db: sqlite3.Connection) -> NewBytes:
        """Append the chunks to the upload's manifest; return how many of them are new."""
        manifest = self.upload.manifest
        # What was before it may be in a segment, and not be published yet.
        manifests.add_manifest(db, manifest.id, manifest.chunk_size)
        return manifests.append(db, self.policy, manifest, self.chunks, self.encodings)


def own_upload(upload: Upload) -> SQLiteUpload:
    """Return an upload that was begun by a store of this kind."""
    if not isinstance(upload, SQLiteUpload):
        raise TypeError("the upload was begun by another store")
    return upload


async def encode(
    readers: ReaderPool,
    policy: StoragePolicy,
    chunks: Sequence[AnyChunk],
    least: int = _ENCODED_BY_WRITER,
) -> tuple[Encodings, int]:
    """Encode the missing chunks of a large batch in advance, so that no other writer waits for it.

    One of `least` bytes is large, and so is one that takes a writer as long as handing it to
    another thread. Return them, and about how many bytes the transaction will write.
    """
    brought = [chunk for chunk in chunks if isinstance(chunk, Chunk)]
    size = size_of(brought)
    if size < min(least, _ENCODED_BY_WRITER):
        return {}, size
    encodings = await readers.run(EncodeMissing(brought, policy).run)
    return encodings, sum(len(encoded.content) for encoded in encodings.values())


def size_of_places(chunks: Sequence[AnyChunk]) -> int:
    """Return about how many bytes the places of chunks take that are only referred to."""
    return SIZE_OF_ROWS * sum(isinstance(chunk, KnownChunk) for chunk in chunks)
