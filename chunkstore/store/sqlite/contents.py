"""The content of files in an SQLite store: uploads of one request, batch by batch, and reading."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final
from weakref import WeakSet

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreError
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import FileName
from chunkstore.store.contract.contents import Contents, PreparedBatch, Upload
from chunkstore.store.contract.values import File
from chunkstore.store.shared.chunks import (
    DamagedChunk,
    Encodings,
    NewBytes,
    OpenManifest,
    size_of,
)
from chunkstore.store.shared.pins import Pins
from chunkstore.store.sqlite import manifests
from chunkstore.store.sqlite.engine.connection import ReaderPool
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.manifests import StoragePolicy
from chunkstore.store.sqlite.opening import Opened

# Less is compressed within its transaction, which takes less time than a reader's thread would.
_ENCODED_BY_WRITER: Final = 64 * 1024


class SQLiteContents(Contents):
    """The content of files in the database that is `opened`; `manifest_ids` yields new ids."""

    def __init__(self, opened: Opened, pins: Pins, manifest_ids: itertools.count[int]) -> None:
        self._opened = opened
        self._pins = pins
        self._manifest_ids = manifest_ids
        self._running: WeakSet[SQLiteUpload] = WeakSet()

    @property
    def chunk_size(self) -> int:
        return self._opened.state.chunk_size

    def begin(self) -> SQLiteUpload:
        upload = SQLiteUpload(
            self._opened.readers,
            self._opened.writable,
            self._opened.policy,
            next(self._manifest_ids),
            self.chunk_size,
        )
        self._running.add(upload)
        return upload

    def in_the_making(self) -> Sequence[int]:
        """Return the ids of manifests that uploads of this process have begun."""
        return [upload.manifest.id for upload in self._running if upload.begun]

    def open(self, name: FileName, *, inline: int = 0) -> AbstractAsyncContextManager[File | None]:
        find = partial(manifests.find_file, name=name, inline=inline)
        return self._pins.opened(partial(self._opened.lookups.run, find))

    async def read(self, chunks: ChunkList, start: int, stop: int) -> bytes:
        try:
            return await self._opened.readers.run(
                partial(manifests.read, chunks=chunks, start=start, stop=stop)
            )
        except DamagedChunk as error:
            await self._mark(error.digest)
            raise

    async def _mark(self, digest: Digest) -> None:
        """Note that a chunk is damaged, so that the next upload that brings it stores it anew."""
        writer = self._opened.writer
        if writer is None or await self._opened.lookups.run(
            partial(manifests.is_marked, digest=digest)
        ):
            return
        # What a crash forgets, or a full disk refuses, is noted by the next who reads it.
        with suppress(StoreError):
            await writer.run(partial(manifests.mark, digest=digest, damaged=True), durable=False)


class SQLiteUpload(Upload):
    """An upload to an SQLite store."""

    def __init__(
        self,
        readers: ReaderPool,
        writer: Writer,
        policy: StoragePolicy,
        manifest_id: int,
        chunk_size: int,
    ) -> None:
        self._readers = readers
        self._writer = writer
        self._policy = policy
        self._id = manifest_id
        self._chunk_size = chunk_size
        self._count = 0
        self._begun = False
        self.ended = False
        self.appended = NewBytes()

    @property
    def manifest(self) -> OpenManifest:
        """The chunk list so far."""
        return OpenManifest(self._id, self._chunk_size, self._count)

    async def prepare(self, chunks: Sequence[Chunk]) -> EncodedBatch:
        encodings, size = await encode(self._readers, self._policy, chunks)
        return EncodedBatch(self, chunks, encodings, size)

    async def store(self, batch: EncodedBatch) -> None:
        """Store a batch behind those before."""
        self._begun = True
        self.appended += await self._writer.run(
            partial(
                manifests.append,
                policy=self._policy,
                manifest=self.manifest,
                chunks=batch.chunks,
                encodings=batch.encodings,
            ),
            size=batch.size + EDIT_SIZE,
            durable=False,
        )
        self._count += len(batch.chunks)

    @property
    def begun(self) -> bool:
        return self._begun

    async def abort(self) -> None:
        if self._begun:
            self._begun = False
            await self._writer.run(partial(manifests.forget, manifest_id=self._id))

    def committed(self) -> None:
        """Note that the manifest is a file's now."""
        self._begun = False
        self.ended = True


@dataclass(frozen=True, slots=True)
class EncodedBatch(PreparedBatch):
    """Chunks of `upload`, those that are missing encoded; they take about `size` bytes."""

    upload: SQLiteUpload
    chunks: Sequence[Chunk]
    encodings: Encodings
    size: int

    async def store(self) -> None:
        await self.upload.store(self)


def own_upload(upload: Upload) -> SQLiteUpload:
    """Return an upload as one of this kind of store."""
    if not isinstance(upload, SQLiteUpload):
        raise TypeError("the upload was begun by another store")
    return upload


async def encode(
    readers: ReaderPool, policy: StoragePolicy, chunks: Sequence[Chunk]
) -> tuple[Encodings, int]:
    """Encode what is missing of a large batch ahead, so that it keeps no other writer waiting.

    Return it, and about how many bytes the transaction will write.
    """
    size = size_of(chunks)
    if size <= _ENCODED_BY_WRITER:
        return {}, size
    encodings = await readers.run(partial(manifests.encode_missing, policy=policy, chunks=chunks))
    return encodings, sum(len(encoded.content) for encoded in encodings.values())
