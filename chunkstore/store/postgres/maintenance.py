"""Collection, scrubs and statistics of a PostgreSQL store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
import blake3

import chunkstore
from chunkstore.core.periodic import Periodic
from chunkstore.store.contract.maintenance import Maintenance
from chunkstore.store.contract.reports import Collected, Health, Scrubbed, ScrubReport, Stats
from chunkstore.store.postgres import collecting, schema, scrubbing, unfinished
from chunkstore.store.postgres.connection import LONG_SECONDS, Connection
from chunkstore.store.postgres.opening import Opened
from chunkstore.store.postgres.rows import QUERIES
from chunkstore.store.shared.records import format_report, parse_report


class PostgresMaintenance(Maintenance):
    """Maintenance of the database that is `opened`."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @property
    def tasks(self) -> Sequence[Periodic]:
        return [self._opened.presence.heartbeat]

    def collect(self, grace_seconds: float, *, dry_run: bool = False) -> AsyncIterator[Collected]:
        opened = self._opened
        if dry_run:
            return collecting.find_unused(opened.database, grace_seconds)
        return collecting.collect(opened.writable, opened.presence, opened.gaps, grace_seconds)

    def scrub(self) -> AsyncIterator[Scrubbed]:
        opened = self._opened
        return scrubbing.scrub(opened.database, opened.gaps, note=not opened.read_only)

    async def put_scrub_report(self, report: ScrubReport) -> None:
        await self._opened.writable.execute("put_setting", "scrub", format_report(report))

    async def health(self) -> Health:
        return Health((), None, await self._find_scrub_report())

    async def _find_scrub_report(self) -> ScrubReport | None:
        text = await self._opened.database.ask("find_setting", "scrub")
        return None if text is None else parse_report(text)

    async def stats(self) -> Stats:
        database = self._opened.database
        counted = await database.snapshot(_count)
        return Stats(
            files=counted.files,
            contents=counted.contents,
            chunks=counted.chunks,
            damaged=counted.damaged,
            logical_size=counted.logical_size,
            unique_size=counted.size,
            stored_size=counted.stored_size,
            # To know it, whole tables would have to be joined.
            reclaimable=None,
            database_size=counted.database_size,
            chunk_size=self._opened.chunk_size,
            unfinished=await database.read(unfinished.get),
            scrub=await self._find_scrub_report(),
            versions={
                "chunkstore": chunkstore.__version__,
                "schema": str(schema.SCHEMA_VERSION),
                "postgresql": await database.read(_server_version),
                "asyncpg": asyncpg.__version__,
                "blake3": blake3.__version__,
            },
        )


async def _server_version(db: Connection) -> str:
    return str(await db.fetchval("SHOW server_version")).partition(" ")[0]


@dataclass(frozen=True, slots=True)
class _Count:
    """How many files, different file contents and chunks there are; sizes in bytes, as `Stats`."""

    files: int
    logical_size: int
    contents: int
    chunks: int
    size: int
    stored_size: int
    damaged: int
    database_size: int


async def _count(db: Connection) -> _Count:
    figures: dict[str, int] = {}
    for query in ("count_files", "count_contents", "count_chunks", "database_size"):
        [row] = await db.fetch(QUERIES[query], timeout=LONG_SECONDS)
        figures |= row
    return _Count(**figures)
