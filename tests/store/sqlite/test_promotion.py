"""A backup in which a name is changed is a store of its own: no later backup undoes the change."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.digest import Digest
from chunkstore.core.errors import AlreadyExists, Forbidden, NotFound, PreconditionFailed
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.service.maintenance.scrub import scrub_all
from chunkstore.store.contract.edits import Patch, Put
from chunkstore.store.contract.store import Store
from chunkstore.store.sqlite.store import SQLiteStore
from chunkstore.store.sqlite.tree import MAX_NAMES
from tests.store.conformance import cut, name_of, names, put
from tests.store.edits import copy, delete, make_folder, move, put_of
from tests.store.sqlite.test_backup import back_up, files_in
from tests.store.sqlite.test_large_folders import plant
from tests.store.upload_conformance import begin, complete

Change = Callable[[Store], Awaitable[object]]

A, B = FileName("d/a"), FileName("b")
D = FolderName("d/")


async def upload(store: Store) -> None:
    await complete(store, await begin(store, content=b"resumable", whole=True), b"resumable")


CHANGES: dict[str, Change] = {
    "put": lambda store: put(store, "new", b"new"),
    "replace": lambda store: put(store, A, b"new"),
    "delete": lambda store: delete(store, A),
    "copy": lambda store: copy(store, A, B),
    "move": lambda store: move(store, A, B),
    "make folder": lambda store: make_folder(store, FolderName("new/")),
    "copy folder": lambda store: copy(store, D, FolderName("e/")),
    "copy folder alone": lambda store: copy(store, D, FolderName("e/"), with_members=False),
    "move folder": lambda store: move(store, D, FolderName("e/")),
    "delete folder": lambda store: delete(store, D),
    "delete an empty folder": lambda store: delete(store, FolderName("made/")),
    "upload": upload,
    "patch the root folder": lambda store: store.names.apply([Patch(ROOT)]),
}


@pytest.fixture
async def backup(store: Store, tmp_path: Path) -> Path:
    """Return the path of a backup of `store`."""
    await put(store, A, b"a")
    await make_folder(store, FolderName("made/"))
    path = tmp_path / "backup.db"
    await back_up(store, path)
    return path


async def change_backup(path: Path, *changes: Change) -> list[str]:
    """Make changes in the store at `path`; return its names then."""
    opened = await SQLiteStore.open(path)
    try:
        for change in changes:
            await change(opened)
        return await names(opened)
    finally:
        await opened.close()


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_backup_is_backed_up_to_no_more(
    store: Store, backup: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    changed = await change_backup(backup, CHANGES[change], lambda store: put(store, "more", b"x"))
    [message] = caplog.messages
    assert message.startswith(f"{backup} is a store of its own from now on")
    await put(store, "later", b"later")
    with pytest.raises(Forbidden, match="store of its own"):
        await back_up(store, backup)
    assert list(await files_in(backup)) == changed


async def test_a_large_folder_is_changed_by_one_transaction(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, "seed", b"x")
    plant(tmp_path / "test.db", "large/", MAX_NAMES + 1)
    await back_up(store, tmp_path / "backup.db")
    large = FolderName("large/")
    changed = await change_backup(tmp_path / "backup.db", lambda store: delete(store, large))
    assert changed == ["seed"]
    assert len(caplog.messages) == 1
    with pytest.raises(Forbidden):
        await back_up(store, tmp_path / "backup.db")


async def test_what_was_under_way_in_the_store_leaves_its_backup_one(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await put(store, "seed", b"x")
    plant(tmp_path / "test.db", "large/", MAX_NAMES + 1)
    with closing(sqlite3.connect(tmp_path / "test.db")) as db, db:
        db.execute("INSERT INTO folder_change VALUES ('large/', 'large0', 1)")
    for _ in range(2):
        await back_up(store, tmp_path / "backup.db")
    backup = await SQLiteStore.open(tmp_path / "backup.db")
    try:
        # What the store has not come to removing, the backup removes by itself.
        assert backup._large_folders is not None
        if backup._large_folders._tasks:
            await asyncio.wait(backup._large_folders._tasks)
    finally:
        await backup.close()
    with closing(sqlite3.connect(tmp_path / "backup.db")) as db:
        assert db.execute("SELECT name FROM file").fetchall() == [("seed",)]
    await back_up(store, tmp_path / "backup.db")
    assert caplog.messages == []


async def refused_changes(store: Store) -> None:
    """Ask for what changes no name, also in a savepoint that is rolled back."""
    with suppress(PreconditionFailed):
        await put(store, A, b"new", CREATE_ONLY)
    with suppress(NotFound):
        await delete(store, FileName("none"))
    with suppress(AlreadyExists):
        await copy(store, D, FolderName("made/"), overwrite=False)


async def test_what_changes_no_name_leaves_a_backup_one(
    store: Store, backup: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def look_after(store: Store) -> None:
        await store.maintenance.put_scrub_report(await scrub_all(store.maintenance, lambda _: None))
        await collect_all(store.maintenance, 0)
        await begin(store, content=b"not the whole")

    await change_backup(backup, refused_changes, look_after)
    await put(store, "later", b"later")
    await back_up(store, backup)
    assert list(await files_in(backup)) == ["d/a", "later"]
    assert caplog.messages == []


async def test_a_change_that_is_rolled_back_leaves_a_backup_one(
    store: Store, backup: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def new_file(opened: Store, name: str) -> Put:
        return put_of(
            opened.contents.begin(), cut(b"x"), Digest.of(b"x"), 1, name_of(name), "", CREATE_ONLY
        )

    async def put_two(opened: Store) -> None:
        # The first of them has changed a name before the second one's condition fails.
        with pytest.raises(PreconditionFailed):
            await opened.names.apply([new_file(opened, "new"), new_file(opened, A)])

    assert await change_backup(backup, put_two) == ["d/a"]
    await back_up(store, backup)
    assert caplog.messages == []
