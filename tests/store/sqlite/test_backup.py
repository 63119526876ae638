"""Backups of an SQLite store: a copy of one moment, by digest, and a store itself."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chunkstore.core.dav.properties import PropertyChange, PropertyName
from chunkstore.core.digest import Digest
from chunkstore.core.errors import Forbidden, StoreError
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.edits import Name, Patch, Put
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.records import DeleteRecord, PutRecord, RecordChange
from chunkstore.store.contract.reports import Copied, Damage
from chunkstore.store.contract.store import Store
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.conformance import CHUNK_SIZE, cut, get, name_of, names, put, scrub
from tests.store.edits import delete, folder_exists, get_file, make_folder, move, put_of
from tests.store.pack_conformance import held, hold, known, refer
from tests.store.upload_conformance import begin

RandomBytes = Callable[[int], bytes]


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


async def back_up(store: Store, destination: Path) -> list[Copied]:
    assert store.backups is not None
    return [step async for step in store.backups.make(str(destination))]


def copied(steps: list[Copied]) -> tuple[int, int]:
    return sum(step.chunks for step in steps), sum(step.size for step in steps)


TIMES = datetime(2001, 2, 3, tzinfo=UTC), datetime(2004, 5, 6, 7, 8, 9, 10, tzinfo=UTC)


def change(number: int) -> PropertyChange:
    return PropertyChange(PropertyName("urn:x", "a"), f'<a xmlns="urn:x">{number}</a>')


Files = dict[str, tuple[bytes, str, datetime, datetime]]


async def files_of(store: Store) -> Files:
    """Return all that a store tells of its files."""
    found = {}
    for name in await names(store):
        file = await get_file(store, name_of(name))
        found[name] = (await get(store, name), file.media_type, file.created, file.modified)
    return found


async def files_in(path: Path) -> Files:
    """Return the files of the store at `path`, and check that it is sound."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
    store = await SQLiteStore.open(path)
    try:
        assert not any(step.damage for step in await scrub(store))
        return await files_of(store)
    finally:
        await store.close()


async def test_a_backup_leaves_the_log_of_the_source_alone(
    store: Store, destination: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, "a", b"x")
    await back_up(store, destination)
    assert caplog.messages == []


async def test_a_backup_is_a_store_with_the_same_files(
    store: Store, destination: Path, random_bytes: RandomBytes
) -> None:
    shared = random_bytes(3 * CHUNK_SIZE)
    await put(store, "a", shared)
    await put(store, "b/c", shared + random_bytes(10))
    await put(store, "empty", b"")
    await make_folder(store, FolderName("made/"))
    steps = await back_up(store, destination)
    assert copied(steps) == (4, 3 * CHUNK_SIZE + 10)
    assert steps[-1].part == 1
    assert await files_in(destination) == await files_of(store)
    backup = await SQLiteStore.open(destination)
    try:
        assert backup.contents.chunk_size == CHUNK_SIZE
        assert await folder_exists(backup, FolderName("made/"))
    finally:
        await backup.close()


async def test_the_next_backup_copies_what_is_new_and_removes_what_is_gone(
    store: Store, destination: Path, random_bytes: RandomBytes
) -> None:
    kept, gone, new = (random_bytes(5 * CHUNK_SIZE) for _ in range(3))
    await put(store, "kept", kept)
    await put(store, "replaced", gone)
    await put(store, "gone", gone)
    await make_folder(store, FolderName("gone-too/"))
    await back_up(store, destination)
    assert copied(await back_up(store, destination)) == (0, 0)
    await put(store, "replaced", new + kept)
    await delete(store, FileName("gone"))
    await delete(store, FolderName("gone-too/"))
    await move(store, FileName("kept"), FileName("moved"))
    assert copied(await back_up(store, destination)) == (5, 5 * CHUNK_SIZE)
    assert await files_in(destination) == await files_of(store)
    with closing(sqlite3.connect(destination)) as db:
        assert db.execute("SELECT count(*) FROM chunk").fetchone() == (10,)
        assert db.execute("SELECT count(*) FROM folder").fetchone() == (0,)


async def described(store: Store) -> dict[Name, Description]:
    """Return what is kept with all names, and with the root folder."""
    page = await store.names.list(made_folders=True)
    found: list[Name] = [ROOT, *page.folders, *(file.name for file in page.files)]
    return dict(await store.properties.describe(found))


async def test_what_is_kept_with_names_is_in_each_backup(store: Store, destination: Path) -> None:
    kept: list[Name] = [ROOT, FolderName("made/"), FileName("a")]
    await put(store, "a", b"x")
    await put(store, "d/b", b"y")
    await make_folder(store, FolderName("made/"))
    rounds = [
        [Patch(name, [change(1)], TIMES[0], TIMES[1]) for name in kept],
        [Patch(name, [change(2)]) for name in kept],
        [Patch(name, modified=TIMES[0]) for name in kept],
        [Patch(name, [replace(change(1), element=None)]) for name in kept],
    ]
    for patches in rounds:
        await store.names.apply(patches)
        await back_up(store, destination)
        backup = await SQLiteStore.open(destination, read_only=True)
        try:
            assert await described(backup) == await described(store)
        finally:
            await backup.close()


async def test_what_no_file_needs_is_not_copied(
    store: Store, destination: Path, random_bytes: RandomBytes
) -> None:
    shared, gone, unfinished, new = (random_bytes(5 * CHUNK_SIZE) for _ in range(4))
    await put(store, "kept", shared)
    await put(store, "gone", shared + gone)
    await delete(store, FileName("gone"))
    upload = store.contents.begin()
    await upload.append(cut(unfinished))
    assert copied(await back_up(store, destination)) == (5, 5 * CHUNK_SIZE)
    assert copied(await back_up(store, destination)) == (0, 0)
    # Needed again, before they were collected.
    await put(store, "back", gone)
    await put(store, "new", new)
    assert copied(await back_up(store, destination)) == (10, 10 * CHUNK_SIZE)
    assert await files_in(destination) == await files_of(store)
    await upload.abort()


async def test_an_interrupted_backup_leaves_the_one_before_and_goes_on(
    store: Store, destination: Path, random_bytes: RandomBytes
) -> None:
    await put(store, "old", b"old")
    await back_up(store, destination)
    await put(store, "new", random_bytes(3000 * CHUNK_SIZE))
    assert store.backups is not None
    steps = store.backups.make(str(destination))
    first = await anext(steps)
    await steps.aclose()  # type: ignore[attr-defined]
    assert 0 < first.chunks < 3000
    assert list(await files_in(destination)) == ["old"]
    assert copied(await back_up(store, destination))[0] == 3000 - first.chunks
    assert list(await files_in(destination)) == ["new", "old"]


@pytest.fixture
async def pairs(store: Store, random_bytes: RandomBytes) -> AsyncIterator[asyncio.Task[None]]:
    """Put and delete two files in one transaction, again and again."""

    def commit(name: str, content: bytes) -> Put:
        digest = Digest.of(content)
        upload = store.contents.begin()
        return put_of(upload, cut(content), digest, len(content), name_of(name), "text/plain")

    async def change() -> None:
        for index in range(10_000):
            content = random_bytes(8 * CHUNK_SIZE)
            await store.names.apply([commit(f"{index % 7}/{side}", content) for side in "ab"])
            if index % 3 == 0:
                await delete(store, FolderName(f"{index % 7}/"))

    changing = asyncio.create_task(change())
    yield changing
    changing.cancel()


async def test_a_backup_is_of_one_moment(
    store: Store, destination: Path, pairs: asyncio.Task[None]
) -> None:
    for _ in range(2):
        await back_up(store, destination)
        found = await files_in(destination)
        for name, (content, *_) in found.items():
            folder, _, side = name.partition("/")
            assert found[f"{folder}/{'b' if side == 'a' else 'a'}"][0] == content
    assert not pairs.done()


async def test_damage_is_told_of_and_can_be_repaired_in_the_copy(
    store: Store, tmp_path: Path, destination: Path, random_bytes: RandomBytes
) -> None:
    content = random_bytes(CHUNK_SIZE)
    await put(store, "a", content)
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as db:
        db.execute("UPDATE chunk_data SET bytes = X'00'")
    [step] = await back_up(store, destination)
    assert step.damage == [Damage("chunk", Digest.of(content), [name_of("a")])]
    backup = await SQLiteStore.open(destination)
    try:
        assert (await backup.maintenance.stats()).damaged == 1
        # By an upload that comes to no file: else it would be a backup no more.
        upload = backup.contents.begin()
        await upload.append(cut(content))
        await upload.abort()
        assert await get(backup, "a") == content
    finally:
        await backup.close()
    # What is whole in the copy is not overwritten by what is damaged.
    await back_up(store, destination)
    assert (await files_in(destination))["a"][0] == content


async def test_what_is_not_a_backup_of_this_store_is_left_alone(
    store: Store, tmp_path: Path, destination: Path
) -> None:
    await put(store, "a", b"a")
    other = await SQLiteStore.open(destination, chunk_size=CHUNK_SIZE)
    await put(other, "theirs", b"theirs")
    await other.close()
    with pytest.raises(Forbidden):
        await back_up(store, destination)
    assert list(await files_in(destination)) == ["theirs"]
    text = tmp_path / "text"
    text.write_bytes(b"no database" * 1000)
    before = text.read_bytes()
    for place in (text, tmp_path / "none" / "b.db"):
        with pytest.raises(StoreError):
            await back_up(store, place)
    with pytest.raises(Forbidden, match="the store itself"):
        await back_up(store, tmp_path / "test.db")
    assert text.read_bytes() == before


async def test_a_store_is_no_backup_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "own.db"
    store = await SQLiteStore.open(path)
    await put(store, "a", b"a")
    await store.close()
    reader = await SQLiteStore.open(path, read_only=True)
    try:
        with pytest.raises(Forbidden):
            await back_up(reader, path)
    finally:
        await reader.close()
    assert list(await files_in(path)) == ["a"]


async def test_what_uploads_hold_stays_out_of_a_backup(
    store: Store, destination: Path, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * CHUNK_SIZE)
    await put(store, "a", content)
    upload_id = await begin(store)
    await hold(store, upload_id, cut(random_bytes(2 * CHUNK_SIZE)), appended=1)
    await refer(store, upload_id, known(cut(content)))
    for _ in range(2):
        await back_up(store, destination)
        assert {name: found[0] for name, found in (await files_in(destination)).items()} == {
            "a": content
        }
        with closing(sqlite3.connect(destination)) as db:
            for table, count in (("chunk", 3), ("manifest", 1), ("upload", 0), ("upload_pack", 0)):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)
    assert len(await held(store, upload_id)) == 2


async def test_a_backup_has_the_records_of_its_moment(store: Store, destination: Path) -> None:
    accounts: list[RecordChange] = [PutRecord("account", name, "o", name) for name in "abc"]
    await store.records.apply(accounts)
    await back_up(store, destination)
    await store.records.apply([DeleteRecord("account", "a"), PutRecord("account", "b", "", "2")])
    await back_up(store, destination)
    expected = await store.records.list("account")
    assert [record.value for record in expected] == ["2", "c"]
    backup = await SQLiteStore.open(destination)
    assert await backup.records.list("account") == expected
    await backup.close()
