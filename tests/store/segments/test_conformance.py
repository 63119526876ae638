"""The conformance suites, with all that an upload appends in segments, however little."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from chunkstore.core.compression import NO_COMPRESSION, Compression
from chunkstore.store.contract.store import Store
from chunkstore.store.sqlite.segments.segments import SegmentBounds
from chunkstore.store.sqlite.store import SQLiteStore
from tests.backends import CHUNK_SIZE, SQLiteBackend
from tests.store.chunk_conformance import ChunkConformance
from tests.store.conformance import StoreConformance
from tests.store.edit_conformance import EditConformance
from tests.store.pack_conformance import PackConformance
from tests.store.part_conformance import PartConformance
from tests.store.rows import StoredChunk, Table
from tests.store.sqlite.rows import SQLiteRows
from tests.store.upload_conformance import UploadConformance

BOUNDS = SegmentBounds(least=1, size=3 * CHUNK_SIZE)


class SegmentRows(SQLiteRows):
    """The rows of a database, some of whose chunks have their bytes in segments."""

    async def count(self, table: Table) -> int:
        count = await super().count(table)
        if table == "chunk_data":
            count += len(await self.fetch("SELECT id FROM chunk WHERE segment IS NOT NULL"))
        return count

    async def chunks(self) -> dict[bytes, StoredChunk]:
        found = await super().chunks()
        return {
            digest: replace(chunk, bytes=await self._bytes_of(digest, chunk.bytes))
            for digest, chunk in found.items()
        }

    async def set_bytes(self, digest: bytes, kept: bytes) -> None:
        await super().set_bytes(digest, kept)
        for file, row in await self._places(digest):
            await asyncio.to_thread(
                _run, file, "UPDATE chunk_data SET bytes = ? WHERE id = ?", kept, row
            )

    async def lose_bytes(self, digest: bytes) -> None:
        await super().lose_bytes(digest)
        for file, row in await self._places(digest):
            await asyncio.to_thread(_run, file, "DELETE FROM chunk_data WHERE id = ?", row)

    async def _bytes_of(self, digest: bytes, kept: bytes | None) -> bytes | None:
        for file, row in await self._places(digest):
            sql = "SELECT bytes FROM chunk_data WHERE id = ?"
            [(kept,)] = await asyncio.to_thread(_run, file, sql, row)
        return kept

    async def _places(self, digest: bytes) -> list[tuple[Path, int]]:
        folder = self.path.with_name(f"{self.path.name}-segments")
        return [
            (folder / f"{segment:016x}.db", row)
            for segment, row in await self.fetch(
                "SELECT segment, segment_row FROM chunk WHERE digest = $1 AND segment IS NOT NULL",
                digest,
            )
        ]


def _run(file: Path, sql: str, *parameters: object) -> list[tuple[bytes]]:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        return db.execute(sql, parameters).fetchall()


class SegmentBackend(SQLiteBackend):
    """A database whose uploads go to segments."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.rows = SegmentRows(path)

    async def open(
        self, *, chunk_size: int = CHUNK_SIZE, compression: Compression = NO_COMPRESSION
    ) -> Store:
        return await SQLiteStore.open(
            self._path, chunk_size=chunk_size, compression=compression, segment_bounds=BOUNDS
        )


@pytest.fixture
async def backend(tmp_path: Path) -> SegmentBackend:
    """Return an empty store."""
    return SegmentBackend(tmp_path / "test.db")


class TestSegments(
    StoreConformance,
    EditConformance,
    UploadConformance,
    PartConformance,
    PackConformance,
    ChunkConformance,
):
    """The conformance suites."""

    shares_manifests = True
    keeps_apart = True
