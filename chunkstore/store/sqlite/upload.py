"""Taking in new contents: an upload of one request, batch by batch, and its commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Final

from chunkstore.core.chunking import Chunk
from chunkstore.store.contract.store import Commit, Storing, Upload
from chunkstore.store.contract.values import File
from chunkstore.store.shared.chunks import Encodings, NewBytes, OpenManifest, size_of
from chunkstore.store.shared.times import Times
from chunkstore.store.sqlite import contents, tree
from chunkstore.store.sqlite.contents import StoragePolicy
from chunkstore.store.sqlite.engine.connection import ReaderPool
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE
from chunkstore.store.sqlite.engine.writer import Writer

# Less is compressed within its transaction, which takes less time than a reader's thread would.
_ENCODED_BY_WRITER: Final = 64 * 1024


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
        self.appended = NewBytes()

    @property
    def manifest(self) -> OpenManifest:
        """The chunk list so far."""
        return OpenManifest(self._id, self._chunk_size, self._count)

    async def prepare(self, chunks: Sequence[Chunk]) -> Storing:
        encodings, size = await encode(self._readers, self._policy, chunks)
        return partial(self._store, chunks, encodings, size)

    async def _store(self, chunks: Sequence[Chunk], encodings: Encodings, size: int) -> None:
        self._begun = True
        self.appended += await self._writer.run(
            partial(
                contents.append,
                policy=self._policy,
                manifest=self.manifest,
                chunks=chunks,
                encodings=encodings,
            ),
            size=size + EDIT_SIZE,
            durable=False,
        )
        self._count += len(chunks)

    @property
    def begun(self) -> bool:
        return self._begun

    async def abort(self) -> None:
        if self._begun:
            self._begun = False
            await self._writer.run(partial(contents.forget, manifest_id=self._id))

    def committed(self) -> None:
        """Note that the manifest is a file's now."""
        self._begun = False


def own_upload(commit: Commit) -> SQLiteUpload:
    if not isinstance(commit.upload, SQLiteUpload):
        raise TypeError("the upload was begun by another store")
    return commit.upload


async def encode(
    readers: ReaderPool, policy: StoragePolicy, chunks: Sequence[Chunk]
) -> tuple[Encodings, int]:
    """Encode what is missing of a large batch ahead, so that it keeps no other writer waiting.

    Return it, and about how many bytes the transaction will write.
    """
    size = size_of(chunks)
    if size <= _ENCODED_BY_WRITER:
        return {}, size
    encodings = await readers.run(partial(contents.encode_missing, policy=policy, chunks=chunks))
    return encodings, sum(len(encoded.content) for encoded in encodings.values())


def commit_all(
    db: sqlite3.Connection,
    policy: StoragePolicy,
    commits: Sequence[Commit],
    manifests: Sequence[OpenManifest],
    encodings: Encodings,
) -> list[tuple[File, bool, NewBytes]]:
    results = []
    for commit, open_manifest in zip(commits, manifests, strict=True):
        manifest, appended = contents.seal(
            db, policy, open_manifest, commit.last, encodings, commit.digest, commit.size
        )
        file, replaced = tree.put_file(
            db,
            commit.name,
            manifest,
            commit.media_type,
            commit.conditions,
            Times.of(commit.created, commit.modified),
        )
        results.append((file, replaced, appended))
    return results
