"""A log is replayed into its own database only, and never keeps that from being opened."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from chunkstore.core.errors import ForeignLog, StoreUnusable
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.conformance import names, put

FILES = ("", "-wal", "-owner")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    """Return an open store with the file `logged` in its log only."""
    opened = await SQLiteStore.open(path)
    await put(opened, "logged", b"x")
    yield opened
    await opened.close()


def crash_image(path: Path, folder: Path, *, without: str = "none") -> Path:
    """Copy what a kill at this moment would leave of the store at `path`; return its path there."""
    folder.mkdir(parents=True)
    for ending in FILES:
        if ending != without:
            shutil.copy(f"{path}{ending}", folder)
    return folder / path.name


async def names_in(path: Path, *, read_only: bool = False) -> list[str]:
    store = await SQLiteStore.open(path, read_only=read_only)
    try:
        return await names(store)
    finally:
        await store.close()


@pytest.mark.parametrize("without", ["none", "-owner", "-wal"])
async def test_what_a_kill_leaves_is_opened(
    store: SQLiteStore, path: Path, tmp_path: Path, without: str
) -> None:
    image = crash_image(path, tmp_path / "image", without=without)
    # Of the log alone a reader can see something that has not been carried into the database.
    expected = [] if without == "-wal" else ["logged"]
    assert await names_in(image, read_only=True) == expected
    assert await names_in(image) == expected
    left = {entry.name for entry in image.parent.iterdir()}
    assert left == {"s.db", "s.db-lock", "s.db-reserve"}


async def test_an_earlier_state_of_the_same_database_is_another_one(
    path: Path, tmp_path: Path
) -> None:
    first = await SQLiteStore.open(path)
    await put(first, "old", b"old")
    await first.close()
    earlier = Path(shutil.copy(path, tmp_path / "earlier.db"))
    second = await SQLiteStore.open(path)
    try:
        await put(second, "new", b"new")
        image = crash_image(path, tmp_path / "image")
    finally:
        await second.close()
    # Into the inode that is remembered.
    shutil.copyfile(earlier, image)
    log = image.with_name("s.db-wal").read_bytes()
    for read_only in (True, False):
        with pytest.raises(ForeignLog, match="another database"):
            await names_in(image, read_only=read_only)
    assert image.read_bytes() == earlier.read_bytes()
    assert image.with_name("s.db-wal").read_bytes() == log


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database" * 1000),
        lambda path: sqlite3.connect(path).executescript("CREATE TABLE t (x)"),
        lambda path: None,
    ],
    ids=["empty", "text", "another program's", "gone"],
)
async def test_what_is_no_store_does_not_get_the_log(
    store: SQLiteStore, path: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    image = crash_image(path, tmp_path / "image")
    log = image.with_name("s.db-wal")
    before = log.read_bytes()
    log.rename(tmp_path / "log")
    image.unlink()
    spoil(image)
    (tmp_path / "log").rename(log)
    with pytest.raises(ForeignLog):
        await names_in(image)
    assert log.read_bytes() == before


async def test_a_database_that_cannot_be_read_without_its_log_is_known_by_its_inode(
    store: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    # So that the log has the page that is torn.
    report_page = b"x" * 100
    await store._database.writable.run(
        lambda db: db.execute("INSERT INTO setting VALUES ('x', ?)", (report_page,))
    )
    [(page,)] = await store._database.readers.run(
        lambda db: db.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'setting'"
        ).fetchall()
    )
    for number in range(2):
        image = crash_image(path, tmp_path / f"image{number}")
        with image.open("r+b") as database:
            database.seek((page - 1) * 8192)
            database.write(b"\xff" * 4096)
        memory = image.with_name("s.db-owner")
        record = json.loads(memory.read_text())
        memory.write_text(json.dumps({**record, "inode": image.stat().st_ino + number}))
        if number:
            with pytest.raises(ForeignLog):
                await names_in(image)
        else:
            assert await names_in(image) == ["logged"]


async def test_a_reader_that_keeps_the_log_from_being_emptied(
    store: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    image = crash_image(path, tmp_path / "image")
    with closing(sqlite3.connect(image, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM file").fetchone() == (1,)
        again = await SQLiteStore.open(image)
        try:
            await put(again, "more", b"y")
            both = crash_image(image, tmp_path / "both")
            assert len(json.loads(both.with_name("s.db-owner").read_text())["openings"]) == 2
            assert await names_in(image, read_only=True) == ["logged", "more"]
        finally:
            await again.close()
    assert await names_in(both) == ["logged", "more"]


async def test_a_database_put_under_a_server_is_not_read_with_the_servers_log(
    store: SQLiteStore, path: Path, tmp_path: Path
) -> None:
    other = await SQLiteStore.open(tmp_path / "other.db")
    await other.close()
    assert await names_in(path, read_only=True) == ["logged"]
    path.rename(tmp_path / "aside.db")
    shutil.copy(tmp_path / "other.db", path)
    with pytest.raises(ForeignLog):
        await names_in(path, read_only=True)
    path.unlink()
    (tmp_path / "aside.db").rename(path)


async def test_nothing_remembered_is_no_reason_not_to_open(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "s.db-owner-new").mkdir()
    assert await names_in(path) == []
    [message] = caplog.messages
    assert "cannot be remembered" in message


async def test_what_cannot_be_understood_is_not_regarded(
    store: SQLiteStore, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = crash_image(path, tmp_path / "image")
    image.with_name("s.db-owner").write_text("{}")
    assert await names_in(image) == ["logged"]
    [message] = caplog.messages
    assert "is not regarded" in message


@pytest.mark.parametrize("ending", ["-owner", "-reserve", "-lock"])
async def test_a_file_beside_it_that_cannot_be_opened_is_named(
    store: SQLiteStore, path: Path, tmp_path: Path, ending: str
) -> None:
    image = crash_image(path, tmp_path / "image")
    beside = image.with_name(f"{image.name}{ending}")
    beside.unlink(missing_ok=True)
    beside.mkdir()
    with pytest.raises(StoreUnusable) as refused:
        await SQLiteStore.open(image)
    assert str(refused.value) == f"{beside}: Is a directory."
    beside.rmdir()
    assert await names_in(image) == ["logged"]


@pytest.mark.parametrize("ending", ["-owner", "-reserve"])
async def test_a_file_beside_it_that_cannot_be_removed_does_not_keep_a_store_open(
    path: Path, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    store = await SQLiteStore.open(path)
    await put(store, "a", b"a")
    beside = path.with_name(f"{path.name}{ending}")
    beside.unlink()
    beside.mkdir()
    await store.close(keep_reserve=False)
    [message] = caplog.messages
    assert "was left as it is" in message
    beside.rmdir()
    assert await names_in(path) == ["a"]


async def test_a_database_with_two_names_is_not_written(path: Path, tmp_path: Path) -> None:
    """Each name would have a lock and a log of its own."""
    other = tmp_path / "other.db"
    store = await SQLiteStore.open(path)
    try:
        other.hardlink_to(path)
        with pytest.raises(StoreUnusable, match=r"2 names \(hard links\)"):
            await SQLiteStore.open(other)
        assert not other.with_name("other.db-wal").exists()
        await put(store, "acknowledged", b"x")
    finally:
        await store.close()
    with pytest.raises(StoreUnusable, match="hard links"):
        await SQLiteStore.open(path)
    assert await names_in(path, read_only=True) == ["acknowledged"]
    other.unlink()
    assert await names_in(path) == ["acknowledged"]
