"""What another program does to the files of an open store, and what the store says of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from chunkstore.core.errors import DatabaseDamaged, DatabaseReplaced, StoreDamaged
from chunkstore.core.names import FileName
from chunkstore.store.sqlite.engine.checkpoint import Mode, checkpoint
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.conformance import CHUNK_SIZE, get, put

A = FileName("a")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    """Return an open store with the file `a` in its log."""
    opened = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE)
    await put(opened, "a", b"x" * 100_000)
    yield opened
    await opened.close()


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


async def faults(store: SQLiteStore) -> list[str]:
    return list((await store.maintenance.health()).faults)


LENGTHS: dict[str, Callable[[int], int]] = {
    "to nothing": lambda _: 0,
    "to its header": lambda _: 32,
    "by a byte": lambda size: size - 1,
}


@pytest.mark.parametrize("length", LENGTHS)
async def test_a_truncated_log_is_told_of(store: SQLiteStore, path: Path, length: str) -> None:
    assert await faults(store) == []
    log = log_of(path)
    os.truncate(log, LENGTHS[length](log.stat().st_size))
    assert await faults(store) == [str(DatabaseReplaced())]


@pytest.mark.parametrize("length", [0, 32, 32 + 24 + 8192])
async def test_what_is_written_behind_a_hole_in_the_log_is_not_acknowledged(
    store: SQLiteStore, path: Path, length: int
) -> None:
    os.truncate(log_of(path), length)
    for name in ("b", "c"):
        with pytest.raises(DatabaseReplaced):
            await put(store, name, b"b")
    assert await faults(store) == [str(DatabaseReplaced())]


async def test_a_log_that_a_checkpoint_restarts_is_not_truncated(
    store: SQLiteStore, path: Path
) -> None:
    for number in range(20):
        await put(store, f"f{number}", b"y" * 10_000)
        mode: Mode = "TRUNCATE" if number % 2 else "RESTART"
        await store._database.writable.run_alone(partial(checkpoint, mode=mode))
        assert await faults(store) == []
    assert await get(store, "f0") == b"y" * 10_000


async def test_a_read_of_a_replaced_database_fails_as_a_write_does(
    store: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    def fail(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHORT_READ
        raise error

    path.rename(tmp_path / "aside")
    for reading in (store._database.readers, store._database.lookups):
        with pytest.raises(DatabaseReplaced):
            await reading.run(fail)
    (tmp_path / "aside").rename(path)
    assert await faults(store) == []
    assert await store.names.find(A) is not None


async def test_an_error_that_nothing_explains_is_raised_as_it_is(store: SQLiteStore) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise StoreDamaged

    for reading in (store._database.readers, store._database.lookups):
        with pytest.raises(StoreDamaged) as raised:
            await reading.run(fail)
        assert raised.value.__cause__ is None


def overwrite_header(path: Path) -> None:
    """Overwrite the header of the database, by which SQLite knows it, in place."""
    with path.open("r+b") as file:
        file.write(b"no database" * 9)


async def test_an_open_file_that_is_no_database_any_more_is_a_damaged_one(path: Path) -> None:
    opened = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE)
    await put(opened, "a", b"x")
    await opened.close()
    opened = await SQLiteStore.open(path, chunk_size=CHUNK_SIZE)
    try:
        # The first page is neither in the log nor in a cache then.
        await opened._database.writable.run_alone(partial(checkpoint, mode="TRUNCATE"))
        overwrite_header(path)
        with pytest.raises(DatabaseDamaged):
            await get(opened, "a")
        assert await faults(opened) == [str(DatabaseDamaged())]
    finally:
        await opened.close()


async def test_what_the_log_says_of_a_database_that_is_gone_is_true(
    store: SQLiteStore, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.rename(tmp_path / "aside")
    assert await faults(store)
    assert "what it has can be downloaded" in caplog.text
    assert await get(store, "a") == b"x" * 100_000
    (tmp_path / "aside").rename(path)


async def test_nobody_is_promised_what_was_in_a_truncated_log(
    store: SQLiteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.truncate(log_of(path), 0)
    assert await faults(store)
    assert "truncated" in caplog.text
    assert "downloaded" not in caplog.text
    with pytest.raises(DatabaseReplaced):
        await get(store, "a")


async def test_a_checkpoint_that_goes_on_failing_is_told_of_once(
    store: SQLiteStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = store._database.writable
    os.truncate(log_of(path), 0)
    for _ in range(3):
        await writer.run_alone(writer._empty_log)
    told = [record for record in caplog.records if "checkpoint failed" in record.message]
    assert len([record for record in told if record.levelname == "WARNING"]) == 1
