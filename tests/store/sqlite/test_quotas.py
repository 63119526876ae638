"""Quotas and large folders, which are changed in steps, and quotas in backups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from chunkstore.core.errors import NotFound, QuotaExceeded
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.store.contract.audit import Action, AuditFilter, Who
from chunkstore.store.contract.edits import Copy, Delete, Move
from chunkstore.store.contract.quotas import Usage
from chunkstore.store.sqlite.engine.connection import Job
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.conformance import put
from tests.store.edits import copy, delete, move
from tests.store.quota_conformance import require_exact, used
from tests.store.sqlite.test_large_folders import COUNT, SOURCE, TARGET, opened, plant

T = TypeVar("T")
# What is planted: the name of a content of five bytes, so many times.
SIZE, MANY = 5 * COUNT, COUNT + 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    async with opened(path) as store:
        await put(store, "seed", b"12345")
        plant(path, SOURCE)
        await put(store, "d/1/x", b"")
        yield store


async def test_large_folders_count_like_small_ones(store: SQLiteStore) -> None:
    await put(store, "t/old", b"123")
    for folder in (ROOT, SOURCE, TARGET, FolderName("t/1/")):
        await store.quotas.set(folder, None, 2 * MANY)
    everything = {"": (SIZE + 8, MANY + 2), "d/": (SIZE, MANY), "t/": (3, 1), "t/1/": (0, 0)}
    assert await used(store) == everything
    await store.quotas.set(ROOT, None, 2 * MANY)
    with pytest.raises(QuotaExceeded) as caught:
        await copy(store, SOURCE, TARGET)
    assert (caught.value.folder, caught.value.used) == ("", MANY + 2)
    assert await used(store) == everything
    await store.quotas.set(ROOT, 2 * SIZE + 5, None)
    for _ in range(2):
        await copy(store, SOURCE, TARGET)
        assert await used(store) == {
            "": (2 * SIZE + 5, 2 * MANY + 1), "d/": (SIZE, MANY), "t/": (SIZE, MANY),
            "t/1/": (0, 1),
        }  # fmt: skip
        await require_exact(store)
    await move(store, SOURCE, TARGET)
    moved = {"": (SIZE + 5, MANY + 1), "d/": (0, 0), "t/": (SIZE, MANY), "t/1/": (0, 1)}
    assert await used(store) == moved
    await move(store, TARGET, SOURCE)
    await copy(store, SOURCE, TARGET, with_members=False)
    assert await used(store) == moved | {"d/": (SIZE, MANY), "t/": (0, 0), "t/1/": (0, 0)}
    await delete(store, SOURCE)
    assert await used(store) == {"": (5, 1), "d/": (0, 0), "t/": (0, 0), "t/1/": (0, 0)}
    await require_exact(store)


@pytest.mark.parametrize("transfer", [copy, move])
async def test_they_are_exact_at_every_step_beside_others(
    store: SQLiteStore,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transfer: Callable[..., Awaitable[bool]],
) -> None:
    plant(path, TARGET)
    await store.quotas.set(ROOT, 1 << 40, None)
    await store.quotas.set(TARGET, None, 3 * COUNT)
    run, looks = Writer.run, 0
    looking: set[asyncio.Future[None]] = set()

    async def look() -> None:
        nonlocal looks
        looks += 1
        await put(store, f"beside/{looks % 5}", b"x" * (looks % 7))
        await require_exact(store)
        if looks == 2:
            # In the middle.
            await store.quotas.set(SOURCE, 1 << 40, None)

    async def run_and_look(writer: Writer, job: Job[T], **options: Any) -> T:  # noqa: ANN401 - as it is
        result = await run(writer, job, **options)
        if asyncio.current_task() not in looking:
            task = asyncio.ensure_future(look())
            looking.add(task)
            await task
        return result

    monkeypatch.setattr(Writer, "run", run_and_look)
    await transfer(store, SOURCE, TARGET)
    await delete(store, TARGET)
    monkeypatch.undo()
    assert looks > 20
    left = MANY if transfer is copy else 0
    assert (await used(store))["d/"][1] == left
    assert (await used(store))["t/"] == (0, 0)
    await require_exact(store)


async def test_a_transfer_for_which_others_leave_no_room_is_undone(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, "t/old", b"123")
    await store.quotas.set(ROOT, 2 * SIZE + 5, None)
    run, filled = Writer.run, False

    async def run_and_fill(writer: Writer, job: Job[T], **options: Any) -> T:  # noqa: ANN401 - as it is
        nonlocal filled
        result = await run(writer, job, **options)
        if not filled and not options.get("durable", True):
            filled = True
            await put(store, "x", b"1")
        return result

    monkeypatch.setattr(Writer, "run", run_and_fill)
    with pytest.raises(QuotaExceeded):
        await copy(store, SOURCE, TARGET)
    monkeypatch.undo()
    assert filled
    assert await store.names.find(TARGET) is None
    assert await used(store) == {"": (SIZE + 6, MANY + 2)}
    await require_exact(store)
    await put(store, "d/new", b"x")


async def test_what_is_done_to_large_folders_is_told_when_it_is_seen(store: SQLiteStore) -> None:
    await put(store, "t/old", b"123")
    anna = Who("anna", "session")
    await store.names.apply([Copy(SOURCE, TARGET)], anna)
    await store.names.apply([Move(SOURCE, TARGET)], anna)
    await store.names.apply([Delete(TARGET)], anna)
    told = [(one.action, one.name, one.detail) for one in await store.audit.list(AuditFilter())]
    assert told == [
        ("copy", "d/", {"to": "t/", "replaced": True}),
        ("move", "d/", {"to": "t/", "replaced": True}),
        ("delete", "t/", {}),
    ]
    with pytest.raises(NotFound):
        await store.names.apply([Delete(TARGET)], anna)
    assert len(await store.audit.list(AuditFilter())) == 3


async def test_a_file_in_the_place_of_a_large_folder_is_told(
    store: SQLiteStore, path: Path
) -> None:
    anna, file = Who("anna", "session"), FileName("seed")
    await store.names.apply([Copy(file, FileName("d"), strict=True)], anna)
    plant(path, TARGET)
    await store.names.apply([Move(file, FileName("t"), strict=True)], anna)
    told = [(one.action, one.name, one.detail) for one in await store.audit.list(AuditFilter())]
    assert told == [
        ("copy", "seed", {"to": "d", "replaced": True}),
        ("move", "seed", {"to": "t", "replaced": True}),
    ]


async def test_a_backup_has_the_audit_log_as_far_as_it_is_kept(
    store: SQLiteStore, tmp_path: Path
) -> None:
    async def told(path: Path) -> list[str]:
        async with opened(path) as backup:
            return [entry.action for entry in await backup.audit.list(AuditFilter())]

    path = tmp_path / "backup.db"
    for action in ("one", "two"):
        await store.audit.append(Who("anna", "session"), [Action(action)])
        async for _ in store.backups.make(str(path)):
            pass
    assert await told(path) == ["one", "two"]
    [_, entry] = await store.audit.list(AuditFilter())
    await store.audit.remove_before(entry.time)
    await store.audit.append(Who("anna", "session"), [Action("three")])
    async for _ in store.backups.make(str(path)):
        pass
    assert await told(path) == ["two", "three"]


async def test_a_backup_has_the_quotas_of_its_moment(store: SQLiteStore, tmp_path: Path) -> None:
    await store.quotas.set(SOURCE, 1 << 40, 5 * COUNT)
    async for _ in store.backups.make(str(tmp_path / "backup.db")):
        pass
    await put(store, "d/new", b"x")
    await store.quotas.remove(SOURCE)
    await store.quotas.set(TARGET, 7, None)
    async with opened(tmp_path / "backup.db") as backup:
        assert await used(backup) == {"d/": (SIZE, MANY)}
        await put(backup, "d/new", b"123")
        assert [found.drift async for found in backup.quotas.recount()] == [Usage(0, 0)]
    async for _ in store.backups.make(str(tmp_path / "other.db")):
        pass
    async with opened(tmp_path / "other.db") as backup:
        assert await used(backup) == {"t/": (0, 0)}
        await copy(backup, FileName("seed"), FileName("t/x"))
        with pytest.raises(QuotaExceeded):
            await put(backup, "t/y", b"123")
