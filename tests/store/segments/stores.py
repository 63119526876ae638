"""Stores in segments: opened, filled and read, the same for all tests of them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import NO_COMPRESSION
from chunkstore.core.digest import Digest
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.contents import Upload
from chunkstore.store.contract.edits import Delete, Put, Received
from chunkstore.store.contract.values import Committed, File
from chunkstore.store.sqlite.segments.segments import SegmentBounds
from chunkstore.store.sqlite.store import SQLiteStore

CHUNK = 4096
BATCH = 8
FEW = 4
# A segment for each batch, full after two.
BOUNDS = SegmentBounds(least=2 * CHUNK, size=2 * BATCH * CHUNK)


async def opened(path: Path, **options: Any) -> SQLiteStore:  # noqa: ANN401 - those of `open`
    options = {"segment_bounds": BOUNDS, "compression": NO_COMPRESSION, **options}
    return await SQLiteStore.open(path, chunk_size=CHUNK, **options)


def pieces(count: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(CHUNK) for _ in range(count)]


async def fill(upload: Upload, parts: Sequence[bytes]) -> None:
    for first in range(0, len(parts), BATCH):
        await upload.append([Chunk.of(part) for part in parts[first : first + BATCH]])


async def commit(
    store: SQLiteStore, name: str, upload: Upload, parts: Sequence[bytes]
) -> Committed:
    content = b"".join(parts)
    received = Received(upload, [], Digest.of(content), len(content))
    [committed] = await store.names.apply([Put(FileName(name), received, "text/plain")])
    assert isinstance(committed, Committed)
    return committed


async def put(store: SQLiteStore, name: str, parts: Sequence[bytes]) -> Committed:
    upload = store.contents.begin()
    await fill(upload, parts)
    return await commit(store, name, upload, parts)


async def delete(store: SQLiteStore, name: str) -> None:
    await store.names.apply([Delete(FileName(name))])


async def found(store: SQLiteStore, name: str) -> File:
    async with store.contents.open(FileName(name)) as file:
        assert file is not None
        return file


async def read(store: SQLiteStore, name: str) -> bytes:
    async with store.contents.open(FileName(name)) as file:
        assert file is not None
        return await store.contents.read(file.manifest, 0, file.manifest.size)


async def collect(store: SQLiteStore) -> None:
    await collect_all(store.maintenance, 0)
    await store.maintenance.compact()


async def damage_in(store: SQLiteStore) -> list[tuple[str, list[str]]]:
    return [
        (damage.kind, [str(name) for name in damage.files])
        async for step in store.maintenance.scrub()
        for damage in step.damage
    ]


def files_of(path: Path) -> list[Path]:
    folder = path.with_name(f"{path.name}-segments")
    return sorted(folder.iterdir()) if folder.exists() else []


def query(path: Path, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA wal_autocheckpoint = 0")
        return db.execute(sql, parameters).fetchall()


def copy_crashed(path: Path, other: Path) -> None:
    """Copy a database that is open, as a crash leaves it."""
    for ending in ("", "-wal"):
        if (file := Path(f"{path}{ending}")).exists():
            Path(f"{other}{ending}").write_bytes(file.read_bytes())
    folder = other.with_name(f"{other.name}-segments")
    folder.mkdir()
    for file in files_of(path):
        (folder / file.name).write_bytes(file.read_bytes())
