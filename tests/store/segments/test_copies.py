"""Copies of a store with segments: backups, restores, what a restore keeps, `rsync`."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chunkstore.core.errors import StoreError
from chunkstore.store.sqlite.restoring import restoring
from chunkstore.store.sqlite.segments.folder import folder_of
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.segments.stores import (
    BATCH,
    BOUNDS,
    CHUNK,
    collect,
    damage_in,
    delete,
    files_of,
    opened,
    pieces,
    put,
    query,
    read,
)

ONE, TWO = pieces(5 * BATCH), pieces(3 * BATCH, 1)


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = SQLiteStore.open.__func__.__kwdefaults__  # type: ignore[attr-defined]
    monkeypatch.setitem(defaults, "segment_bounds", BOUNDS)


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


async def back_up(store: SQLiteStore, backup: Path) -> int:
    """Return how many bytes were copied."""
    return sum([step.size async for step in store.backups.make(str(backup))])


async def restore(path: Path, backup: Path) -> Path | None:
    async with restoring(path, backup) as restoration:
        assert [step.damage async for step in restoration.copy() if step.damage] == []
        return await restoration.finish()


async def contents(path: Path, *, read_only: bool = False) -> dict[str, bytes]:
    store = await opened(path) if not read_only else await SQLiteStore.open(path, read_only=True)
    try:
        assert await damage_in(store) == []
        assert (await store.maintenance.health()).faults == []
        listing = await store.names.list()
        return {str(file.name): await read(store, file.name) for file in listing.files}
    finally:
        await store.close()


async def test_a_backup_has_all_and_the_next_copies_only_what_is_new(
    path: Path, backup: Path
) -> None:
    store = await opened(path)
    await put(store, "a", ONE)
    assert await back_up(store, backup) == len(ONE) * CHUNK
    before = files_of(backup)
    await put(store, "b", TWO)
    assert await back_up(store, backup) == len(TWO) * CHUNK
    assert set(before) <= set(files_of(backup))
    assert await back_up(store, backup) == 0
    await delete(store, "a")
    assert await back_up(store, backup) == 0
    await store.close()
    assert await contents(backup) == {"b": b"".join(TWO)}


async def test_a_backup_is_made_while_chunks_move(path: Path, backup: Path) -> None:
    store = await opened(path)
    for number in range(20):
        await put(store, f"{number}", pieces(BATCH, number))
    steps = store.backups.make(str(backup))
    async for _ in steps:
        await collect(store)
    await store.close()
    assert len(await contents(backup)) == 20


async def test_a_backup_tells_what_a_missing_segment_had(path: Path, backup: Path) -> None:
    store = await opened(path)
    await put(store, "a", ONE)
    await put(store, "b", TWO)
    lost = query(path, "SELECT segment FROM chunk ORDER BY id LIMIT 1")[0][0]
    await store.close()
    (folder_of(path) / f"{lost:016x}.db").unlink()
    store = await opened(path)
    damage = [each async for step in store.backups.make(str(backup)) for each in step.damage]
    assert {name for each in damage for name in each.files} == {"a"}
    assert len(damage) == 2 * BATCH
    # Put again once it is known, the next backup has it.
    assert len(await damage_in(store)) == 2 * BATCH
    await put(store, "a", ONE)
    await back_up(store, backup)
    await store.close()
    assert await contents(backup) == {"a": b"".join(ONE), "b": b"".join(TWO)}


@pytest.mark.parametrize("backup_is_one_file", [False, True])
async def test_a_restore_brings_segments_and_keeps_those_that_were_there(
    path: Path, backup: Path, backup_is_one_file: bool
) -> None:
    if backup_is_one_file:
        await (await opened(backup, one_file=True)).close()
    store = await opened(path)
    await put(store, "a", ONE)
    await back_up(store, backup)
    assert (files_of(backup) == []) == backup_is_one_file
    await delete(store, "a")
    await put(store, "b", TWO)
    await collect(store)
    await store.close()
    path.chmod(0o600)
    kept = await restore(path, backup)
    assert kept is not None
    assert await contents(path) == {"a": b"".join(ONE)}
    assert await contents(kept) == {"b": b"".join(TWO)}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files_of(path)} <= {0o600}
    left = {file.name.replace(path.name, "") for file in path.parent.glob(f"{path.name}*")}
    assert not any("restoring" in name for name in left)
    # Each has its own and nothing of the other's.
    assert not {each.name for each in files_of(path)} & {each.name for each in files_of(kept)}
    assert {file.stat().st_nlink for file in (*files_of(path), *files_of(kept))} == {1}


async def test_a_restore_where_no_store_is(path: Path, backup: Path) -> None:
    store = await opened(backup)
    await put(store, "a", ONE)
    await store.close()
    assert await restore(path, backup) is None
    assert await contents(path) == {"a": b"".join(ONE)}
    assert await contents(backup) == {"a": b"".join(ONE)}


@pytest.mark.parametrize("call", ["link", "replace"])
async def test_a_restore_that_ends_anywhere_leaves_the_one_or_the_other(
    path: Path, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    store = await opened(path)
    await put(store, "a", ONE)
    await store.close()
    store = await opened(backup)
    await put(store, "b", TWO)
    await store.close()
    place_of: tuple[object, str] = (os, "link") if call == "link" else (Path, "replace")
    real: Callable[..., object] = getattr(*place_of)
    seen = set()
    for most in range(12):
        place = tmp_path / f"{most}"
        place.mkdir()
        for file in tmp_path.iterdir():
            if file.is_file():
                shutil.copy(file, place)
            elif file.name.endswith("-segments"):
                shutil.copytree(file, place / file.name)
        left = most

        def end(*arguments: Any) -> object:  # noqa: ANN401 - as what it takes the place of
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError("the end")
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(*place_of, end)
            with suppress(StoreError, OSError):
                await restore(place / path.name, place / backup.name)
        found = await contents(place / path.name)
        assert found in ({"a": b"".join(ONE)}, {"b": b"".join(TWO)})
        seen.add(tuple(found))
        if "a" in found:
            assert not list(place.glob(f"{path.name}-before-*"))
        # What was left over is gone: all that is there is needed.
        needed = query(place / path.name, "SELECT id FROM segment")
        names = {f"{segment:016x}.db" for (segment,) in needed}
        assert {file.name for file in files_of(place / path.name)} == names
    assert seen == {("a",), ("b",)}


async def test_a_running_store_is_copied_segments_database_segments(
    path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy" / path.name
    copy.parent.mkdir()

    def copy_segments() -> None:
        shutil.copytree(folder_of(path), folder_of(copy), dirs_exist_ok=True)

    store = await opened(path)
    for number in range(20):
        await put(store, f"{number}", pieces(BATCH, number))
    copy_segments()
    before = set(files_of(path))
    await collect(store)
    assert not before <= set(files_of(path))
    await put(store, "a", ONE)
    # By SQLite's own means, for a log belongs to it.
    query(path, f"VACUUM INTO '{copy}'")
    await put(store, "b", TWO)
    copy_segments()
    await store.close()
    expected = {f"{number}": b"".join(pieces(BATCH, number)) for number in range(20)}
    assert await contents(copy) == await contents(copy, read_only=True)
    assert await contents(copy) == {**expected, "a": b"".join(ONE)}
