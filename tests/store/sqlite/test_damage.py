"""A damaged database is told of as one, wherever the damage is."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chunkstore.core.errors import (
    DatabaseDamaged,
    NotFound,
    StoreDamaged,
    StoreError,
    StoreUnusable,
)
from chunkstore.core.names import FileName, FolderName
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.conformance import get, put, scrub
from tests.store.edits import delete

PAGE = 8192
INTERIOR_PAGES = (2, 5)
DAMAGED = str(DatabaseDamaged())


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return the path of a closed store of 300 files."""
    path = tmp_path / "s.db"
    store = await SQLiteStore.open(path)
    for number in range(300):
        await put(store, f"f{number:03}", b"content %d" % (number % 5))
    await store.close()
    return path


async def use(path: Path, *, read_only: bool) -> None:
    store = await SQLiteStore.open(path, read_only=read_only)
    try:
        await store.names.list(delimiter="/")
        await get(store, "f001")
        await store.maintenance.stats()
        await scrub(store)
        if not read_only:
            await put(store, "new", b"new")
            await delete(store, FileName("new"))
    finally:
        await store.close()


def root_of(path: Path, table: str) -> int:
    """Return the place of the first page of a table in the file."""
    query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    with closing(sqlite3.connect(path)) as db:
        [(page,)] = db.execute(query, (table,)).fetchall()
    return (int(page) - 1) * PAGE


def used_bytes(path: Path) -> list[int]:
    """Return the places of all bytes but zeros in the first page and those of names."""
    raw = path.read_bytes()
    starts = [0, *(root_of(path, table) for table in ("setting", "manifest", "file"))]
    return [place for start in starts for place in range(start, start + PAGE) if raw[place]]


async def test_any_flipped_bit_ends_in_an_error_of_the_store(path: Path, tmp_path: Path) -> None:
    chance = random.Random(5)
    whole = path.read_bytes()
    for number, place in enumerate(chance.sample(used_bytes(path), 150)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        image = tmp_path / f"{number}.db"
        image.write_bytes(damaged)
        told = []
        for read_only in (True, False):
            try:
                await use(image, read_only=read_only)
            except (StoreError, NotFound) as error:
                told.append(str(error))
        assert "The database cannot be opened or created." not in told, place


@pytest.mark.parametrize("damage", [b"CREATE TABL\xc5", b"CREATE TABLe\xff", b"DREATE TABLE"])
@pytest.mark.parametrize("read_only", [True, False])
async def test_a_damaged_schema_is_told_of(path: Path, damage: bytes, *, read_only: bool) -> None:
    whole = path.read_bytes()
    # Pages that a long schema was moved out of have its text, too.
    path.write_bytes(whole.replace(b"CREATE TABLE chunk (", damage + b" chunk ("))
    with pytest.raises(StoreUnusable, match="is damaged"):
        await SQLiteStore.open(path, read_only=read_only)


async def test_a_name_that_is_no_text_is_damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE file SET name = CAST(x'66ff' AS TEXT) WHERE name = 'f000'")
    store = await SQLiteStore.open(path)
    try:
        with pytest.raises(DatabaseDamaged):
            await store.names.list()
        assert list((await store.maintenance.health()).faults) == [DAMAGED]
    finally:
        await store.close()


@pytest.mark.parametrize(
    "change",
    [
        "created = 1 << 62",
        "proof = proof + 1",
        "manifest = 77",
        "manifest = (SELECT manifest FROM file WHERE name = 'f001')",
    ],
)
async def test_an_entry_that_is_damaged_is_told_of_and_can_be_put_or_deleted(
    path: Path, change: str
) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"UPDATE file SET {change} WHERE name IN ('f000', 'f002')")
    store = await SQLiteStore.open(path)
    try:
        with pytest.raises(StoreDamaged, match="entry of 'f000' is damaged; put or delete it"):
            await store.names.list()
        for name in ("f000", "f002"):
            with pytest.raises(StoreDamaged, match=f"entry of '{name}' is damaged"):
                await get(store, name)
        assert set(await store.locks.etags(["f000", "f001"])) == {"f001"}
        await put(store, "f000", b"new")
        await delete(store, FileName("f002"))
        assert await get(store, "f000") == b"new"
        assert "f002" not in [file.name for file in (await store.names.list()).files]
        assert not any(step.damage for step in await scrub(store))
    finally:
        await store.close()


@pytest.mark.parametrize("table", ["file", "manifest"])
@pytest.mark.parametrize("read_only", [True, False])
async def test_a_scrub_finds_that_names_are_missing(
    path: Path, table: str, *, read_only: bool
) -> None:
    """Half of the cells of a page are gone, of which no other page knows."""
    raw = bytearray(path.read_bytes())
    page = root_of(path, table)
    if raw[page] in INTERIOR_PAGES:
        page = (int.from_bytes(raw[page + 8 : page + 12], "big") - 1) * PAGE
    cells = int.from_bytes(raw[page + 3 : page + 5], "big")
    raw[page + 3 : page + 5] = (cells // 2).to_bytes(2, "big")
    path.write_bytes(raw)
    store = await SQLiteStore.open(path, read_only=read_only)
    try:
        with pytest.raises(DatabaseDamaged):
            await scrub(store)
        assert list((await store.maintenance.health()).faults) == [DAMAGED]
    finally:
        await store.close()


async def test_a_table_in_the_place_of_another_is_damage(path: Path) -> None:
    """As when the number of its page changes in the schema."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_master SET rootpage ="
            " (SELECT rootpage FROM sqlite_master WHERE name = 'place')"
            " WHERE name = 'folder_change'"
        )
    store = await SQLiteStore.open(path, read_only=True)
    try:
        for using in (store.names.list(), store.names.find(FolderName("d/"))):
            with pytest.raises(DatabaseDamaged):
                await using
    finally:
        await store.close()


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_table_of_another_name_is_damage(path: Path, *, read_only: bool) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE setting RENAME TO sEttinh")
    with pytest.raises(StoreUnusable, match="is damaged"):
        await SQLiteStore.open(path, read_only=read_only)


async def test_a_table_whose_name_differs_in_case_is_damage(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET name = 'Setting' WHERE name = 'setting'")
    with pytest.raises(StoreUnusable, match="is damaged"):
        await SQLiteStore.open(path)
