"""Everything at once: uploads, deletions, downloads, collections, compactions, scrubs, readers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from chunkstore.core.digest import Digest
from chunkstore.core.errors import StoreDamaged
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.sqlite.segments import compaction
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import (
    CHUNK,
    collect,
    commit,
    damage_in,
    delete,
    files_of,
    fill,
    opened,
    pieces,
    query,
    read,
)

CLIENTS = 5
OPERATIONS = 30
NAMES = 4
MOST_CHUNKS = 60


class Client:
    """One that puts, breaks off, deletes and downloads files that nobody else has."""

    def __init__(self, store: SQLiteStore, number: int) -> None:
        self._store = store
        self._number = number
        self._rng = random.Random(number)
        self.files: dict[str, bytes] = {}

    async def run(self) -> None:
        for _ in range(OPERATIONS):
            name = f"{self._number}-{self._rng.randrange(NAMES)}"
            kind = self._rng.random()
            if kind < 0.5:
                await self._put(name, broken_off=kind < 0.1)
            elif name in self.files and kind < 0.7:
                del self.files[name]
                await delete(self._store, name)
            elif name in self.files:
                assert await read(self._store, name) == self.files[name]

    async def _put(self, name: str, *, broken_off: bool) -> None:
        known = pieces(200)
        parts = [
            self._rng.choice(known) if self._rng.random() < 0.5 else self._rng.randbytes(CHUNK)
            for _ in range(self._rng.randrange(1, MOST_CHUNKS))
        ]
        upload = self._store.contents.begin()
        filling = asyncio.create_task(fill(upload, parts))
        if broken_off:
            for _ in range(self._rng.randrange(30)):
                await asyncio.sleep(0)
            filling.cancel()
            await asyncio.wait([filling])
            await upload.abort()
            return
        await filling
        await commit(self._store, name, upload, parts)
        self.files[name] = b"".join(parts)


async def read_from_elsewhere(store: SQLiteStore, path: Path) -> None:
    """Read some files as another process does, which pins nothing here."""
    reader = await SQLiteStore.open(path, read_only=True)
    try:
        for file in (await reader.names.list()).files[:5]:
            try:
                content = await reader.contents.read(file.manifest, 0, file.manifest.size)
            except StoreDamaged:
                assert await reader.names.find(file.name) != file
            else:
                assert Digest.of(content) == file.manifest.digest
    finally:
        await reader.close()


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(compaction, "_MERGED_AT_ONCE", 4)
    path = tmp_path / "files.db"
    store = await opened(path)
    ended = asyncio.Event()

    async def repeat(work: Callable[[], Awaitable[object]]) -> None:
        while not ended.is_set():
            await work()

    async def scrub() -> None:
        assert await damage_in(store) == []

    works = (
        lambda: collect_all(store.maintenance, 0),
        store.maintenance.compact,
        scrub,
        lambda: read_from_elsewhere(store, path),
    )
    clients = [Client(store, seed * CLIENTS + number) for number in range(CLIENTS)]
    repeated = [asyncio.create_task(repeat(work)) for work in works]
    await asyncio.gather(*(client.run() for client in clients))
    ended.set()
    await asyncio.gather(*repeated)
    for client in clients:
        for name, content in client.files.items():
            assert await read(store, name) == content
    for _ in range(2):
        await collect(store)
    assert await damage_in(store) == []
    needed = {f"{segment:016x}.db" for (segment,) in query(path, "SELECT id FROM segment")}
    assert {file.name for file in files_of(path)} == needed
    assert (await store.maintenance.health()).faults == []
    assert store._database.segments.folder.held() == []
    for client in clients:
        for name in client.files:
            await delete(store, name)
    for _ in range(2):
        await collect(store)
    assert files_of(path) == []
    await store.close()
