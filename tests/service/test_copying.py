"""Copies from one store to another keep all that is kept with names, in either database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chunkstore.core.dav.properties import PropertyChange, PropertyName
from chunkstore.core.errors import Locked
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.service import Service
from chunkstore.service.transfer.copy_store import CopiedFile, NotCopied, copy_files
from chunkstore.store.contract.edits import Name, Patch
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.contract.properties import Description
from chunkstore.store.contract.store import Store
from tests.backends import Backend, SQLiteBackend
from tests.conftest import on_each_backend
from tests.store.conformance import get, put
from tests.store.edits import delete, folder_exists, get_file, make_folder

TIMES = datetime(2001, 2, 3, tzinfo=UTC), datetime(2004, 5, 6, 7, 8, 9, 10, tzinfo=UTC)
A = PropertyChange(PropertyName("urn:x", "a"), '<a xmlns="urn:x">1</a>')
B = PropertyChange(PropertyName("urn:x", "b"), '<b xmlns="urn:x"/>')
PATCHED: list[Name] = [
    ROOT,
    FileName("a"),
    FileName("d/e/f"),
    FolderName("d/e/"),
    FolderName("made/"),
    FolderName("made/in it/"),
]


@pytest.fixture
async def other(backend: Backend, request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Return an empty store in a database of the other kind."""
    if not isinstance(backend, SQLiteBackend):
        return SQLiteBackend(tmp_path / "other.db")
    found: Backend = request.getfixturevalue("another_postgres_backend")
    await found.clear()
    return found


@pytest.fixture
async def target(other: Backend) -> AsyncIterator[Store]:
    opened = await other.open()
    yield opened
    await opened.close()


async def copy(source: Store, target: Store) -> tuple[int, list[NotCopied]]:
    """Copy all; return how many chunks were new, and what was left out."""
    copied: list[CopiedFile] = []
    failed: list[NotCopied] = []
    one, other = (Service(store, MemoryBudget(2**23)) for store in (source, target))
    await copy_files(one, other, copied.append, failed.append)
    return sum(one.new_chunks for one in copied), failed


async def described(store: Store) -> Mapping[Name, Description]:
    """Return what is kept with all files and made folders, and with the root folder."""
    page = await store.names.list(made_folders=True)
    names: list[Name] = [ROOT, *page.folders, *(file.name for file in page.files)]
    return await store.properties.describe(names)


async def fill(store: Store) -> None:
    for name in ("a", "d/e/f", "plain"):
        await put(store, name, name.encode())
    await make_folder(store, FolderName("made/"))
    await make_folder(store, FolderName("made/in it/"))
    await store.names.apply([Patch(name, [A, B], *TIMES) for name in PATCHED])


@on_each_backend
async def test_all_that_is_kept_with_names_is_copied(store: Store, target: Store) -> None:
    await fill(store)
    assert await copy(store, target) == (3, [])
    assert await described(target) == await described(store)
    assert (await get_file(target, FileName("a"))).media_type == "text/plain"
    # The folder that was not made is none of its own there either.
    await delete(target, FileName("d/e/f"))
    assert await folder_exists(target, FolderName("d/e/"))
    await delete(target, FolderName("d/e/"))
    assert not await folder_exists(target, FolderName("d/"))


@on_each_backend
async def test_what_changes_later_is_copied_without_a_byte(store: Store, target: Store) -> None:
    await fill(store)
    await copy(store, target)
    assert await copy(store, target) == (0, [])
    rounds = [
        [Patch(name, [replace(A, element="<a/>")]) for name in PATCHED],
        [Patch(name, [replace(A, element=None), replace(B, element=None)]) for name in PATCHED],
        [Patch(name, created=TIMES[1], modified=TIMES[0]) for name in PATCHED],
    ]
    for patches in rounds:
        await store.names.apply(patches)
        assert await copy(store, target) == (0, [])
        assert await described(target) == await described(store)
    # What the target alone has goes.
    await target.names.apply([Patch(name, [A]) for name in PATCHED])
    await copy(store, target)
    assert await described(target) == await described(store)


@on_each_backend
async def test_a_root_of_which_nothing_was_set_stays_so(store: Store, target: Store) -> None:
    await put(store, "b", b"x")
    await copy(store, target)
    await put(target, "a", b"before it")
    first = (await get_file(target, FileName("a"))).modified
    assert (await target.properties.describe([ROOT]))[ROOT].modified == first


@on_each_backend
async def test_a_locked_name_is_left_out_and_all_others_are_copied(
    store: Store, target: Store
) -> None:
    await fill(store)
    await put(target, "a", b"there")
    taken = await target.locks.take(WantedLock(FileName("a"), True, True))
    [failure] = (await copy(store, target))[1]
    assert failure.name == "a"
    assert isinstance(failure.error, Locked)
    assert str(failure.error) == (
        f"'/a' is locked until {taken.lock.expires:%Y-%m-%d %H:%M:%S} UTC;"
        " wait, or end it by `chunkstore locks break /a`."
    )
    assert await get(target, "a") == b"there"
    assert await get(target, "d/e/f") == b"d/e/f"
    await target.locks.release(taken.lock.token)
    assert await copy(store, target) == (1, [])
