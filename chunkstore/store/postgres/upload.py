"""Uploads that end with their request, from their first batch to their commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import Compression
from chunkstore.core.conditional import UNCONDITIONAL
from chunkstore.store.contract.store import Commit, Storing, Upload
from chunkstore.store.contract.values import Committed, File
from chunkstore.store.postgres import contents, tree
from chunkstore.store.postgres.connection import Connection, Database
from chunkstore.store.postgres.contents import KnownChunks, relying_on
from chunkstore.store.postgres.tree import Target
from chunkstore.store.shared.chunks import NewBytes, OpenManifest
from chunkstore.store.shared.times import Times, now_microseconds


class PostgresUpload(Upload):
    """An upload to a PostgreSQL store, through `server`."""

    def __init__(
        self,
        database: Database,
        compression: Compression,
        manifest_id: int,
        chunk_size: int,
        server: str,
    ) -> None:
        self._database = database
        self._compression = compression
        self._id = manifest_id
        self._chunk_size = chunk_size
        self._server = server
        self._count = 0
        self._begun = False
        self.appended = NewBytes()
        # What a caller who was cancelled has left running comes before what is asked for next.
        self.lock = asyncio.Lock()

    @property
    def manifest(self) -> OpenManifest:
        """The chunk list so far."""
        return OpenManifest(self._id, self._chunk_size, self._count)

    async def prepare(self, chunks: Sequence[Chunk]) -> Storing:
        return partial(self._store, chunks)

    async def _store(self, chunks: Sequence[Chunk]) -> None:
        if not chunks:
            return
        self._begun = True
        await self._database.run_to_end(self._append(chunks))

    async def _append(self, chunks: Sequence[Chunk]) -> None:
        async def write(batch: KnownChunks) -> NewBytes:
            return await self._database.write(
                partial(contents.append, manifest=self.manifest, server=self._server, batch=batch)
            )

        async with self.lock:
            self.appended += await relying_on(self._database, self._compression, chunks, write)
            self._count += len(chunks)

    @property
    def begun(self) -> bool:
        return self._begun

    async def abort(self) -> None:
        if self._begun:
            await self._database.run_to_end(self._abort())

    async def _abort(self) -> None:
        async with self.lock:
            if self._begun:
                await self._database.write(partial(contents.forget, manifest_id=self._id))
                self._begun = False

    def committed(self) -> None:
        """Note that the manifest is a file's now."""
        self._begun = False


async def commit_all(
    database: Database, compression: Compression, commits: Sequence[Commit]
) -> list[Committed]:
    """Make the uploads files, all of them or none."""
    uploads = [_own(commit) for commit in commits]
    last = [chunk for commit in commits for chunk in commit.last]

    async def write(batch: KnownChunks) -> list[Committed]:
        return await database.write_once(
            partial(_commit, commits=commits, uploads=uploads, batch=batch)
        )

    async def commit_in_order() -> list[Committed]:
        async with AsyncExitStack() as locks:
            for upload in uploads:
                await locks.enter_async_context(upload.lock)
            committed = await relying_on(database, compression, last, write)
            for upload in uploads:
                upload.committed()
            return committed

    return await database.run_to_end(commit_in_order())


def _own(commit: Commit) -> PostgresUpload:
    if not isinstance(commit.upload, PostgresUpload):
        raise TypeError("the upload was begun by another store")
    return commit.upload


async def _commit(
    db: Connection, commits: Sequence[Commit], uploads: Sequence[PostgresUpload], batch: KnownChunks
) -> list[Committed]:
    missing = batch.missing
    unattributed: set[bytes] = set()
    if len(commits) > 1 or not batch.small:
        unattributed, missing = await contents.put_chunks(db, missing), ()
    results: dict[int, Committed] = {}
    # Names are locked in order, so that two commits of the same names do not wait in a circle.
    for place in sorted(range(len(commits)), key=lambda place: commits[place].name):
        commit, upload = commits[place], uploads[place]
        digests = [chunk.digest.raw for chunk in commit.last]
        manifest, stored = await contents.add_whole(
            db, upload.manifest, missing, digests, commit.digest, commit.size
        )
        unattributed |= stored
        own = unattributed.intersection(digests)
        unattributed -= own
        new = upload.appended + contents.count_new(batch, own)
        times = Times.of(commit.created, commit.modified)
        modified = now_microseconds() if times.modified is None else times.modified
        target = Target(manifest, commit.media_type, times.created, modified)
        file, replaced = await tree.put_file(db, commit.name, target, _judge(commit))
        results[place] = Committed(file, replaced, new.new_chunks, new.new_size)
    return [results[place] for place in range(len(commits))]


def _judge(commit: Commit) -> Callable[[File | None], None] | None:
    if commit.conditions == UNCONDITIONAL:
        return None

    def require(current: File | None) -> None:
        commit.conditions.require(None if current is None else current.validators)

    return require
