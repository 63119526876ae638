"""The store contract over one SQLite database, which one process writes at a time."""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from chunkstore.core.chunking import check_chunk_size
from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.core.errors import (
    DatabaseDamaged,
    Forbidden,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreUnavailable,
    StoreUnusable,
)
from chunkstore.core.units import format_size
from chunkstore.store.contract.maintenance import Backups
from chunkstore.store.contract.reports import Copied
from chunkstore.store.contract.store import Store
from chunkstore.store.shared.pins import Pins
from chunkstore.store.sqlite import schema
from chunkstore.store.sqlite.audit import SQLiteAudit
from chunkstore.store.sqlite.backup import claim, copy_store, succeed
from chunkstore.store.sqlite.checksums import SQLiteChecksums
from chunkstore.store.sqlite.chunks import SQLiteChunks
from chunkstore.store.sqlite.contents import SQLiteContents
from chunkstore.store.sqlite.descriptions import SQLiteProperties
from chunkstore.store.sqlite.engine.connection import lacks_table
from chunkstore.store.sqlite.engine.disk_space import DiskReserve
from chunkstore.store.sqlite.engine.writer import LOG_BOUND, LOG_FULL, Writer
from chunkstore.store.sqlite.large_folders import LargeFolders
from chunkstore.store.sqlite.locks import SQLiteLocks
from chunkstore.store.sqlite.maintenance import SQLiteMaintenance
from chunkstore.store.sqlite.manifests import StoragePolicy
from chunkstore.store.sqlite.name_changes import SQLiteNameChanges
from chunkstore.store.sqlite.names import SQLiteNames
from chunkstore.store.sqlite.opening import OpenDatabase, open_to_read, open_to_write
from chunkstore.store.sqlite.quotas import SQLiteQuotas
from chunkstore.store.sqlite.records import SQLiteRecords
from chunkstore.store.sqlite.segments.segments import BOUNDS, SegmentBounds
from chunkstore.store.sqlite.settings import NewSettings
from chunkstore.store.sqlite.subtrees import SQLiteSubtrees
from chunkstore.store.sqlite.uploads import SQLiteUploads

_OLDEST_SQLITE: Final = (3, 37, 0)


class SQLiteStore(Store):
    """The store contract over one SQLite database. Open it with `open`."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database
        self._large_folders = None
        if database.writer is not None and database.reserve is not None:
            self._large_folders = LargeFolders(
                database.readers, database.writer, database.reserve, database.quotas
            )
        manifest_ids = itertools.count(database.state.last_manifest + 1)
        pins = Pins()
        self._names = SQLiteNames(database, self._large_folders)
        self._contents = SQLiteContents(database, pins, manifest_ids)
        self._uploads = SQLiteUploads(database, manifest_ids)
        self._maintenance = SQLiteMaintenance(database, self._contents, pins, self._large_folders)

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
        recover: bool = False,
        one_file: bool | None = None,
        segment_bounds: SegmentBounds = BOUNDS,
    ) -> SQLiteStore:
        """Open the database at `path`, which must exist if not `create` or if `read_only`.

        `chunk_size` is set for new content; None keeps the one that the store has. New chunks are
        encoded by `compression`. What would leave the file system fewer than `min_free` bytes is
        refused. The write-ahead log grows to little more than `log_bound` bytes, or to `log_full`
        if a reader of another program keeps it from being emptied. With `one_file` all that is new
        goes to the database file, otherwise large contents to segments; None keeps what it has.

        What a crashed process has left is ended in the background, or before this returns with
        `recover`.

        Raises:
            StoreUnusable: the database cannot be opened; a subclass says more where more is known.
            ValueError: `chunk_size` is not a possible one.
        """
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old; 3.37 is needed.")
        if chunk_size is not None:
            check_chunk_size(chunk_size)
        # Another name of the same file must lead to the same lock.
        path = await asyncio.to_thread(path.resolve)
        mode = os.R_OK if read_only else os.R_OK | os.W_OK
        await asyncio.to_thread(schema.check_access, path, mode)
        if (read_only or not create) and not await asyncio.to_thread(path.is_file):
            raise StoreMissing
        policy = StoragePolicy(compression)
        async with _unusable_if_not_opened(path):
            if read_only:
                return cls(await open_to_read(path, policy))
            too_little = (
                f"The disk would have less than the {format_size(min_free)} left that"
                " --min-free keeps free."
            )
            reserve = DiskReserve(path, min_free=min_free, too_little=too_little)
            write_by = partial(Writer, reserve=reserve, log_bound=log_bound, log_full=log_full)
            settings = NewSettings(chunk_size, one_file)
            store = cls(
                await open_to_write(path, write_by, reserve, policy, settings, segment_bounds)
            )
            try:
                await store._recover(to_its_end=recover)
            except BaseException:
                await store.close()
                raise
        return store

    @property
    def one_file(self) -> bool:
        """Whether all that is new goes to the database file."""
        return self._database.state.one_file

    @property
    def names(self) -> SQLiteNames:
        return self._names

    @property
    def contents(self) -> SQLiteContents:
        return self._contents

    @property
    def chunks(self) -> SQLiteChunks:
        return SQLiteChunks(self._database)

    @property
    def uploads(self) -> SQLiteUploads:
        return self._uploads

    @property
    def subtrees(self) -> SQLiteSubtrees:
        return SQLiteSubtrees(self._database)

    @property
    def checksums(self) -> SQLiteChecksums:
        return SQLiteChecksums(self._database)

    @property
    def properties(self) -> SQLiteProperties:
        return SQLiteProperties(self._database)

    @property
    def records(self) -> SQLiteRecords:
        return SQLiteRecords(self._database)

    @property
    def quotas(self) -> SQLiteQuotas:
        return SQLiteQuotas(self._database)

    @property
    def locks(self) -> SQLiteLocks:
        return SQLiteLocks(self._database)

    @property
    def audit(self) -> SQLiteAudit:
        return SQLiteAudit(self._database)

    @property
    def maintenance(self) -> SQLiteMaintenance:
        return self._maintenance

    @property
    def backups(self) -> SQLiteBackups:
        return SQLiteBackups(self._database)

    @property
    def name_changes(self) -> SQLiteNameChanges | None:
        database = self._database
        if database.writer is None or database.watched is None:
            return None
        return SQLiteNameChanges(database.writer, database.watched)

    async def restore(self, backup: Path) -> AsyncIterator[Copied]:
        """Copy a backup to this store, which is empty; yield what each step copied.

        This store takes the place of the one that was backed up, so that later backups continue
        with its backups. Everything is checked on its way; damage is copied and reported.
        """
        async with aclosing(copy_store(backup, self._database, succeed)) as steps:
            async for copied in steps:
                yield copied

    async def fill(self, source: Path) -> AsyncGenerator[Copied, None]:
        """Make this store a backup of the one at `source`; yield what each step copied."""
        async with aclosing(copy_store(source, self._database, claim)) as steps:
            async for copied in steps:
                yield copied
        async for _ in self._maintenance.collect(0):
            pass
        await self._maintenance.compact()

    async def _recover(self, *, to_its_end: bool) -> None:
        if self._large_folders is not None:
            await self._large_folders.recover()
            if to_its_end:
                await self._large_folders.finish_recovery()

    async def close(self, *, keep_reserve: bool = True) -> None:
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self._database.close, keep_reserve=keep_reserve)
            if self._large_folders is not None:
                last_first.push_async_callback(self._large_folders.close)


@asynccontextmanager
async def _unusable_if_not_opened(path: Path) -> AsyncIterator[None]:
    """Tell of what fails in the context why the database at `path` cannot be opened.

    Raises:
        StoreUnusable: in place of what is no matter of waiting.
    """
    try:
        yield
    except DatabaseDamaged as error:
        raise StoreUnusable(str(error)) from error
    except StoreUnavailable as error:
        if await asyncio.to_thread(os.access, path.parent, os.W_OK):
            raise
        raise StoreUnusable(
            "SQLite needs a file beside it, and its folder cannot be written to: be the user"
            " that the server runs as, or copy it to another folder."
        ) from error
    except StoreError as error:
        if lacks_table(error):
            raise StoreUnusable(str(DatabaseDamaged())) from error
        raise


class SQLiteBackups(Backups):
    """Makes backups of an open database, each a database of its own."""

    def __init__(self, database: OpenDatabase) -> None:
        self._database = database

    async def make(self, destination: str) -> AsyncIterator[Copied]:
        if "://" in destination:
            raise StoreError(
                "A backup is an SQLite database; `chunkstore copy` fills one of PostgreSQL."
            )
        path = Path(destination)
        if await asyncio.to_thread(path.resolve) == self._database.path:
            raise Forbidden("The backup is the store itself.")
        segments, is_new = self._database.segments, not await asyncio.to_thread(path.exists)
        try:
            target = await SQLiteStore.open(
                path,
                chunk_size=self._database.state.chunk_size,
                one_file=self._database.state.one_file if is_new else None,
                segment_bounds=segments.bounds,
            )
        except StoreUnusable as error:
            raise StoreError(f"{destination} cannot be opened: {error}") from error
        try:
            async with aclosing(target.fill(self._database.path)) as steps:
                async for copied in steps:
                    yield copied
        except StoreFull as error:
            raise StoreFull(f"There is no room for the backup where {destination} is.") from error
        finally:
            await target.close(keep_reserve=False)
