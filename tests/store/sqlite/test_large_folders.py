"""Folders of more names than one transaction takes: changed in steps, seen at once."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.conditional import Conditions, EntityTags
from chunkstore.core.dav.properties import PropertyChange, PropertyName
from chunkstore.core.errors import (
    AlreadyExists,
    Forbidden,
    InvalidName,
    Locked,
    NameConflict,
    NotFound,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from chunkstore.core.names import FileName, FolderName
from chunkstore.service.maintenance.collect import collect_all
from chunkstore.store.contract.edits import Copy, Delete, Edit, Move, Patch
from chunkstore.store.contract.locks import UNGUARDED, Guard, WantedLock
from chunkstore.store.sqlite import large_folder_jobs as jobs
from chunkstore.store.sqlite.engine.connection import Job
from chunkstore.store.sqlite.engine.writer import Writer
from chunkstore.store.sqlite.large_folders import LargeFolders
from chunkstore.store.sqlite.store import SQLiteStore
from chunkstore.store.sqlite.tree import MAX_NAMES, FolderChange, visible_ranges
from tests.process import run_command
from tests.store.conformance import get, names, put, scrub
from tests.store.edits import copy, delete, folder_exists, get_file, make_folder, move

T = TypeVar("T")
COUNT = 3 * MAX_NAMES + 7
SOURCE, TARGET = FolderName("d/"), FolderName("t/")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(path)
    try:
        yield store
    finally:
        await store.close()


def plant(path: Path, folder: str, count: int = COUNT) -> None:
    """Give the content of the file `seed` many more names, and make a folder beside them."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number LIMIT ?)"
            " INSERT INTO file (name, manifest, proof, media_type, created, modified)"
            " SELECT printf('%s%05d', ?, n), manifest, proof, media_type, n, n + 1"
            " FROM file, number WHERE name = 'seed'",
            (count, folder),
        )
        db.execute("INSERT INTO folder (name, created) VALUES (? || 'made/', 5)", (folder,))


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    async with opened(path) as store:
        await put(store, "seed", b"content")
        await put(store, "d0", b"not in it")
        plant(path, SOURCE)
        yield store


def rows(path: Path, prefix: str) -> list[tuple[object, ...]]:
    """Return all rows of names under a prefix, hidden or not, without the prefix."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute(
            "SELECT substr(name, length(?1) + 1), created, modified FROM file"
            " WHERE substr(name, 1, length(?1)) = ?1 UNION ALL"
            " SELECT substr(name, length(?1) + 1), created, NULL FROM folder"
            " WHERE substr(name, 1, length(?1)) = ?1 ORDER BY 1",
            (prefix,),
        ).fetchall()


def changes(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT prefix FROM folder_change").fetchall()


async def visible(store: SQLiteStore, folder: FolderName) -> int:
    """Return how many names under a folder are seen, at one moment."""
    return len((await store.names.list(folder, limit=2 * COUNT)).files)


async def lock(store: SQLiteStore, name: FileName | FolderName) -> Guard:
    taken = await store.locks.take(WantedLock(name, True, True))
    return Guard(frozenset({taken.lock.token}))


@pytest.mark.parametrize("edit", [Delete(SOURCE), Move(SOURCE, TARGET), Copy(TARGET, SOURCE)])
async def test_a_lock_in_it_keeps_it_as_it_is(store: SQLiteStore, path: Path, edit: Edit) -> None:
    await put(store, "t/x", b"1")
    guard = await lock(store, FileName(f"{SOURCE}{COUNT - 1:05}"))
    before = rows(path, SOURCE)
    with pytest.raises(Locked):
        await store.names.apply([edit])
    assert (changes(path), rows(path, SOURCE)) == ([], before)
    await store.names.apply([edit], guard=guard)
    # It went with its file.
    assert await store.locks.list() == []


async def test_nobody_locks_what_is_being_changed(store: SQLiteStore) -> None:
    moving = asyncio.create_task(move(store, SOURCE, TARGET))
    refused = 0
    while not moving.done():
        try:
            guard = await lock(store, FolderName(SOURCE))
        except StoreUnavailable:
            refused += 1
        else:
            [token] = guard.tokens
            await store.locks.release(token)
        await asyncio.sleep(0)
    with suppress(Locked):
        await moving
    assert refused or not await folder_exists(store, TARGET)


async def test_a_copy_is_whole(store: SQLiteStore, path: Path) -> None:
    assert not await copy(store, SOURCE, TARGET)
    assert [row[0] for row in rows(path, TARGET)] == [row[0] for row in rows(path, SOURCE)]
    assert await folder_exists(store, FolderName("t/made/"))
    assert await get(store, f"t/{COUNT - 1:05}") == b"content"
    assert changes(path) == []


async def test_a_move_keeps_times(store: SQLiteStore, path: Path) -> None:
    before = rows(path, SOURCE)
    assert not await move(store, SOURCE, TARGET)
    assert rows(path, TARGET) == before
    assert rows(path, SOURCE) == []
    assert not await folder_exists(store, SOURCE)
    assert await get(store, "d0") == b"not in it"
    assert changes(path) == []


async def test_a_removal_is_whole(store: SQLiteStore, path: Path) -> None:
    await delete(store, SOURCE)
    assert rows(path, SOURCE) == []
    assert sorted(await names(store)) == ["d0", "seed"]
    assert changes(path) == []
    with pytest.raises(NotFound):
        await delete(store, SOURCE)


@pytest.mark.parametrize("large", ["source", "target", "both"])
async def test_a_folder_that_is_replaced_is_gone(
    store: SQLiteStore, path: Path, large: str
) -> None:
    source = FolderName("few/") if large == "target" else SOURCE
    await put(store, "few/a", b"a")
    plant(path, "t/old", 3 if large == "source" else COUNT)
    with pytest.raises(AlreadyExists):
        await move(store, source, TARGET, overwrite=False)
    expected = [row[0] for row in rows(path, source)]
    assert await copy(store, source, TARGET)
    assert [row[0] for row in rows(path, TARGET)] == expected
    assert await copy(store, source, TARGET, with_members=False)
    assert [row[0] for row in rows(path, TARGET)] == [""]


async def test_refusals_are_those_of_small_folders(store: SQLiteStore, path: Path) -> None:
    before = rows(path, SOURCE)
    for transfer in (copy, move):
        verb = partial(transfer, store)
        with pytest.raises(Forbidden):
            await verb(SOURCE, FolderName("d/inner/"))
        with pytest.raises(InvalidName):
            await verb(SOURCE, FolderName("x" * 1020 + "/"))
        with pytest.raises(NotFound):
            await verb(FolderName("none/"), TARGET)
    assert rows(path, SOURCE) == before
    assert changes(path) == []


async def until(condition: Callable[[], bool]) -> None:
    """Wait until what is in the database fulfils a condition."""
    while not await asyncio.to_thread(condition):
        pass


async def test_everybody_sees_all_or_nothing_and_others_go_on_writing(
    store: SQLiteStore, path: Path
) -> None:
    async def write_meanwhile() -> int:
        writes = 0
        while not moving.done():
            await put(store, f"other{writes}", b"other")
            writes += 1
        return writes

    async def look_meanwhile() -> set[tuple[int, ...]]:
        seen: set[tuple[int, ...]] = set()
        while not moving.done():
            page = await store.names.list("", limit=3 * COUNT)
            names = [file.name for file in page.files]
            seen.add(tuple(sum(n.startswith(one) for n in names) for one in (SOURCE, TARGET)))
        return seen

    moving = asyncio.create_task(move(store, SOURCE, TARGET))
    writes, seen = await asyncio.gather(write_meanwhile(), look_meanwhile())
    await moving
    assert seen <= {(COUNT, 0), (0, COUNT)}
    assert (await visible(store, SOURCE), await visible(store, TARGET)) == (0, COUNT)
    # One transaction for all names would let one in, at the most two.
    assert writes > 2


async def test_names_cannot_change_under_a_folder_that_is_changed(
    store: SQLiteStore, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO folder_change (prefix, stop, hidden) VALUES ('d/', 'd0', 0)")
        db.execute("INSERT INTO folder_change (prefix, stop, hidden) VALUES ('a/t/', 'a/t0', 1)")
    before = rows(path, "")
    first, made = FileName("d/00000"), FolderName("d/made/")
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: put(store, "d/new", b"new"),
        lambda: put(store, "a/t/new", b"new"),
        lambda: put(store, "a", b"a file where the folder will be"),
        lambda: delete(store, first),
        lambda: move(store, first, FileName("elsewhere")),
        lambda: copy(store, FileName("seed"), FileName("a/t/x")),
        lambda: make_folder(store, FolderName("d/new/")),
        lambda: make_folder(store, FolderName("a/t/")),
        lambda: delete(store, SOURCE),
        lambda: delete(store, made),
        lambda: copy(store, made, FolderName("m/")),
        lambda: copy(store, made, FolderName("a/t/"), with_members=False),
        lambda: move(store, FolderName("a/"), FolderName("b/")),
        lambda: move(store, FolderName("d/"), FolderName("b/")),
    ]
    for attempt in attempts:
        with pytest.raises(StoreUnavailable):
            await attempt()
    assert rows(path, "") == before
    # Everything else goes on.
    await put(store, "a/other", b"other")
    assert await get(store, first) == b"content"


class Steps:
    """The steps of changes: after the first one, the others wait until they may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paused = asyncio.Event()
        self.go_on = asyncio.Event()
        run = Writer.run

        async def run_paused(writer: Writer, job: Job[T], **options: Any) -> T:  # noqa: ANN401
            is_step = not options.get("durable", True)
            if is_step and self.paused.is_set():
                await self.go_on.wait()
            result = await run(writer, job, **options)
            # One that found nothing to do is none.
            if is_step and result:
                self.paused.set()
            return result

        monkeypatch.setattr(Writer, "run", run_paused)


COPY_EMPTY = partial(copy, with_members=False)
NEVER = Conditions(if_match=EntityTags())


@pytest.mark.parametrize("transfer", [copy, move, COPY_EMPTY])
async def test_no_other_edit_comes_between_two_steps(
    store: SQLiteStore,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    transfer: Callable[..., Awaitable[bool]],
) -> None:
    """Each other edit of either folder is refused from the first step to the last."""
    plant(path, "t/old")
    others: list[Callable[[], Awaitable[object]]] = [
        lambda: put(store, "t", b"a file of the folder's name"),
        lambda: put(store, "t/new", b"new"),
        lambda: put(store, "d", b"a file of the source's name"),
        lambda: delete(store, SOURCE),
        lambda: make_folder(store, TARGET),
    ]
    accepted: list[int] = []
    run = Writer.run

    async def run_between_others(writer: Writer, job: Job[T], **options: Any) -> T:  # noqa: ANN401
        own = asyncio.current_task() in others_own
        if own or ("t/",) not in await asyncio.to_thread(changes, path):
            return await run(writer, job, **options)
        for place, other in enumerate(others):
            attempt = asyncio.ensure_future(other())
            others_own.add(attempt)
            try:
                await attempt
            except StoreUnavailable:
                continue
            accepted.append(place)
        return await run(writer, job, **options)

    others_own: set[asyncio.Future[Any]] = set()
    monkeypatch.setattr(Writer, "run", run_between_others)
    assert await transfer(store, SOURCE, TARGET)
    assert accepted == []
    assert len(others_own) > len(others)
    monkeypatch.undo()
    assert await folder_exists(store, TARGET)
    with pytest.raises(NameConflict):
        await put(store, "t", b"a file")


async def test_a_file_never_gets_the_name_of_a_folder_that_is_replaced(
    store: SQLiteStore, path: Path
) -> None:
    await put(store, "few/a", b"a")

    async def put_until_judged() -> bool:
        while True:
            try:
                await put(store, "d", b"a file of the folder's name")
            except StoreUnavailable:
                continue
            except NameConflict:
                if copying.done():
                    return False
                continue
            return True

    copying = asyncio.create_task(copy(store, FolderName("few/"), SOURCE, with_members=False))
    stored = await asyncio.gather(*(put_until_judged() for _ in range(4)))
    assert await copying
    assert not any(stored)
    assert [row[0] for row in rows(path, "d/")] == [""]


async def test_a_change_that_runs_is_not_taken_for_one_left_behind(
    store: SQLiteStore, path: Path, steps: Steps
) -> None:
    """Also not once an equal request, made at the same moment, was refused."""
    assert store._large_folders is not None
    apply = store._large_folders.apply
    edit = Copy(SOURCE, TARGET)
    refused = asyncio.create_task(apply(replace(edit, conditions=NEVER)))
    copying = asyncio.create_task(apply(edit))
    with pytest.raises(PreconditionFailed):
        await refused
    await steps.paused.wait()
    collecting = asyncio.create_task(collect_all(store.maintenance, 0))
    steps.go_on.set()
    await collecting
    await copying
    assert await visible(store, TARGET) == COUNT


@pytest.fixture
async def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(monkeypatch)


async def interrupt(
    path: Path, steps: Steps, change: Callable[[SQLiteStore], Awaitable[object]]
) -> None:
    """Close the store at `path` after the first step of a change; later ones go to their end."""
    async with opened(path) as store:
        await put(store, "seed", b"content")
        plant(path, SOURCE)
        changing = asyncio.ensure_future(change(store))
        await steps.paused.wait()
    with pytest.raises(asyncio.CancelledError):
        await changing
    steps.go_on.set()


@pytest.mark.parametrize("transfer", [copy, move])
async def test_a_transfer_that_did_not_end_is_undone(
    path: Path, steps: Steps, transfer: Callable[..., Awaitable[bool]]
) -> None:
    await interrupt(path, steps, lambda store: transfer(store, SOURCE, TARGET))
    before = rows(path, SOURCE)
    assert 0 < len(rows(path, TARGET)) < len(before) == COUNT + 1
    async with opened(path) as store:
        assert await visible(store, TARGET) == 0
        assert not await folder_exists(store, TARGET)
        assert rows(path, SOURCE) == before
        await put(store, "d/new", b"the source can be changed at once")
        await until(lambda: not changes(path))
    assert rows(path, TARGET) == []


async def test_a_removal_that_did_not_end_goes_on(path: Path, steps: Steps) -> None:
    await interrupt(path, steps, lambda store: delete(store, SOURCE))
    assert 0 < len(rows(path, SOURCE)) <= COUNT
    async with opened(path) as store:
        assert await visible(store, SOURCE) == 0
        with pytest.raises(NotFound):
            await get_file(store, FileName(f"d/{COUNT - 1:05}"))
        await until(lambda: not changes(path))
        assert rows(path, SOURCE) == []
        await put(store, "d/new", b"new")
        assert await visible(store, SOURCE) == 1


async def test_a_command_meets_nothing_that_a_process_left(
    path: Path, steps: Steps, tmp_path: Path
) -> None:
    await interrupt(path, steps, lambda store: delete(store, SOURCE))
    assert rows(path, SOURCE)
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/d/new").write_bytes(b"new")
    command = ("import", "--db", str(path), "tree")
    shown = await asyncio.to_thread(run_command, tmp_path, *command)
    assert shown.returncode == 0, shown.stderr
    assert [name for name, *_ in rows(path, SOURCE)] == ["new"]


async def test_a_caller_that_goes_away_ends_nothing(
    store: SQLiteStore, path: Path, steps: Steps
) -> None:
    moving = asyncio.create_task(move(store, SOURCE, TARGET))
    await steps.paused.wait()
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    assert 0 < len(rows(path, TARGET)) < COUNT
    steps.go_on.set()
    await until(lambda: not changes(path))
    assert await visible(store, TARGET) == COUNT
    assert await visible(store, SOURCE) == 0


async def test_what_is_left_hidden_by_a_failure_is_removed_by_the_next_collection(
    store: SQLiteStore, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO folder_change (prefix, stop, hidden) VALUES ('d/', 'd0', 1)")
    assert await visible(store, SOURCE) == 0
    assert await get(store, "d0") == b"not in it"
    await collect_all(store.maintenance, 0)
    await until(lambda: not changes(path))
    assert rows(path, SOURCE) == []


async def test_a_backup_has_of_a_change_under_way_what_everybody_sees(
    store: SQLiteStore, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO folder_change (prefix, stop, hidden) VALUES ('d/', 'd0', 1)")
    copy = path.with_name("copy.db")
    for _ in range(2):
        async for _ in store.backups.make(str(copy)):
            pass
        async with opened(copy) as backup:
            assert sorted(await names(backup)) == ["d0", "seed"]
            await until(lambda: not changes(copy))
        assert rows(copy, SOURCE) == []


BOUNDS = st.one_of(st.text("abc", max_size=3), st.just(b""))


@given(BOUNDS, BOUNDS, st.sets(st.text("abc", min_size=1, max_size=2)), st.text("abc", max_size=4))
def test_visible_ranges_are_what_is_not_hidden(
    start: str | bytes, stop: str | bytes, prefixes: set[str], name: str
) -> None:
    # Changes never lie in each other.
    apart = [one for one in prefixes if not any(one != two and one[:1] == two for two in prefixes)]
    changes = [
        FolderChange(prefix, prefix + "\uffff", hidden=len(prefix) == 1) for prefix in sorted(apart)
    ]

    def holds(low: str | bytes, high: str | bytes) -> bool:
        return (
            (low if isinstance(low, str) else "\uffff\uffff")
            <= name
            < (high if isinstance(high, str) else "\uffff\uffff")
        )

    hidden = any(change.hidden and name.startswith(change.prefix) for change in changes)
    ranges = list(visible_ranges(start, stop, changes))
    assert any(holds(each["start"], each["stop"]) for each in ranges) == (
        holds(start, stop) and not hidden
    )


async def test_a_backup_keeps_what_its_last_one_saw_on_its_way_out(
    store: SQLiteStore, tmp_path: Path
) -> None:
    """It was being removed then, and is there again: opening the backup goes on removing it."""
    destination = tmp_path / "backup.db"
    async for _ in store.backups.make(str(destination)):
        pass
    with closing(sqlite3.connect(destination)) as db, db:
        db.execute("INSERT INTO folder_change VALUES ('d/', 'd0', 1)")
    async for _ in store.backups.make(str(destination)):
        pass
    async with opened(destination) as backup:
        assert await names(backup) == await names(store)


async def test_nobody_is_told_of_what_is_hidden(store: SQLiteStore, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO folder_change VALUES ('d/', 'd0', 1)")
        db.execute("UPDATE chunk_data SET bytes = x'00'")
    assert (await store.maintenance.stats()).files == 2
    assert {name for step in await scrub(store) for one in step.damage for name in one.files} == {
        "d0",
        "seed",
    }
    backup = [step async for step in store.backups.make(str(path.with_name("backup.db")))]
    assert {name for step in backup for one in step.damage for name in one.files} == {"d0", "seed"}


def connections() -> set[threading.Thread]:
    """Return the threads there are, each of one connection, but for asyncio's own."""
    threads = threading.enumerate()
    return {thread for thread in threads if not thread.name.startswith("asyncio")}


async def test_a_start_that_cannot_go_on_with_a_folder_lets_the_database_go(path: Path) -> None:
    before = connections()
    async with opened(path) as store:
        await put(store, "seed", b"content")
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO folder_change VALUES ('d/', 'd0', 0)")
        db.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON folder_change"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    with pytest.raises(StoreError):
        await SQLiteStore.open(path)
    # Those of other tests may end meanwhile.
    assert connections() <= before
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TRIGGER refuse")
    async with opened(path) as store:
        assert await names(store) == ["seed"]


@pytest.mark.parametrize("make", [Copy, Move])
async def test_a_file_takes_the_place_of_a_large_folder(
    store: SQLiteStore, path: Path, make: type[Copy | Move]
) -> None:
    await put(store, "few/a", b"a")
    source, target = FileName("few/a"), FileName("d")
    [applied] = await store.names.apply([make(source, target, strict=True)])
    assert applied.replaced
    assert await get(store, "d") == b"a"
    assert rows(path, SOURCE) == []
    assert await folder_exists(store, FolderName("few/"))
    assert changes(path) == []


@pytest.mark.parametrize("make", [Copy, Move])
async def test_a_large_folder_takes_the_place_of_a_file(
    store: SQLiteStore, path: Path, make: type[Copy | Move]
) -> None:
    await put(store, "t", b"a")
    [applied] = await store.names.apply([make(SOURCE, TARGET, strict=True)])
    assert applied.replaced
    assert await store.names.find(FileName("t")) is None
    assert await visible(store, TARGET) == COUNT
    assert changes(path) == []


async def test_properties_go_with_a_large_folder(store: SQLiteStore) -> None:
    name = PropertyName("urn:x", "a")
    change = PropertyChange(name, "<a/>")
    for kept in (FileName("d/00003"), FolderName("d/"), FolderName("d/made/")):
        edit: Edit = Patch(kept, [change])
        await store.names.apply([edit])
    await copy(store, SOURCE, TARGET)
    await move(store, TARGET, FolderName("u/"))
    found = await store.properties.describe(
        [FileName("u/00003"), FolderName("u/"), FolderName("u/made/")]
    )
    assert [each.properties is not None for each in found.values()] == [True, True, True]


async def test_the_folder_of_a_large_one_stays(store: SQLiteStore, path: Path) -> None:
    plant(path, "up/large/")
    await store.names.apply([Move(FolderName("up/large/"), TARGET, strict=True)])
    assert await folder_exists(store, FolderName("up/"))
    plant(path, "over/large/")
    await store.names.apply([Delete(FolderName("over/large/"), strict=True)])
    assert await folder_exists(store, FolderName("over/"))


async def lock_it(store: SQLiteStore) -> None:
    await lock(store, FileName("x/seed"))


async def move_its_folder(store: SQLiteStore) -> None:
    """Begin, but do not end, to move the folder in steps that the file is in."""
    edit = Move(FolderName("x/"), FolderName("y/"))
    await store._database.writable.run(partial(jobs.begin_transfer, edit=edit, guard=UNGUARDED))


@pytest.mark.parametrize(
    ("meanwhile", "refusal"), [(lock_it, Locked), (move_its_folder, StoreUnavailable)]
)
async def test_a_file_that_takes_its_place_is_judged_again(
    store: SQLiteStore,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[SQLiteStore], Awaitable[None]],
    refusal: type[Exception],
) -> None:
    turn = LargeFolders._turn

    async def turn_behind(folders: LargeFolders, *args: Any, **options: Any) -> None:  # noqa: ANN401
        await meanwhile(store)
        await turn(folders, *args, **options)

    await move(store, FileName("seed"), FileName("x/seed"))
    before = rows(path, SOURCE)
    monkeypatch.setattr(LargeFolders, "_turn", turn_behind)
    with pytest.raises(refusal):
        await store.names.apply([Move(FileName("x/seed"), FileName("d"), strict=True)])
    assert await get(store, "x/seed") == b"content"
    assert rows(path, SOURCE) == before
    assert ("d/",) not in changes(path)


@pytest.mark.parametrize(
    "edit", [Delete(FolderName("a/b/large/")), Move(FolderName("a/b/large/"), TARGET)]
)
async def test_what_lies_beside_it_may_go_meanwhile(
    store: SQLiteStore, path: Path, monkeypatch: pytest.MonkeyPatch, edit: Delete | Move
) -> None:
    """Then the folder of both goes with it, which is a member of a locked one."""
    turn, beside = LargeFolders._turn, FileName("a/b/beside")

    async def turn_behind(folders: LargeFolders, *args: Any, **options: Any) -> None:  # noqa: ANN401
        if await store.names.find(beside) is not None:
            await delete(store, beside)
        await turn(folders, *args, **options)

    plant(path, "a/b/large/")
    await put(store, beside, b"x")
    await store.locks.take(WantedLock(FolderName("a/"), False, True))
    before = rows(path, "a/b/large/")
    monkeypatch.setattr(LargeFolders, "_turn", turn_behind)
    with pytest.raises(Locked):
        await store.names.apply([edit])
    assert (changes(path), rows(path, "a/b/large/"), rows(path, TARGET)) == ([], before, [])
