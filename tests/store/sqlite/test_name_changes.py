"""Changes of names are announced before anybody can see them, whatever makes them."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from chunkstore.core.conditional import CREATE_ONLY
from chunkstore.core.errors import PreconditionFailed, StoreError
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Delete, Move
from chunkstore.store.contract.name_changes import NameWatcher
from chunkstore.store.sqlite.store import SQLiteStore
from chunkstore.store.sqlite.tree import MAX_NAMES
from tests.store.conformance import put, scrub, whole_put
from tests.store.edits import copy, delete, make_folder, move
from tests.store.sqlite.test_large_folders import plant
from tests.store.upload_conformance import begin, complete

Rows = dict[str, tuple[object, ...]]
Change = Callable[[SQLiteStore], Awaitable[object]]

A, B = FileName("d/a"), FileName("b")
D, E, LARGE = FolderName("d/"), FolderName("e/"), FolderName("large/")


class Reader(NameWatcher):
    """Reads the visible files whenever a change is announced, and when it has ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seen = self.visible()
        # Names that changed without having been announced, or before.
        self.unannounced: set[str] = set()
        self.announced: set[str] = set()
        self.all_announced = False
        self.ended = 0

    def visible(self) -> Rows:
        with closing(sqlite3.connect(self._path)) as db:
            rows = db.execute(
                "SELECT name, manifest, media_type, created, modified FROM file WHERE NOT EXISTS"
                " (SELECT 1 FROM folder_change WHERE hidden = 1 AND name >= prefix AND name < stop)"
            )
            return {row[0]: row for row in rows}

    def changing(self, names: Collection[str] | None) -> None:
        self._note_changes()
        if names is None:
            self.all_announced = True
        else:
            self.announced.update(names)

    def changed(self) -> None:
        if not self.all_announced:
            self._note_changes(self.announced)
        self.seen = self.visible()
        self.announced.clear()
        self.all_announced = False
        self.ended += 1

    def _note_changes(self, announced: Collection[str] = ()) -> None:
        now = self.visible()
        changed = {name for name in {*now, *self.seen} if now.get(name) != self.seen.get(name)}
        self.unannounced |= changed - set(announced)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(path)
    for name in (A, "d/x", "e/y", "seed"):
        await put(store, name, name.encode())
    yield store
    await store.close()


async def upload(store: SQLiteStore) -> None:
    await complete(store, await begin(store, content=b"resumable", whole=True), b"resumable")


async def several(store: SQLiteStore) -> None:
    await store.names.apply([Delete(A), whole_put(store, B, b"b"), Delete(D)])


CHANGES: dict[str, Change] = {
    "put": lambda store: put(store, "new", b"new"),
    "replace": lambda store: put(store, A, b"new"),
    "delete": lambda store: delete(store, A),
    "copy": lambda store: copy(store, A, FileName("e/y")),
    "move": lambda store: move(store, A, FileName("e/y")),
    "copy a folder": lambda store: copy(store, D, E),
    "move a folder": lambda store: move(store, D, E),
    "delete a folder": lambda store: delete(store, D),
    "complete an upload": upload,
    "several edits": several,
}
LARGE_CHANGES: dict[str, Change] = {
    "copy": lambda store: copy(store, LARGE, E),
    "copy over it": lambda store: copy(store, D, LARGE),
    "copy over it without members": lambda store: copy(store, D, LARGE, with_members=False),
    "move": lambda store: move(store, LARGE, E),
    "delete": lambda store: delete(store, LARGE),
}


async def changed_by(store: SQLiteStore, path: Path, change: Change) -> Reader:
    before, reader = Reader(path).seen, Reader(path)
    assert store.name_changes is not None
    async with store.name_changes.watched_by(reader):
        await change(store)
        assert reader.seen == reader.visible() != before
    return reader


@pytest.mark.parametrize("change", CHANGES)
async def test_each_change_is_announced_before_it_is_seen(
    store: SQLiteStore, path: Path, change: str
) -> None:
    reader = await changed_by(store, path, CHANGES[change])
    assert reader.unannounced == set()


@pytest.mark.parametrize("change", LARGE_CHANGES)
async def test_each_step_of_a_large_change_is_announced_before_it_is_seen(
    store: SQLiteStore, path: Path, change: str
) -> None:
    plant(path, LARGE)
    reader = await changed_by(store, path, LARGE_CHANGES[change])
    assert reader.unannounced == set()


class Names(NameWatcher):
    """Notes what is announced, in order; a `|` stands for each end."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def changing(self, names: Collection[str] | None) -> None:
        self.told.append(None if names is None else set(names))

    def changed(self) -> None:
        self.told.append("|")


async def test_only_what_changes_is_announced(store: SQLiteStore) -> None:
    names = Names()
    assert store.name_changes is not None
    async with store.name_changes.watched_by(names):
        await move(store, A, B)
        await make_folder(store, FolderName("f/"))
        upload = store.contents.begin()
        await upload.append([])
        await upload.abort()
        await collect_all(store.maintenance, 0)
        await scrub(store)
    assert [told for told in names.told if told != "|"] == [{A, B}]


async def test_a_refused_edit_announces_nothing_of_its_own(store: SQLiteStore) -> None:
    names = Names()
    assert store.name_changes is not None
    async with store.name_changes.watched_by(names):
        with pytest.raises(PreconditionFailed):
            await store.names.apply([Delete(A), whole_put(store, "seed", b"other", CREATE_ONLY)])
        await delete(store, FileName("d/x"))
    assert names.told == ["|", {"d/x"}, "|"]


async def test_several_watch_until_each_leaves(store: SQLiteStore) -> None:
    first, second, changes = Names(), Names(), store.name_changes
    assert changes is not None
    async with changes.watched_by(first):
        async with changes.watched_by(second):
            await delete(store, A)
        await delete(store, FileName("d/x"))
    await delete(store, FileName("e/y"))
    async with changes.watched_by(first):
        await delete(store, FileName("seed"))
    assert second.told == [{A}, "|"]
    assert first.told == [{A}, "|", {"d/x"}, "|", {"seed"}, "|"]


async def test_a_damaged_name_is_deleted_like_any_other(store: SQLiteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE file SET name = CAST(X'642FFF' AS TEXT) WHERE name = 'd/x'")
    names = Names()
    assert store.name_changes is not None
    async with store.name_changes.watched_by(names):
        await delete(store, D)
    assert names.told == [{A, "d/\ufffd"}, "|"]


async def test_noting_long_names_needs_no_file(store: SQLiteStore, path: Path) -> None:
    folders = [FolderName("/".join([letter * 253] * 4) + "/") for letter in "abc"]
    plant(path, folders[0], MAX_NAMES - 1)
    names = Names()
    assert store.name_changes is not None
    async with store.name_changes.watched_by(names):
        await store.names.apply([Move(*pair) for pair in pairwise([*folders, folders[0]])])
        descriptors = list(Path("/proc/self/fd").iterdir())
        # The one of that folder is closed by now.
        open_files = [str(each.readlink()) for each in descriptors if each.is_symlink()]
    [announced, _] = names.told
    assert isinstance(announced, set)
    assert len(announced) == 3 * (MAX_NAMES - 1)
    # So SQLite calls its temporary files.
    assert [file for file in open_files if "etilqs" in file] == []


async def test_a_store_that_is_only_read_tells_of_no_changes(
    store: SQLiteStore, path: Path
) -> None:
    reading = await SQLiteStore.open(path, read_only=True)
    assert reading.name_changes is None
    with pytest.raises(StoreError):
        await delete(reading, A)
    await reading.close()
