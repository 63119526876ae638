"""Collection, scrubs, health and figures of an SQLite store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import blake3

import chunkstore
from chunkstore.core.errors import StoreError
from chunkstore.store.contract.maintenance import Maintenance
from chunkstore.store.contract.reports import (
    Collected,
    Health,
    Reclaimable,
    Scrubbed,
    ScrubReport,
    Stats,
)
from chunkstore.store.shared.pins import Pins
from chunkstore.store.sqlite import collecting, schema, scrubbing
from chunkstore.store.sqlite.compacting import compact, dead_size
from chunkstore.store.sqlite.contents import SQLiteContents
from chunkstore.store.sqlite.large_folders import LargeFolders
from chunkstore.store.sqlite.opening import OpenDatabase
from chunkstore.store.sqlite.resumable import find_unfinished
from chunkstore.store.sqlite.segment_sweep import (
    describe_missing,
    find_missing,
    mark_missing,
    remove_unused,
)
from chunkstore.store.sqlite.settings import (
    count,
    database_size,
    find_scrub_report,
    put_scrub_report,
)


class SQLiteMaintenance(Maintenance):
    """The maintenance of an open database."""

    def __init__(
        self,
        database: OpenDatabase,
        contents: SQLiteContents,
        pins: Pins,
        large_folders: LargeFolders | None,
    ) -> None:
        self._database = database
        self._contents = contents
        self._pins = pins
        self._large_folders = large_folders
        self._compacting = asyncio.Lock()

    def collect(self, grace_seconds: float, *, dry_run: bool = False) -> AsyncIterator[Collected]:
        if dry_run:
            return collecting.find_unused(self._database.readers, grace_seconds)
        return self._collect(grace_seconds)

    async def _collect(self, grace_seconds: float) -> AsyncIterator[Collected]:
        writer = self._database.writable
        if self._large_folders is not None:
            await self._large_folders.recover()
        steps = collecting.collect(
            self._database.readers, writer, self._pins, self._contents.open_manifests, grace_seconds
        )
        async for collected in steps:
            yield collected
        await remove_unused(self._database.readers, writer, self._database.segments)
        await self._find_missing()

    async def compact(self) -> None:
        if not self._compacting.locked():
            async with self._compacting:
                await compact(self._database)

    def scrub(self) -> AsyncIterator[Scrubbed]:
        database = self._database
        return scrubbing.scrub(database.readers, database.writer, database.segments.readers)

    async def put_scrub_report(self, report: ScrubReport) -> None:
        await self._database.writable.run(partial(put_scrub_report, report=report))

    async def health(self) -> Health:
        faults = await self._find_faults()
        try:
            faults += await self._find_missing()
            report = await self._database.readers.run(find_scrub_report)
        except StoreError:
            # Known faults say more than that the report, too, cannot be read.
            faults = faults or await self._find_faults()
            if not faults:
                raise
            report = None
        return Health(faults, await self._why_full(), report)

    async def _find_faults(self) -> list[str]:
        return list(await asyncio.to_thread(self._database.monitor.faults))

    async def _find_missing(self) -> list[str]:
        folder = self._database.segments.folder
        missing = await find_missing(self._database.readers, folder)
        if not missing:
            return []
        if self._database.writer is not None:
            # If a full disk prevents it, the next call does it.
            with suppress(StoreError):
                await mark_missing(self._database.writer, missing)
        return [describe_missing(folder, missing)]

    async def _why_full(self) -> str | None:
        reserve = self._database.reserve
        if reserve is None:
            return None
        return await asyncio.to_thread(reserve.why_full, self._contents.chunk_size)

    async def _find_reclaimable(self) -> Reclaimable:
        readers = self._database.readers
        found = await collecting.find_reclaimable(readers)
        return replace(found, free_size=found.free_size + await dead_size(readers))

    def _size_on_disk(self) -> int:
        return database_size(self._database.path) + self._database.segments.folder.size()

    async def stats(self) -> Stats:
        readers = self._database.readers
        return Stats(
            **await readers.run(count),
            reclaimable=await self._find_reclaimable(),
            database_size=await asyncio.to_thread(self._size_on_disk),
            chunk_size=self._contents.chunk_size,
            unfinished=await readers.run(find_unfinished),
            scrub=await readers.run(find_scrub_report),
            versions={
                "chunkstore": chunkstore.__version__,
                "schema": str(schema.SCHEMA_VERSION),
                "sqlite": sqlite3.sqlite_version,
                "blake3": blake3.__version__,
            },
        )
