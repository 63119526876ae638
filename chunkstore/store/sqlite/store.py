"""The store contract over one SQLite database."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakSet

import blake3

import chunkstore
from chunkstore.core.chunking import check_chunk_size
from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.core.conditional import UNCONDITIONAL, Conditions
from chunkstore.core.digest import Digest
from chunkstore.core.errors import (
    DatabaseDamaged,
    Forbidden,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreUnavailable,
    StoreUnusable,
)
from chunkstore.core.manifest import ChunkList
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.reports import Collected, Copied, Scrubbed, ScrubReport, Stats
from chunkstore.store.contract.store import Commit, Store
from chunkstore.store.contract.values import Committed, File, Listing
from chunkstore.store.shared.chunks import DamagedChunk
from chunkstore.store.shared.pins import Pins
from chunkstore.store.sqlite import collecting, contents, listing, schema, scrubbing, tree
from chunkstore.store.sqlite.backup import claim, copy_store, succeed
from chunkstore.store.sqlite.contents import StoragePolicy
from chunkstore.store.sqlite.engine.disk_space import EDIT_SIZE, FURTHER_EDIT_SIZE, DiskReserve
from chunkstore.store.sqlite.engine.writer import LOG_BOUND, LOG_FULL, Writer
from chunkstore.store.sqlite.large_folders import LargeFolders
from chunkstore.store.sqlite.opening import Opened, open_to_read, open_to_write
from chunkstore.store.sqlite.resumable import SQLiteUploads
from chunkstore.store.sqlite.settings import (
    count,
    database_size,
    find_scrub_report,
    put_scrub_report,
)
from chunkstore.store.sqlite.tree import MAX_NAMES, ManyNames
from chunkstore.store.sqlite.upload import (
    SQLiteUpload,
    commit_all,
    encode,
    own_upload,
)

_OLDEST_SQLITE: Final = (3, 37, 0)


class SQLiteStore(Store):
    """The store contract over one SQLite database. Open it with `open`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._path = opened.path
        self._readers = opened.readers
        self._lookups = opened.lookups
        self._read_write = opened.writer
        self._reserve = opened.reserve
        self._large = None
        if opened.writer is not None and opened.reserve is not None:
            self._large = LargeFolders(opened.readers, opened.writer, opened.reserve)
        self._watch = opened.watch
        self._policy = opened.policy
        self._chunk_size = opened.state.chunk_size
        self._manifest_ids = itertools.count(opened.state.last_manifest + 1)
        self._pins = Pins()
        self._running: WeakSet[SQLiteUpload] = WeakSet()

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        chunk_size: int | None = None,
        compression: Compression = DEFAULT_COMPRESSION,
        min_free: int = 0,
        log_bound: int = LOG_BOUND,
        log_full: int = LOG_FULL,
        read_only: bool = False,
        create: bool = True,
    ) -> SQLiteStore:
        """Open the database at `path`; without `create`, or to be read only, it must exist.

        `chunk_size` becomes the store's for new contents; None keeps the one it has. New chunks
        are kept by `compression`; what adds anything is refused where it would leave the file
        system less than `min_free` bytes. The write-ahead log grows to little more than
        `log_bound` bytes, and to `log_full` if another program's reader keeps it from being
        emptied.

        Raises:
            StoreUnusable: it cannot be opened; a subclass says more where more is known.
            ValueError: `chunk_size` is not a possible one.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is needed.")
        if chunk_size is not None:
            check_chunk_size(chunk_size)
        # Another name for the same file must lead to the same lock.
        path = await asyncio.to_thread(path.resolve)
        mode = os.R_OK if read_only else os.R_OK | os.W_OK
        await asyncio.to_thread(schema.check_access, path, mode)
        if (read_only or not create) and not await asyncio.to_thread(path.is_file):
            raise StoreMissing
        policy = StoragePolicy(compression)
        try:
            if read_only:
                return cls(await open_to_read(path, policy))
            reserve = DiskReserve(path, min_free=min_free)
            write_by = partial(Writer, reserve=reserve, log_bound=log_bound, log_full=log_full)
            store = cls(await open_to_write(path, write_by, reserve, policy, chunk_size))
            try:
                await store._large_folders.recover()
            except BaseException:
                await store.close()
                raise
        except DatabaseDamaged as error:
            raise StoreUnusable(str(error)) from error
        except StoreUnavailable as error:
            if await asyncio.to_thread(os.access, path.parent, os.W_OK):
                raise
            raise StoreUnusable(
                "SQLite needs a file beside it, and its folder cannot be written to: be the user"
                " that the server runs as, or copy it to another folder."
            ) from error
        return store

    @property
    def chunk_size(self) -> int:
        return self._chunk_size

    @property
    def _writer(self) -> Writer:
        if self._read_write is None:
            raise StoreError("The store was opened for reading only.")
        return self._read_write

    @property
    def _large_folders(self) -> LargeFolders:
        if self._large is None:
            raise StoreError("The store was opened for reading only.")
        return self._large

    @property
    def uploads(self) -> SQLiteUploads:
        return SQLiteUploads(
            self._readers,
            self._writer,
            self._policy,
            partial(encode, self._readers, self._policy),
            self._manifest_ids,
            self._chunk_size,
        )

    async def require_room(self) -> None:
        if self._reserve is not None:
            reason = await asyncio.to_thread(self._reserve.why_full, self._chunk_size)
            if reason is not None:
                raise StoreFull(reason)

    def begin(self) -> SQLiteUpload:
        upload = SQLiteUpload(
            self._readers,
            self._writer,
            self._policy,
            next(self._manifest_ids),
            self._chunk_size,
        )
        self._running.add(upload)
        return upload

    async def commit(self, commits: Sequence[Commit]) -> list[Committed]:
        uploads = [own_upload(commit) for commit in commits]
        last = [chunk for commit in commits for chunk in commit.last]
        encodings, size = await encode(self._readers, self._policy, last)
        results = await self._writer.run(
            partial(
                commit_all,
                policy=self._policy,
                commits=commits,
                manifests=[upload.manifest for upload in uploads],
                encodings=encodings,
            ),
            size=size + EDIT_SIZE + len(commits) * FURTHER_EDIT_SIZE,
        )
        committed = []
        for upload, (file, replaced, appended) in zip(uploads, results, strict=True):
            upload.committed()
            new = upload.appended + appended
            committed.append(Committed(file, replaced, new.new_chunks, new.new_size))
        return committed

    async def find_file(self, name: FileName) -> File | None:
        return await self._lookups.run(partial(tree.find_file, name=name))

    def opened(
        self, name: FileName, *, inline: int = 0
    ) -> AbstractAsyncContextManager[File | None]:
        find = partial(contents.find_file, name=name, inline=inline)
        return self._pins.opened(partial(self._lookups.run, find))

    async def read(self, chunks: ChunkList, start: int, stop: int) -> bytes:
        try:
            return await self._readers.run(
                partial(contents.read, chunks=chunks, start=start, stop=stop)
            )
        except DamagedChunk as error:
            await self._mark(error.digest)
            raise

    async def _mark(self, digest: Digest) -> None:
        """Note that a chunk is damaged, so that the next upload that brings it stores it anew."""
        if self._read_write is None or await self._lookups.run(
            partial(contents.is_marked, digest=digest)
        ):
            return
        # What a crash forgets, or a full disk refuses, is noted by the next who reads it.
        with suppress(StoreError):
            await self._writer.run(
                partial(contents.mark, digest=digest, damaged=True), durable=False
            )

    async def delete_file(self, name: FileName, conditions: Conditions = UNCONDITIONAL) -> None:
        await self._writer.run(partial(tree.delete_file, name=name, conditions=conditions))

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
        return await self._writer.run(
            partial(
                tree.transfer_file,
                source=source,
                target=target,
                conditions=conditions,
                keep_source=keep_source,
                overwrite=overwrite,
            ),
            size=EDIT_SIZE,
        )

    async def folder_exists(self, name: FolderName) -> bool:
        return await self._lookups.run(partial(tree.folder_exists, name=name))

    async def make_folder(self, name: FolderName) -> None:
        await self._writer.run(partial(tree.make_folder, name=name), size=EDIT_SIZE)

    async def delete_folder(self, name: FolderName) -> None:
        try:
            await self._writer.run(partial(tree.delete_folder, name=name))
        except ManyNames:
            await self._large_folders.delete(name)

    async def copy_folder(
        self,
        source: FolderName,
        target: FolderName,
        *,
        overwrite: bool = True,
        with_members: bool = True,
    ) -> bool:
        if with_members:
            return await self._transfer_folder(source, target, overwrite, keep_source=True)
        copy = partial(tree.copy_folder_alone, source=source, target=target, overwrite=overwrite)
        try:
            return await self._writer.run(copy, size=EDIT_SIZE)
        except ManyNames:
            await self._large_folders.delete(target)
            await self._writer.run(copy, size=EDIT_SIZE)
            return True

    async def move_folder(
        self, source: FolderName, target: FolderName, *, overwrite: bool = True
    ) -> bool:
        return await self._transfer_folder(source, target, overwrite, keep_source=False)

    async def _transfer_folder(
        self, source: FolderName, target: FolderName, overwrite: bool, *, keep_source: bool
    ) -> bool:
        transfer = tree.copy_folder if keep_source else tree.move_folder
        try:
            return await self._writer.run(
                partial(transfer, source=source, target=target, overwrite=overwrite),
                size=EDIT_SIZE + MAX_NAMES * FURTHER_EDIT_SIZE,
            )
        except ManyNames:
            return await self._large_folders.transfer(
                source, target, overwrite=overwrite, keep_source=keep_source
            )

    async def list_files(
        self,
        prefix: str = ROOT,
        *,
        delimiter: str = "",
        after: str | None = None,
        limit: int = 1000,
    ) -> Listing:
        return await self._readers.run(
            partial(
                listing.list_names, prefix=prefix, delimiter=delimiter, after=after, limit=limit
            )
        )

    def collect(self, grace_seconds: float, *, dry_run: bool = False) -> AsyncIterator[Collected]:
        if dry_run:
            return collecting.find_unused(self._readers, grace_seconds)
        return self._collect(grace_seconds)

    async def finish_recovery(self) -> None:
        await self._large_folders.finish_recovery()

    async def _collect(self, grace_seconds: float) -> AsyncIterator[Collected]:
        await self._large_folders.recover()
        steps = collecting.collect(
            self._readers,
            self._writer,
            self._pins,
            lambda: [upload.manifest.id for upload in self._running if upload.begun],
            grace_seconds,
        )
        async for collected in steps:
            yield collected

    def scrub(self) -> AsyncIterator[Scrubbed]:
        return scrubbing.scrub(self._readers, self._read_write)

    async def put_scrub_report(self, report: ScrubReport) -> None:
        await self._writer.run(partial(put_scrub_report, report=report))

    async def find_scrub_report(self) -> ScrubReport | None:
        return await self._readers.run(find_scrub_report)

    async def backup(self, destination: str) -> AsyncIterator[Copied]:
        if "://" in destination:
            raise StoreError(
                "A backup is an SQLite database; `chunkstore copy` fills one of PostgreSQL."
            )
        if await asyncio.to_thread(Path(destination).resolve) == self._path:
            raise Forbidden("The backup is the store itself.")
        try:
            target = await SQLiteStore.open(Path(destination), chunk_size=self._chunk_size)
        except StoreUnusable as error:
            raise StoreError(f"{destination} cannot be opened: {error}") from error
        try:
            async with aclosing(copy_store(self._path, target._writer, claim)) as steps:
                async for copied in steps:
                    yield copied
            async for _ in target.collect(0):
                pass
        except StoreFull as error:
            raise StoreFull(f"There is no room for the backup where {destination} is.") from error
        finally:
            await target.close(keep_reserve=False)

    async def restore(self, backup: Path) -> AsyncIterator[Copied]:
        """Fill this store, an empty one, from a backup; yield what each step came to.

        It takes the place of the store that was backed up: later backups of it go on with those.
        All that is stored is checked on its way; what is damaged comes along and is told of.
        """
        async with aclosing(copy_store(backup, self._writer, succeed)) as steps:
            async for copied in steps:
                yield copied
        async for broken in scrubbing.find_broken_contents(self._readers):
            yield Copied(0, 0, 1.0, broken)

    async def find_faults(self) -> Sequence[str]:
        return await asyncio.to_thread(self._watch.faults)

    async def stats(self) -> Stats:
        files, chunks = await self._readers.run(count)
        return Stats(
            files=files.files,
            contents=files.contents,
            chunks=chunks.chunks,
            damaged=chunks.damaged,
            logical_size=files.logical_size,
            unique_size=chunks.size,
            stored_size=chunks.stored_size,
            reclaimable=await collecting.find_reclaimable(self._readers),
            database_size=await asyncio.to_thread(database_size, self._path),
            chunk_size=self._chunk_size,
            scrub=await self.find_scrub_report(),
            versions={
                "chunkstore": chunkstore.__version__,
                "schema": str(schema.SCHEMA_VERSION),
                "sqlite": sqlite3.sqlite_version,
                "blake3": blake3.__version__,
            },
        )

    async def close(self, *, keep_reserve: bool = True) -> None:
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self._opened.close, keep_reserve=keep_reserve)
            if self._large is not None:
                last_first.push_async_callback(self._large.close)
