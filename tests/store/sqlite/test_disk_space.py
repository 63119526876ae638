"""What is left of the disk."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chunkstore.core.compression import NO_COMPRESSION
from chunkstore.core.errors import StoreFull
from chunkstore.core.names import FileName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.sqlite.store import SQLiteStore
from tests.crash.disk import small_disk
from tests.store.conformance import names, put
from tests.store.edits import delete

MIB = 1024 * 1024
DISK_SIZE, MIN_FREE, SIZE = 128 * MIB, 32 * MIB, 64 * 1024


@contextmanager
def least_free(folder: Path) -> Iterator[list[int]]:
    """Have a list with the least number of bytes that are free at any moment of the context."""
    least, ended = [DISK_SIZE], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            figures = os.statvfs(folder)
            least[0] = min(least[0], figures.f_bavail * figures.f_frsize)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield least
    finally:
        ended.set()
        watcher.join()


def open_store(disk: Path) -> Awaitable[SQLiteStore]:
    return SQLiteStore.open(disk / "s.db", compression=NO_COMPRESSION, min_free=MIN_FREE)


async def test_as_much_as_was_asked_for_is_left_free(
    tmp_path: Path, random_bytes: Callable[[int], bytes]
) -> None:
    with small_disk(tmp_path / "disk", DISK_SIZE) as disk:
        refused = ""
        with least_free(disk) as least:
            store = await open_store(disk)
            for number in itertools.count():
                try:
                    await put(store, f"f{number}", random_bytes(SIZE))
                except StoreFull as error:
                    refused = str(error)
                    break
            await store.close()
        assert "--min-free keeps free" in refused
        # But for what the pages of the database have beside the chunks.
        assert least[0] >= MIN_FREE - MIB
        # The database and the reserve take more of the disk than the content.
        assert number * SIZE > DISK_SIZE // 5
        store = await open_store(disk)
        for name in await names(store):
            await delete(store, FileName(name))
        await collect_all(store.maintenance, 0)
        await put(store, "again", random_bytes(SIZE))
        await store.close()
