"""Segments alone: written, sealed, read, removed, and what becomes of them when that fails."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.errors import StoreFull, StoreUnavailable
from chunkstore.store.sqlite.engine import syncing
from chunkstore.store.sqlite.engine.connection import SyncFailed
from chunkstore.store.sqlite.segments import writing
from chunkstore.store.sqlite.segments.compaction import (
    MOST_CHUNKS,
    MOST_REWRITTEN,
    SegmentUse,
    choose,
)
from chunkstore.store.sqlite.segments.folder import SegmentFolder, new_session, session_of
from chunkstore.store.sqlite.segments.reading import SegmentGone, SegmentReaders
from chunkstore.store.sqlite.segments.states import TRANSITIONS, Event, State, advance
from chunkstore.store.sqlite.segments.writing import SegmentFile

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def folder(tmp_path: Path) -> SegmentFolder:
    database = tmp_path / "files.db"
    database.touch(mode=0o640)
    database.chmod(0o640)
    return SegmentFolder(database, new_session())


@pytest.fixture
def readers(folder: SegmentFolder) -> Iterator[SegmentReaders]:
    readers = SegmentReaders(folder)
    yield readers
    readers.close()


def unbounded(size: int) -> None:
    pass


def sealed(folder: SegmentFolder, *contents: bytes) -> int:
    file = SegmentFile(folder, unbounded)
    file.add(contents)
    file.seal()
    return file.id


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_written_is_read(folder: SegmentFolder, readers: SegmentReaders) -> None:
    contents = [os.urandom(size) for size in (1, 100, 32 * KIB, 256 * KIB, 1 * MIB + 1)]
    file = SegmentFile(folder, unbounded)
    rows = [*file.add(contents[:3]), *file.add(contents[3:])]
    file.seal()
    assert (file.chunks, file.size) == (5, sum(map(len, contents)))
    assert [readers.read(file.id, row) for row in rows] == contents
    assert readers.read(file.id, max(rows) + 1) is None
    assert folder.present() == {file.id}
    assert folder.size() == folder.path_of(file.id).stat().st_size


def test_a_segment_has_no_other_file_beside_it(folder: SegmentFolder) -> None:
    segment = sealed(folder, b"a")
    assert [each.name for each in folder.path.iterdir()] == [folder.path_of(segment).name]


def test_who_may_not_read_the_database_may_not_read_its_segments(folder: SegmentFolder) -> None:
    segment = sealed(folder, b"a")
    assert stat.S_IMODE(folder.path_of(segment).stat().st_mode) == 0o640
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o750


@pytest.mark.parametrize("mask", [0, 0o077])
def test_who_may_read_the_database_may_read_its_segments(folder: SegmentFolder, mask: int) -> None:
    before = os.umask(mask)
    try:
        segment = sealed(folder, b"a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.path_of(segment).stat().st_mode) == 0o640
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o750


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_writes_is_the_owners(folder: SegmentFolder) -> None:
    os.chown(folder.path.with_name("files.db"), 65534, 65533)
    segment = sealed(folder, b"a")
    for path in (folder.path, folder.path_of(segment)):
        assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


def test_a_sealed_segment_is_one_that_sqlite_finds_whole(folder: SegmentFolder) -> None:
    segment = sealed(folder, *(os.urandom(size * KIB) for size in range(1, 100)))
    with closing(sqlite3.connect(folder.path_of(segment))) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA page_size").fetchone() == (32 * KIB,)


def test_ids_are_never_the_same(folder: SegmentFolder) -> None:
    segments = {sealed(folder, b"a") for _ in range(20)}
    assert folder.present() == segments
    other = SegmentFolder(folder.path.with_name("files.db"), new_session())
    segments |= {sealed(other, b"a") for _ in range(20)}
    assert folder.present() == segments
    assert len(segments) == 40
    assert {session_of(segment) for segment in segments} == {folder.session, other.session}


def test_a_discarded_segment_leaves_nothing(folder: SegmentFolder) -> None:
    before = descriptors()
    file = SegmentFile(folder, unbounded)
    file.add([b"a"])
    assert folder.held() == [file.id]
    file.discard()
    assert folder.present() == set()
    assert folder.held() == []
    assert descriptors() == before


def test_a_segment_is_held_before_it_has_a_file(
    folder: SegmentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    real = os.open

    def look(path: Path, *arguments: int) -> int:
        if path == folder.path_of(segment):
            held.append(segment in folder.held())
        return real(path, *arguments)

    segment = folder.new_id()
    monkeypatch.setattr(os, "open", look)
    os.close(folder.create(segment))
    with pytest.raises(FileExistsError):
        folder.create(segment)
    assert held == [True, True]
    assert folder.held() == []


def test_without_room_nothing_is_written(folder: SegmentFolder) -> None:
    def refuse(size: int) -> None:
        raise StoreFull(f"{size}")

    file = SegmentFile(folder, refuse)
    with pytest.raises(StoreFull, match="3"):
        file.add([b"abc"])
    assert folder.present() == set()


FULL = """
import resource, signal, sys
from pathlib import Path
from chunkstore.core.errors import StoreError
from chunkstore.store.sqlite.segments.folder import SegmentFolder, new_session
from chunkstore.store.sqlite.segments.writing import SegmentFile

database = Path(sys.argv[1])
database.touch()
file = SegmentFile(SegmentFolder(database, new_session()), lambda size: None)
file.add([bytes(100_000)])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
try:
    file.add([bytes(1_000_000)])
except StoreError as error:
    print(type(error).__name__)
file.discard()
print(len(list(database.with_name("full.db-segments").iterdir())))
"""


def test_a_segment_that_a_limit_of_the_system_stops_is_an_error(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "full.db")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split() in (["StoreFull", "0"], ["StoreUnavailable", "0"])


def test_a_failed_sync_seals_nothing(
    folder: SegmentFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    file = SegmentFile(folder, unbounded)
    file.add([b"a"])
    monkeypatch.setattr(writing, "sync_data", fail)
    with pytest.raises(SyncFailed):
        file.seal()
    file.discard()
    assert folder.present() == set()


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_segment_that_was_deleted_meanwhile_is_not_sealed(
    folder: SegmentFolder, whole_folder: bool
) -> None:
    file = SegmentFile(folder, unbounded)
    file.add([b"a"])
    folder.path_of(file.id).unlink()
    if whole_folder:
        folder.path.rmdir()
    else:
        folder.path_of(file.id).touch()
    with pytest.raises(StoreUnavailable, match="deleted or replaced"):
        file.seal()


def test_writing_early_is_only_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        syncing.start_writing(file.fileno(), 0, 10)
        syncing.start_writing(-1, 0, 10)
        monkeypatch.setattr(syncing, "_sync_file_range", None)
        syncing.start_writing(file.fileno(), 0, 10)


def test_a_segment_without_its_file_is_gone(folder: SegmentFolder, readers: SegmentReaders) -> None:
    segment = sealed(folder, b"a")
    folder.remove([segment, segment + 1])
    with pytest.raises(SegmentGone) as caught:
        readers.read(segment, 1)
    assert caught.value.segment == segment


def test_a_segment_that_is_removed_while_it_is_open_can_be_read(
    folder: SegmentFolder, readers: SegmentReaders
) -> None:
    segment = sealed(folder, b"a")
    assert readers.read(segment, 1) == b"a"
    folder.remove([segment])
    assert readers.read(segment, 1) == b"a"
    readers.forget(segment)
    with pytest.raises(SegmentGone):
        readers.read(segment, 1)


def test_a_segment_that_may_not_be_read_is_not_gone(
    folder: SegmentFolder, readers: SegmentReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = sealed(folder, b"a")
    folder.remove([segment])

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreUnavailable, match="Permission denied"):
        readers.read(segment, 1)


@pytest.mark.parametrize("damage", [b"", b"no database" * 10_000, None])
def test_a_damaged_segment_gives_no_bytes_and_is_told(
    folder: SegmentFolder,
    readers: SegmentReaders,
    caplog: pytest.LogCaptureFixture,
    damage: bytes | None,
) -> None:
    segment = sealed(folder, bytes(100 * KIB), bytes(200 * KIB))
    path = folder.path_of(segment)
    content = path.read_bytes()
    if damage is None:
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(damage)
    assert [readers.read(segment, row) for row in (1, 2)][1] is None
    assert caplog.text.count(f"{path} is damaged") == 1
    # Put back, it is read again.
    path.write_bytes(content)
    assert readers.read(segment, 2) == bytes(200 * KIB)


def test_descriptors_of_readers_are_bounded(folder: SegmentFolder) -> None:
    segments = [sealed(folder, f"{number}".encode()) for number in range(20)]
    before = descriptors()
    readers = SegmentReaders(folder, most_idle=4)
    for _ in range(2):
        for number, segment in enumerate(segments):
            assert readers.read(segment, 1) == f"{number}".encode()
    assert descriptors() == before + 4
    readers.close()
    assert descriptors() == before


def test_threads_read_beside_each_other(folder: SegmentFolder, readers: SegmentReaders) -> None:
    contents = [os.urandom(50 * KIB) for _ in range(20)]
    segments = [sealed(folder, *contents) for _ in range(3)]
    wrong: list[object] = []

    def read(first: int) -> None:
        for number in range(200):
            segment, row = segments[number % 3], (first + number) % 20
            if readers.read(segment, row + 1) != contents[row]:
                wrong.append((segment, row))

    threads = [threading.Thread(target=read, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_each_state_is_left_by_its_own_events_only(folder: SegmentFolder) -> None:
    for state in State:
        for event in Event:
            if event in TRANSITIONS[state]:
                assert advance(state, event) is TRANSITIONS[state][event]
            else:
                with pytest.raises(ValueError, match="cannot"):
                    advance(state, event)


def test_nobody_can_discard_what_the_database_may_refer_to() -> None:
    assert Event.DISCARD not in TRANSITIONS[State.IN_DOUBT]
    assert Event.DISCARD not in TRANSITIONS[State.PUBLISHED]


@pytest.mark.parametrize("has_row", [True, False])
def test_one_in_doubt_is_held_by_nobody_and_settled_by_what_the_database_has(
    folder: SegmentFolder, has_row: bool
) -> None:
    file = SegmentFile(folder, unbounded)
    file.add([b"a"])
    file.seal()
    assert folder.held() == [file.id]
    folder.note(file.id, Event.FAIL_TO_PUBLISH)
    assert folder.held() == []
    folder.settle(file.id, has_row=has_row)
    folder.settle(file.id, has_row=has_row)


def uses(most: int) -> st.SearchStrategy[list[SegmentUse]]:
    sizes = st.integers(1, MOST_REWRITTEN)
    parts = st.floats(0, 1)
    chunks = st.integers(1, MOST_CHUNKS)

    def made(values: list[tuple[int, float, int]]) -> list[SegmentUse]:
        return [
            SegmentUse(number, size, int(size * part), int(size * part) and count)
            for number, (size, part, count) in enumerate(values)
        ]

    return st.lists(st.tuples(sizes, parts, chunks), max_size=most).map(made)


@given(uses(60), st.integers(0, 4 * MOST_REWRITTEN))
def test_rewriting_needs_no_more_than_its_room(segments: list[SegmentUse], room: int) -> None:
    chosen = choose(segments, room)
    assert sum(each.live for each in chosen) <= room
    assert len(set(chosen)) == len(chosen)
    if len(chosen) > 1:
        assert sum(each.live for each in chosen) <= MOST_REWRITTEN
        assert sum(each.chunks for each in chosen) <= MOST_CHUNKS


@given(uses(60))
def test_rewriting_ends_and_leaves_what_is_bounded(segments: list[SegmentUse]) -> None:
    left = list(segments)
    for number in range(1000, 1000 + 2 * len(segments) + 1):
        chosen = choose(left, 1 << 60)
        if not chosen:
            break
        live = sum(each.live for each in chosen)
        left = [each for each in left if each not in chosen]
        if live:
            left.append(SegmentUse(number, live, live, sum(each.chunks for each in chosen)))
    else:
        pytest.fail("it goes on for ever")
    live = sum(each.live for each in left)
    assert sum(each.size for each in left) <= 2 * live
    chunks = sum(each.chunks for each in left)
    assert len(left) <= live / (32 * MIB) + chunks / (MOST_CHUNKS / 2) + 16


def test_the_emptiest_goes_first_where_room_is_short() -> None:
    segments = [
        SegmentUse(1, 64 * MIB, 30 * MIB, 1),
        SegmentUse(2, 64 * MIB, 1 * MIB, 1),
        SegmentUse(3, 64 * MIB, 60 * MIB, 1),
        SegmentUse(4, 64 * MIB, 2 * MIB, 1),
    ]
    assert [each.id for each in choose(segments, 4 * MIB)] == [2, 4]
    assert [each.id for each in choose(segments, 1 * MIB)] == [2]
    assert not choose(segments, MIB - 1)
    assert [each.id for each in choose(segments, 1 << 60)] == [2, 4, 1]


def test_small_ones_are_merged_only_when_there_are_many() -> None:
    small = [SegmentUse(number, 4 * MIB, 4 * MIB, 16) for number in range(15)]
    large = [SegmentUse(100 + number, 64 * MIB, 64 * MIB, 256) for number in range(15)]
    many = [SegmentUse(200 + number, MIB, MIB, MOST_CHUNKS // 2) for number in range(15)]
    assert not choose([*small, *large, *many], 1 << 60)
    assert len(choose([*small, *large, *many, SegmentUse(50, MIB, MIB, 1)], 1 << 60)) == 16


def test_ten_thousand_versions_leave_hundreds_of_files() -> None:
    left: list[SegmentUse] = []
    rewritten = 0
    for number in range(10_000):
        left.append(SegmentUse(number, 20 * MIB, 20 * MIB, 80))
        if chosen := choose(left, 1 << 60):
            live = sum(each.live for each in chosen)
            rewritten += live
            left = [each for each in left if each not in chosen]
            left.append(SegmentUse(10_000 + number, live, live, len(chosen) * 80))
    assert len(left) < 1000
    assert rewritten <= 10_000 * 20 * MIB


def test_what_stays_small_because_it_has_many_chunks_is_not_merged_for_ever() -> None:
    left = [SegmentUse(number, MIB, MIB, 1500) for number in range(100)]
    rewritten = 0
    while chosen := choose(left, 1 << 60):
        left = [each for each in left if each not in chosen]
        live, chunks = sum(each.live for each in chosen), sum(each.chunks for each in chosen)
        rewritten += live
        left.append(SegmentUse(1000 + rewritten, live, live, chunks))
    assert rewritten <= 2 * 100 * MIB
