"""Trees of files into a store and out of it."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.errors import (
    AlreadyExists,
    Forbidden,
    LocalFileError,
    Locked,
    NameConflict,
    NotFound,
    StoreDamaged,
    StoreFull,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.service import Service
from chunkstore.service.transfer.export_tree import NotExported, export_tree
from chunkstore.service.transfer.import_tree import (
    Imported,
    IntoStore,
    NotImported,
    import_tree,
    scan_tree,
)
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.contract.store import Store
from chunkstore.store.contract.values import File
from chunkstore.store.sqlite.store import SQLiteStore
from tests.store.edits import delete, get_file, make_folder, move

MIB = 1024 * 1024
TREE = {
    "a": b"a",
    "empty": b"",
    "b/c": b"c" * 5000,
    "b/d/e": random.Random(0).randbytes(3 * MIB),
    "é/ü ?#%": b"odd",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    write(folder, TREE)
    (folder / "b" / "nothing" / "in it").mkdir(parents=True)
    return folder


@pytest.fixture
def service(store: Store) -> Service:
    return Service(store, MemoryBudget(8 * MIB))


def write(folder: Path, tree: dict[str, bytes]) -> None:
    for name, content in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


async def import_folder(
    service: Service, folder: Path, target: FolderName = ROOT, *, overwrite: bool = False
) -> list[Imported]:
    """Import a folder of which everything can be put."""
    told, failures = await import_what_can_be(service, folder, target, overwrite=overwrite)
    assert failures == []
    return told


async def import_what_can_be(
    service: Service, folder: Path, target: FolderName = ROOT, *, overwrite: bool = False
) -> tuple[list[Imported], list[NotImported]]:
    told: list[Imported] = []
    failures: list[NotImported] = []
    tree = await asyncio.to_thread(scan_tree, folder, target)
    await import_tree(IntoStore(service), tree, told.append, failures.append, overwrite=overwrite)
    return told, failures


async def export_folder(
    service: Service, folder: Path, source: FolderName = ROOT, *, overwrite: bool = False
) -> list[File]:
    """Export a folder of which everything can be written."""
    told, failures = await export_what_can_be(service, folder, source, overwrite=overwrite)
    assert failures == []
    return told


async def export_what_can_be(
    service: Service, folder: Path, source: FolderName = ROOT, *, overwrite: bool = False
) -> tuple[list[File], list[NotExported]]:
    told: list[File] = []
    failures: list[NotExported] = []
    await export_tree(
        service, folder, told.append, failures.append, source=source, overwrite=overwrite
    )
    return told, failures


async def test_a_store_that_fails_is_told_as_what_it_is(folder: Path, tmp_path: Path) -> None:
    store = await SQLiteStore.open(tmp_path / "full.db", min_free=2**62)
    with pytest.raises(StoreFull):
        await import_what_can_be(Service(store, MemoryBudget(8 * MIB)), folder)
    await store.close()


async def test_a_tree_goes_in_and_comes_out(service: Service, folder: Path, tmp_path: Path) -> None:
    told = await import_folder(service, folder)
    assert sorted(one.name for one in told) == sorted(TREE)
    assert sum(one.new_size for one in told) == sum(map(len, TREE.values()))
    files = await export_folder(service, tmp_path / "out")
    assert sorted(file.name for file in files) == sorted(TREE)
    assert read(tmp_path / "out") == TREE
    assert (tmp_path / "out/b/nothing/in it").is_dir()
    assert (tmp_path / "out/a").stat().st_mtime == pytest.approx(files[0].modified.timestamp())
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == (folder / "a").stat().st_mode & 0o777


names = st.lists(st.sampled_from(["a", "B", "é", "b c", "'", "\\", "x" * 200]), min_size=1).map(
    "/".join
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(names, st.binary(max_size=9000), max_size=8))
def test_any_tree_comes_back(
    tree: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    tree = {name: tree[name] for name in tree if not is_folder_in(name, tree) and len(name) < 1000}
    folder = tmp_path_factory.mktemp("any")
    write(folder / "in", tree)
    (folder / "in").mkdir(exist_ok=True)

    async def through_a_store() -> None:
        store = await SQLiteStore.open(folder / "any.db", chunk_size=4096)
        try:
            service = Service(store, MemoryBudget(8 * MIB))
            await import_folder(service, folder / "in", FolderName("t/"))
            if tree:
                await export_folder(service, folder / "out", FolderName("t/"))
                assert read(folder / "out") == tree
        finally:
            await store.close()

    asyncio.run(through_a_store())


@given(
    microseconds=st.integers(0, 4_000_000_000_000_000) | st.just(253_402_300_799_999_999),
)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_time_comes_back(microseconds: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Also through a file system that tells nanoseconds, where it has room for the year."""
    folder = tmp_path_factory.mktemp("times")
    time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)

    async def through_a_folder() -> None:
        store = await SQLiteStore.open(folder / "any.db", chunk_size=4096)
        try:
            service = Service(store, MemoryBudget(8 * MIB))
            async with service.receiving() as receiver:
                put = receiver.put(FileName("a"), "text/plain", modified=time)
                await store.names.apply([put])
            await export_folder(service, folder / "out")
            kept = (folder / "out/a").stat().st_mtime_ns // 1000
            await delete(store, FileName("a"))
            await import_folder(service, folder / "out")
            found = (await get_file(store, FileName("a"))).modified
            assert (found - time) // timedelta(microseconds=1) == kept - microseconds
            assert kept == microseconds or time.year > 2400
        finally:
            await store.close()

    asyncio.run(through_a_folder())


@pytest.mark.parametrize("seconds", [-1, -(10**9)])
async def test_a_time_that_no_store_tells_is_now(
    service: Service, folder: Path, seconds: int
) -> None:
    os.utime(folder / "a", (seconds, seconds))
    await import_folder(service, folder)
    assert (await get_file(service.store, FileName("a"))).modified.year > 2000


async def test_a_lock_keeps_one_file_out_and_no_others(service: Service, folder: Path) -> None:
    await import_folder(service, folder)
    (folder / "a").write_bytes(b"new")
    (folder / "b/d/e").write_bytes(b"new")
    (folder / "made").mkdir()
    for name in (FileName("a"), FolderName("b/"), ROOT):
        await service.store.locks.take(WantedLock(name, False, False))
    told, failures = await import_what_can_be(service, folder, overwrite=True)
    assert {one.path for one in failures} == {folder / "a", folder / "made"}
    for failure in failures:
        assert isinstance(failure.error, Locked)
        path = "/a" if failure.path.name == "a" else "/"
        assert str(failure.error).startswith(f"'{path}' is locked until ")
        assert str(failure.error).endswith(f"`chunkstore locks break {path}`.")
    assert {one.name for one in told} == TREE.keys() - {"a"}
    await export_folder(service, folder, overwrite=True)
    assert read(folder) == {**TREE, "b/d/e": b"new"}


def is_folder_in(name: str, tree: dict[str, bytes]) -> bool:
    return any(other.startswith(f"{name}/") for other in tree)


async def test_parts_go_where_they_are_told(service: Service, folder: Path, tmp_path: Path) -> None:
    await import_folder(service, folder / "b", FolderName("x/y/"))
    assert (await get_file(service.store, FileName("x/y/c"))).manifest.size == 5000
    await export_folder(service, tmp_path / "out", FolderName("x/"))
    assert sorted(read(tmp_path / "out")) == ["y/c", "y/d/e"]
    with pytest.raises(NotFound):
        await export_folder(service, tmp_path / "out", FolderName("z/"))


async def test_the_same_again_changes_nothing(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    await import_folder(service, folder)
    modified = (await get_file(service.store, FileName("a"))).modified
    assert sum(one.new_size for one in await import_folder(service, folder)) == 0
    assert (await get_file(service.store, FileName("a"))).modified == modified
    await export_folder(service, folder)
    assert read(folder) == TREE


async def test_nothing_is_overwritten_unasked(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    await import_folder(service, folder)
    (folder / "a").write_bytes(b"another")
    (folder / "a").with_name("b2").write_bytes(b"new")
    told, [refused] = await import_what_can_be(service, folder)
    assert refused.path == folder / "a"
    with pytest.raises(AlreadyExists, match="'a'"):
        raise refused.error
    assert sorted(one.name for one in told) == sorted([*TREE.keys() - {"a"}, "b2"])
    (folder / "b2").unlink()
    _, [kept] = await export_what_can_be(service, folder)
    assert kept.name == "a"
    with pytest.raises(AlreadyExists, match="tree/a"):
        raise kept.error
    assert (folder / "a").read_bytes() == b"another"
    assert (folder / "b2").read_bytes() == b"new"
    (folder / "b2").unlink()
    await delete(service.store, FileName("b2"))
    await export_folder(service, folder, overwrite=True)
    assert read(folder) == TREE
    (folder / "a").write_bytes(b"another")
    await import_folder(service, folder, overwrite=True)
    await export_folder(service, tmp_path / "out")
    assert (tmp_path / "out/a").read_bytes() == b"another"


def test_what_cannot_be_in_a_store_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to("a")
    (folder / "folder-link").symlink_to("b")
    os.mkfifo(folder / "b" / "pipe")
    (folder / "line\nbreak").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_bytes(b"x")
    (folder / "e\u0301").mkdir()
    (folder / "e\u0301" / "ü ?#%").write_bytes(b"the same name, written differently")
    tree = scan_tree(folder)
    assert sorted(tree.files) == sorted(TREE)
    assert len(tree.refused) == 6
    for name in ("link", "folder-link", "pipe", "line", "udcff", "ü"):
        assert any(name in refusal for refusal in tree.refused), name


async def test_import_of_a_file_where_a_folder_is(service: Service, folder: Path) -> None:
    await import_folder(service, folder)
    other = folder.with_name("other")
    write(other, {"b": b"a file", "c/d": b"d"})
    told, [refused] = await import_what_can_be(service, other)
    assert refused.path == other / "b"
    assert isinstance(refused.error, NameConflict)
    assert [one.name for one in told] == ["c/d"]


async def test_import_of_a_folder_where_a_file_is(service: Service, folder: Path) -> None:
    await import_folder(service, folder)
    other = folder.with_name("other")
    write(other, {"a/in": b"a file in it", "b/new": b"new"})
    (other / "empty").mkdir()
    told, failures = await import_what_can_be(service, other)
    assert sorted(one.path for one in failures) == [other / "a", other / "a/in", other / "empty"]
    assert all(isinstance(one.error, NameConflict | AlreadyExists) for one in failures)
    assert [one.name for one in told] == ["b/new"]


async def test_a_file_that_cannot_be_read_any_more_is_left_out(
    service: Service, folder: Path
) -> None:
    tree = await asyncio.to_thread(scan_tree, folder, ROOT)
    (folder / "a").unlink()
    told: list[Imported] = []
    failures: list[NotImported] = []
    await import_tree(IntoStore(service), tree, told.append, failures.append)
    [gone] = failures
    assert (gone.path, type(gone.error)) == (folder / "a", LocalFileError)
    assert sorted(one.name for one in told) == sorted(TREE.keys() - {"a"})


NFD, NFC = "e\u0301", "é"


@pytest.mark.parametrize(("file", "within"), [(NFD, NFC), (NFC, NFD)])
async def test_a_file_and_a_folder_of_one_name_in_nfc_are_found_before_anything_is_put(
    service: Service, tmp_path: Path, file: str, within: str
) -> None:
    write(tmp_path / "in", {f"{within}/x": b"x", file: b"a file", "z": b"z"})
    tree = await asyncio.to_thread(scan_tree, tmp_path / "in")
    # Of the two spellings NFD is the first in order.
    assert len(tree.refused) == 1
    assert repr(str(tmp_path / "in" / NFD)) in tree.refused[0]
    assert set(tree.files) == ({"é", "z"} if file == NFD else {"é/x", "z"})
    told: list[Imported] = []
    failures: list[NotImported] = []
    await import_tree(IntoStore(service), tree, told.append, failures.append)
    assert (len(told), failures) == (2, [])


def test_folders_of_one_name_in_nfc_become_one(tmp_path: Path) -> None:
    write(tmp_path / "in", {f"{NFD}/x": b"1", f"{NFC}/y": b"2", f"{NFC}/x/z": b"3"})
    tree = scan_tree(tmp_path / "in")
    assert set(tree.files) == {"é/x", "é/y"}
    assert len(tree.refused) == 1


async def test_export_follows_no_link_out_of_its_folder(
    service: Service, folder: Path, tmp_path: Path
) -> None:
    await import_folder(service, folder)
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "b").symlink_to(elsewhere)
    told, [refused] = await export_what_can_be(service, out, overwrite=True)
    assert (refused.name, type(refused.error)) == ("b/", Forbidden)
    assert sorted(file.name for file in told) == ["a", "empty", "é/ü ?#%"]
    assert list(elsewhere.iterdir()) == []
    (out / "b").unlink()
    (out / "a").unlink()
    (out / "a").symlink_to(elsewhere / "a")
    await export_folder(service, out, overwrite=True)
    assert list(elsewhere.iterdir()) == []
    assert read(out) == TREE


async def test_a_name_that_the_file_system_cannot_hold(service: Service, tmp_path: Path) -> None:
    write(tmp_path / "tree", {"a": b"a", "b": b"b", "z": b"z"})
    await import_folder(service, tmp_path / "tree")
    long = "x" * 300
    await move(service.store, FileName("a"), FileName(long))
    await move(service.store, FileName("b"), FileName(f"y/{long}/b"))
    told, failures = await export_what_can_be(service, tmp_path / "out")
    # What lies in a folder that is left out is not told of as well.
    assert [failure.name for failure in failures] == [long, f"y/{long}/"]
    for failure in failures:
        with pytest.raises(LocalFileError, match="too long"):
            raise failure.error
    assert [file.name for file in told] == ["z"]
    assert read(tmp_path / "out") == {"z": b"z"}


async def test_a_disk_that_is_full_ends_an_export(
    service: Service, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_folder(service, folder)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "out").mkdir()
    with pytest.raises(LocalFileError, match="No space left"):
        await export_what_can_be(service, tmp_path / "out")


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(LocalFileError, match="No such file"):
        scan_tree(tmp_path / "none")


def forge(path: Path, table: str, old: str, new: str) -> None:
    """Give a row of the table another name, as somebody may who can write to the database."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(f"UPDATE {table} SET name = ? WHERE name = ?", (new, old))
        assert db.execute("SELECT changes()").fetchone() == (1,)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "../../evil",
        "a/../../evil",
        "a/b/../evil",
        "..",
        ".",
        "./evil",
        "/evil",
        "{elsewhere}/evil",
        "//evil",
        "a//evil",
        "evil\0.txt",
        "evil\n",
        "",
        "a\u0308",
        "x" * 1025,
    ],
)
@pytest.mark.parametrize("table", ["file", "folder"])
async def test_a_forged_name_leads_nowhere(
    service: Service, tmp_path: Path, table: str, name: str
) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "deep" / "in" / "out"
    elsewhere.mkdir()
    name = name.format(elsewhere=elsewhere)
    write(tmp_path / "tree", {"z": b"z", "zz": b"zz"})
    await import_folder(service, tmp_path / "tree")
    await make_folder(service.store, FolderName("z-made/"))
    if table == "file":
        forge(tmp_path / "test.db", "file", "z", name)
    else:
        forge(tmp_path / "test.db", "folder", "z-made/", f"{name}/")
    told, failures = await export_what_can_be(service, out, overwrite=True)
    assert failures
    for failure in failures:
        with pytest.raises(StoreDamaged, match="not possible"):
            raise failure.error
    assert {file.name for file in told} <= {"z", "zz"}
    assert list(elsewhere.iterdir()) == []
    assert {path for path in (tmp_path / "deep").rglob("*") if out not in path.parents} == {
        out.parent,
        out,
    }
    assert {path.name for path in out.rglob("*")} <= {"a", "b", "z", "zz", "z-made"}


async def test_odd_names_that_lead_nowhere_are_written(service: Service, tmp_path: Path) -> None:
    tree = {"..\\..\\a": b"a", "C:\\b": b"b", "...": b"c", "~": b"d", "-rf": b"e", "a:b/$c": b"f"}
    write(tmp_path / "tree", tree)
    await import_folder(service, tmp_path / "tree")
    await export_folder(service, tmp_path / "out")
    assert read(tmp_path / "out") == tree


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_folder_in_the_place_of_a_file_is_told_as_one(
    service: Service, tmp_path: Path, overwrite: bool
) -> None:
    write(tmp_path / "tree", {"a": b"a"})
    await import_folder(service, tmp_path / "tree")
    write(tmp_path / "out/a", {"kept": b"kept"})
    _, [failure] = await export_what_can_be(service, tmp_path / "out", overwrite=overwrite)
    with pytest.raises(AlreadyExists, match=r"out/a is a folder\.$"):
        raise failure.error
    assert read(tmp_path / "out") == {"a/kept": b"kept"}


async def test_a_file_where_a_forged_folder_has_its_name(service: Service, tmp_path: Path) -> None:
    write(tmp_path / "tree", {"a": b"a", "b": b"b"})
    await import_folder(service, tmp_path / "tree")
    forge(tmp_path / "test.db", "file", "a", "b/a")
    _, [failure] = await export_what_can_be(service, tmp_path / "out")
    assert isinstance(failure.error, AlreadyExists | LocalFileError)
    assert read(tmp_path / "out") == {"b": b"b"}


async def test_a_file_is_synced_before_its_name_and_its_folder_after(
    service: Service, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_folder(service, folder)
    done: list[tuple[str, str]] = []
    sync, replace, make = os.fsync, os.replace, os.mkdir

    def noting_sync(descriptor: int) -> None:
        sync(descriptor)
        done.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))

    def noting_replace(source: Path, target: Path) -> None:
        replace(source, target)
        done.extend([("from", str(source)), ("to", str(target))])

    def noting_make(path: Path, mode: int = 0o777) -> None:
        make(path, mode)
        done.append(("to", str(path)))

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(os, "replace", noting_replace)
    monkeypatch.setattr(os, "mkdir", noting_make)
    out = tmp_path / "new" / "out"
    await export_folder(service, out)
    assert read(out) == TREE
    for place, (what, path) in enumerate(done):
        if what == "from":
            assert ("sync", path) in done[:place]
        if what == "to":
            assert ("sync", os.path.dirname(path)) in done[place:]
    named = {path for what, path in done if what == "to"}
    assert named == {str(out.parent), str(out)} | {str(path) for path in out.rglob("*")}
