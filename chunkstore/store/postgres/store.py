"""The store contract over one PostgreSQL database, which any number of servers have open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

import asyncpg
import blake3

import chunkstore
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE, check_chunk_size
from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.errors import Forbidden, StoreError
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.core.periodic import Periodic
from chunkstore.store.contract.reports import Collected, Copied, Scrubbed, ScrubReport, Stats
from chunkstore.store.contract.store import Commit, Store
from chunkstore.store.contract.values import Committed, File, Listing
from chunkstore.store.postgres import collecting, listing, schema, scrubbing, tree
from chunkstore.store.postgres.connection import (
    CONNECTIONS,
    LONG_SECONDS,
    Connection,
    Database,
)
from chunkstore.store.postgres.gaps import Gaps
from chunkstore.store.postgres.presence import Presence
from chunkstore.store.postgres.reading import Reader, find_with_content
from chunkstore.store.postgres.resumable import PostgresUploads, new_manifest_id
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.postgres.upload import PostgresUpload, commit_all
from chunkstore.store.shared.chunks import DamagedChunk
from chunkstore.store.shared.pins import Pins
from chunkstore.store.shared.records import format_report, parse_report


class PostgresStore(Store):
    """The store contract over one PostgreSQL database. Open it with `open`."""

    def __init__(
        self,
        database: Database,
        standby: Database | None,
        gaps: Gaps,
        *,
        compression: Compression,
        chunk_size: int,
        read_only: bool,
    ) -> None:
        self._database = database
        self._standby = standby
        self._gaps = gaps
        self._reader = Reader(database, standby, gaps)
        self._compression = compression
        self._chunk_size = chunk_size
        self._read_only = read_only
        self._pins = Pins()
        self._presence = Presence(database, self._pins)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        read_url: str | None = None,
        chunk_size: int | None = None,
        compression: Compression = DEFAULT_COMPRESSION,
        connections: int = CONNECTIONS,
        read_only: bool = False,
        create: bool = True,
    ) -> PostgresStore:
        """Open the database at `url`; without `create`, or to be read only, it must be a store.

        Chunks' bytes are read from the database at `read_url`, a standby, if there is one; what it
        lacks comes from the primary. `chunk_size` becomes the store's for new contents; None keeps
        the one it has. New chunks are kept by `compression`. At most `connections` are made to each
        database.

        Raises:
            StoreUnusable: it cannot be opened; a subclass says more where more is known.
            ValueError: `chunk_size` is not a possible one.
        """
        if chunk_size is not None:
            check_chunk_size(chunk_size)
        database = await Database.open(url, connections=connections)
        standby = store = None
        try:
            if create and not read_only:
                await schema.prepare(database)
            else:
                await database.read(schema.require_current)
            chunk_size = await _settle_chunk_size(database, chunk_size, read_only=read_only)
            if read_url is not None:
                standby = await Database.open(read_url, connections=connections, what="The standby")
            store = cls(
                database,
                standby,
                await Gaps.of(database),
                compression=compression,
                chunk_size=chunk_size,
                read_only=read_only,
            )
            if not await database.read(_is_standby):
                # Also to read only: what its reader is in the middle of must not be removed.
                await store._presence.start()
            if not read_only:
                await collecting.forget_abandoned(database)
        except BaseException:
            if store is not None:
                await store.close()
                raise
            await database.close()
            if standby is not None:
                await standby.close()
            raise
        return store

    @property
    def chunk_size(self) -> int:
        return self._chunk_size

    @property
    def _writable(self) -> Database:
        if self._read_only:
            raise StoreError("The store was opened for reading only.")
        return self._database

    @property
    def uploads(self) -> PostgresUploads:
        return PostgresUploads(self._writable, self._compression, self._chunk_size)

    @property
    def tasks(self) -> Sequence[Periodic]:
        return [self._presence.heartbeat]

    def begin(self) -> PostgresUpload:
        return PostgresUpload(
            self._writable,
            self._compression,
            new_manifest_id(),
            self._chunk_size,
            self._presence.server,
        )

    async def commit(self, commits: Sequence[Commit]) -> list[Committed]:
        return await commit_all(self._writable, self._compression, commits)

    async def find_file(self, name: FileName) -> File | None:
        return await self._database.read(partial(tree.find_file, name=name))

    async def refuse_conflict(self, name: FileName) -> None:
        await self._database.read(partial(tree.refuse_conflict, name=name))

    def opened(
        self, name: FileName, *, inline: int = 0
    ) -> AbstractAsyncContextManager[File | None]:
        find = partial(find_with_content, name=name, inline=inline)
        return self._pins.opened(partial(self._database.read, find))

    async def read(self, chunks: ChunkList, start: int, stop: int) -> bytes:
        try:
            return await self._reader.read(chunks, start, stop)
        except DamagedChunk as error:
            if not self._read_only:
                # So that the next upload that brings the chunk stores it anew.
                await self._database.write(
                    partial(scrubbing.mark, digest=error.digest.raw, damaged=True)
                )
            raise

    async def delete_file(self, name: FileName, conditions: Conditions = UNCONDITIONAL) -> None:
        await self._writable.write_once(partial(tree.delete_file, name=name, conditions=conditions))

    async def copy_file(
        self,
        source: FileName,
        target: FileName,
        *,
        overwrite: bool = True,
        conditions: Conditions = UNCONDITIONAL,
    ) -> bool:
        return await self._transfer_file(source, target, conditions, overwrite, keep_source=True)

    async def move_file(
        self,
        source: FileName,
        target: FileName,
        *,
        overwrite: bool = True,
        conditions: Conditions = UNCONDITIONAL,
    ) -> bool:
        return await self._transfer_file(source, target, conditions, overwrite, keep_source=False)

    async def _transfer_file(
        self,
        source: FileName,
        target: FileName,
        conditions: Conditions,
        overwrite: bool,
        *,
        keep_source: bool,
    ) -> bool:
        return await self._writable.write_once(
            partial(
                tree.transfer_file,
                source=source,
                target=target,
                conditions=conditions,
                keep_source=keep_source,
                overwrite=overwrite,
            )
        )

    async def folder_exists(self, name: FolderName) -> bool:
        return await self._database.read(partial(tree.folder_exists, name=name))

    async def make_folder(self, name: FolderName) -> None:
        await self._writable.write_once(partial(tree.make_folder, name=name))

    async def delete_folder(self, name: FolderName) -> None:
        await self._writable.write_many_once(partial(tree.delete_folder, name=name))

    async def copy_folder(
        self,
        source: FolderName,
        target: FolderName,
        *,
        overwrite: bool = True,
        with_members: bool = True,
    ) -> bool:
        return await self._writable.write_many_once(
            partial(
                tree.copy_folder,
                source=source,
                target=target,
                overwrite=overwrite,
                with_members=with_members,
            )
        )

    async def move_folder(
        self, source: FolderName, target: FolderName, *, overwrite: bool = True
    ) -> bool:
        return await self._writable.write_many_once(
            partial(tree.move_folder, source=source, target=target, overwrite=overwrite)
        )

    async def list_files(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
    ) -> Listing:
        return await self._database.read(
            partial(
                listing.list_names, prefix=prefix, delimiter=delimiter, after=after, limit=limit
            )
        )

    def collect(self, grace_seconds: float, *, dry_run: bool = False) -> AsyncIterator[Collected]:
        if dry_run:
            return collecting.find_unused(self._database, grace_seconds)
        return collecting.collect(self._writable, self._presence, self._gaps, grace_seconds)

    def scrub(self) -> AsyncIterator[Scrubbed]:
        return scrubbing.scrub(self._database, self._gaps, note=not self._read_only)

    async def put_scrub_report(self, report: ScrubReport) -> None:
        await self._writable.write(partial(_put_setting, name="scrub", value=format_report(report)))

    async def find_scrub_report(self) -> ScrubReport | None:
        # Readiness is told by this.
        text = await self._database.ask("find_setting", "scrub")
        return None if text is None else parse_report(text)

    async def backup(self, destination: str) -> AsyncIterator[Copied]:
        raise Forbidden(
            "A PostgreSQL database is backed up by its own means, as pg_basebackup;"
            " `chunkstore copy` copies the files to another store."
        )
        yield  # makes this the iterator that the contract has

    async def stats(self) -> Stats:
        counted = await self._database.snapshot(_count)
        return Stats(
            files=counted.files,
            contents=counted.contents,
            chunks=counted.chunks,
            damaged=counted.damaged,
            logical_size=counted.logical_size,
            unique_size=counted.size,
            stored_size=counted.stored_size,
            # Its tables would have to be joined as a whole for that.
            reclaimable=None,
            database_size=counted.database_size,
            chunk_size=self._chunk_size,
            scrub=await self.find_scrub_report(),
            versions={
                "chunkstore": chunkstore.__version__,
                "schema": str(schema.SCHEMA_VERSION),
                "postgresql": await self._database.read(_server_version),
                "asyncpg": asyncpg.__version__,
                "blake3": blake3.__version__,
            },
        )

    async def close(self) -> None:
        await self._presence.stop()
        if self._standby is not None:
            await self._standby.close()
        await self._database.close()


async def _settle_chunk_size(database: Database, wanted: int | None, *, read_only: bool) -> int:
    """Return the store's chunk size, after recording the one that is wanted."""
    if wanted is not None and not read_only:
        await database.write(partial(_put_setting, name="chunk_size", value=str(wanted)))
        return wanted
    found = await database.read(partial(_find_setting, name="chunk_size"))
    return DEFAULT_CHUNK_SIZE if found is None else int(found)


async def _put_setting(db: Connection, name: str, value: str) -> None:
    await db.execute(QUERIES["put_setting"], name, value)


async def _find_setting(db: Connection, name: str) -> str | None:
    value = await db.fetchval(QUERIES["find_setting"], name)
    return None if value is None else str(value)


async def _is_standby(db: Connection) -> bool:
    return bool(await db.fetchval("SELECT pg_is_in_recovery()"))


async def _server_version(db: Connection) -> str:
    return str(await db.fetchval("SHOW server_version")).partition(" ")[0]


@dataclass(frozen=True, slots=True)
class _Count:
    """How many files, different contents and chunks there are; sizes in bytes, as in `Stats`."""

    files: int
    logical_size: int
    contents: int
    chunks: int
    size: int
    stored_size: int
    damaged: int
    database_size: int


async def _count(db: Connection) -> _Count:
    figures = [
        value
        for query in ("count_files", "count_contents", "count_chunks", "database_size")
        for value in (await db.fetch(QUERIES[query], timeout=LONG_SECONDS))[0]
    ]
    return _Count(*figures)
