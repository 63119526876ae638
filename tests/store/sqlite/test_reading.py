"""What reading a window costs: it does not depend on what is behind it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from chunkstore.core.compression import NO_COMPRESSION
from chunkstore.store.sqlite.chunk_bytes import BytesReader
from chunkstore.store.sqlite.engine.connection import connect_reader
from chunkstore.store.sqlite.reading import ReadChunks
from chunkstore.store.sqlite.segments.folder import SegmentFolder
from chunkstore.store.sqlite.segments.reading import SegmentReaders
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.conformance import CHUNK_SIZE, name_of, put
from tests.store.edits import get_file

# Chunks of a window, and of the longer content.
_WINDOW: Final = 8
_CHUNKS: Final = 4000


async def stored(tmp_path: Path, content: bytes) -> Path:
    """Return the path of a store that has the content, under the name `a`."""
    path = tmp_path / f"{len(content)}.db"
    store = await SQLiteStore.open(
        path, chunk_size=CHUNK_SIZE, compression=NO_COMPRESSION, one_file=True
    )
    try:
        await put(store, "a", content)
    finally:
        await store.close()
    return path


async def window_of(path: Path) -> tuple[bytes, int]:
    """Return the first bytes of `a` in a store, and how many instructions SQLite took for them."""
    store = await SQLiteStore.open(path, read_only=True)
    try:
        manifest = (await get_file(store, name_of("a"))).manifest
    finally:
        await store.close()
    job = ReadChunks(manifest, 0, manifest.size, _WINDOW * CHUNK_SIZE)
    return await asyncio.to_thread(run_counted, path, job)


def run_counted(path: Path, job: ReadChunks) -> tuple[bytes, int]:
    """Return what a job reads, and how many instructions SQLite takes for it."""
    instructions = 0

    def count() -> int:
        nonlocal instructions
        instructions += 1
        return 0

    with closing(connect_reader(path)) as db:
        db.row_factory = sqlite3.Row
        db.set_progress_handler(count, 1)
        read = job.run(db, BytesReader(SegmentReaders(SegmentFolder(path))))
    return read.content, instructions


async def test_a_window_costs_no_more_of_a_long_content(tmp_path: Path) -> None:
    content = b"".join(number.to_bytes(4) * (CHUNK_SIZE // 4) for number in range(_CHUNKS))
    first, of_short = await window_of(await stored(tmp_path, content[: 2 * _WINDOW * CHUNK_SIZE]))
    assert first == content[: _WINDOW * CHUNK_SIZE]
    first, of_long = await window_of(await stored(tmp_path, content))
    assert first == content[: _WINDOW * CHUNK_SIZE]
    assert of_long <= of_short + 50
