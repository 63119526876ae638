"""Every byte of lists, names and their indexes may change on the disk: no wrong byte is read.

A store of some files is opened again and again, each time with one byte changed in the pages of
these tables. What is answered must be what its digest says, and under a name what was put there.
"""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pytest

from chunkstore.core.chunking import Chunk
from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreError
from chunkstore.core.names import FileName
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.service import Service
from chunkstore.store.contract.edits import Put, Received
from chunkstore.store.sqlite.store import SQLiteStore

CHUNK_SIZE: Final = 4096
TABLES: Final = ("file", "folder", "manifest", "place")
# No two names become each other by one byte.
RANDOM: Final = random.Random(20261128)
FILES: Final = {
    "alpha/first": RANDOM.randbytes(3 * CHUNK_SIZE + 5),
    "beta/2nd": RANDOM.randbytes(2 * CHUNK_SIZE),
    "gamma/small": b"small",
    "delta/nothing": b"",
}
# The same content as another.
FILES["epsilon/third"] = FILES["alpha/first"]
EXPECTED: Final = {**FILES, "zeta/odd": FILES["beta/2nd"]}
DIGESTS: Final = {Digest.of(content): content for content in FILES.values()}


async def put(store: SQLiteStore, name: str, parts: list[bytes]) -> None:
    upload = store.contents.begin()
    content = b"".join(parts)
    chunks = [Chunk.of(part) for part in parts]
    received = Received(upload, chunks, Digest.of(content), len(content))
    await store.names.apply([Put(FileName(name), received, "text/plain")])


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return the path of a store that is closed."""
    path = tmp_path / "store.db"
    store = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE)
    for name, content in FILES.items():
        parts = [content[at : at + CHUNK_SIZE] for at in range(0, len(content), CHUNK_SIZE)]
        await put(store, name, parts)
    # One that is cut elsewhere.
    content = FILES["beta/2nd"]
    await put(
        store, "zeta/odd", [content[:100], content[100:3000], content[3000:7000], content[7000:]]
    )
    await store.close(keep_reserve=False)
    return path


def pages_of(path: Path, tables: tuple[str, ...]) -> tuple[int, list[int]]:
    """Return the size of pages and those of the tables and their indexes; each has one."""
    with closing(sqlite3.connect(path)) as db:
        [(size,)] = db.execute("PRAGMA page_size")
        marks = ", ".join("?" * len(tables))
        query = f"SELECT rootpage FROM sqlite_schema WHERE tbl_name IN ({marks}) AND rootpage > 0"
        return size, [page for (page,) in db.execute(query, tables)]


def used_bytes(content: bytes, page_size: int, page: int) -> Iterator[int]:
    """Yield the places in the file of all bytes of a leaf page but those that nothing uses."""
    start = (page - 1) * page_size
    kind, _, cells, first, _ = struct.unpack_from(">BHHHB", content, start)
    assert kind in (0x0A, 0x0D), "a small table is one leaf"
    yield from range(start, start + 8 + 2 * cells)
    yield from range(start + first, start + page_size)


async def read_all(path: Path) -> int:
    """Read all names that a store has; return how many could be read."""
    with suppress(StoreError):
        store = await SQLiteStore.open(path, read_only=True)
        try:
            service = Service(store, MemoryBudget(1024 * 1024))
            names = set(EXPECTED)
            with suppress(StoreError):
                names |= {file.name for file in (await store.names.list()).files}
            return sum([await read(service, name) for name in sorted(names)])
        finally:
            await store.close()
    return 0


async def read(service: Service, name: str) -> bool:
    """Read a file whole, and parts of it; return whether it was answered."""
    answered = False
    with suppress(StoreError):
        async with service.store.contents.open(FileName(name), inline=CHUNK_SIZE) as file:
            if file is None:
                return False
            digest = file.manifest.digest
            assert name not in EXPECTED or digest == Digest.of(EXPECTED[name])
            if file.content is not None:
                assert Digest.of(file.content) == digest
            size = file.manifest.size
            with suppress(StoreError):
                content = b"".join(
                    [part async for part in service.reader.stream(file.manifest, 0, size)]
                )
                assert Digest.of(content) == digest
                answered = True
            for start in range(0, size, 1000):
                stop = min(start + 500, size)
                with suppress(StoreError):
                    part = await service.store.contents.read(file.manifest, start, stop)
                    assert part == DIGESTS[digest][start:stop]
    return answered


@pytest.mark.parametrize("mask", [0x01, 0xFF])
async def test_whatever_byte_changes_what_is_answered_is_what_was_put(
    path: Path, mask: int
) -> None:
    assert await read_all(path) == len(FILES) + 1
    content = path.read_bytes()
    page_size, pages = pages_of(path, TABLES)
    assert len(pages) >= len(TABLES) + 4
    fewer = 0
    with path.open("r+b", buffering=0) as database:
        for page in pages:
            for place in used_bytes(content, page_size, page):
                database.seek(place)
                database.write(bytes([content[place] ^ mask]))
                fewer += await read_all(path) <= len(FILES)
                database.seek(place)
                database.write(content[place : place + 1])
    # Most of what changes is noticed.
    assert fewer > 100
    assert await read_all(path) == len(FILES) + 1
