"""Syncing folders with a real server, both ways."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from chunkstore.client.errors import ClientError, ConditionFailed, InvalidPlace, Missing
from chunkstore.client.places import LocalPlace, RemotePlace
from chunkstore.client.sync.filters import Filter, Rule
from chunkstore.client.sync.local_tree import scan
from chunkstore.client.sync.plan import CopyFile, DeleteFile, Plan, PlanRules
from chunkstore.client.sync.remote_tree import list_tree
from chunkstore.client.sync.sync import Sync, SyncOptions
from chunkstore.core.errors import Forbidden, InvalidName, NameConflict
from tests.client.sync.folders import DELETING, Folders, Notes

LARGE = random.Random(7).randbytes(700_000)
TREE = {
    "a.txt": b"1",
    "d/b.txt": b"22",
    "d/e/c": b"",
    "large": LARGE,
    "d/\u00e9 %2F+?#&;.txt": b"name",
    'd/"quoted"\\.txt': b"quotes",
}
KEEPING = SyncOptions()


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_tree_is_made_like_another(folders: Folders, up: bool) -> None:
    if up:
        folders.write(TREE)
        folders.put({"old": b"old", "a.txt": b"2", "d/b.txt": b"longer"})
    else:
        folders.put(TREE)
        folders.write({"old": b"old", "a.txt": b"2", "d/b.txt": b"longer", "gone/x": b""})
    _, notes, synced = (folders.up if up else folders.down)()
    assert notes.failures == {}
    assert folders.read_there() == folders.read_here() == TREE
    assert synced.deleted == (1 if up else 2)
    assert not (folders.root / "gone").exists()

    plan, notes, _ = (folders.up if up else folders.down)()
    assert (plan.steps, plan.unchanged) == ((), len(TREE))
    assert notes.done == []


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_parts_that_a_pull_has_left_take_no_part(folders: Folders, up: bool) -> None:
    part = ".a.12345678.part"
    folders.write({"a": b"1", part: b"2"})
    folders.put({"a": b"1", f"d/{part}": b"3"})
    plan, _, _ = (folders.up if up else folders.down)()
    assert plan.steps == ()


def test_what_only_the_target_has_is_kept_unless_asked(folders: Folders) -> None:
    folders.write({"a": b"1"})
    folders.put({"b": b"2"})
    folders.up(KEEPING)
    folders.down(KEEPING)
    assert folders.read_there() == folders.read_here() == {"a": b"1", "b": b"2"}


def test_contents_are_compared_by_their_digests(folders: Folders) -> None:
    folders.write({"a": b"1", "b": b"2"})
    folders.up()
    before = (folders.root / "a").stat()
    folders.write({"a": b"3"})
    os.utime(folders.root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    plan, _, _ = folders.up()
    assert [step.name for step in plan.steps] == ["a"]
    assert folders.read_there() == {"a": b"3", "b": b"2"}
    # Another time alone is no other content.
    os.utime(folders.root / "b", ns=(1, 1))
    plan, _, _ = folders.up()
    assert plan.steps == ()


def test_many_small_files_take_few_requests(folders: Folders, server_log: Path) -> None:
    tree = {f"d{number % 7}/{number}": b"%d" % number for number in range(600)}
    folders.write(tree)
    before = len(server_log.read_text().splitlines())
    folders.up()
    assert folders.read_there() == tree
    posts = server_log.read_text().splitlines()[before:]
    assert 1 <= sum("POST /files/" in line for line in posts) <= 4
    assert sum("PUT " in line for line in posts) == 0


def test_small_files_that_replace_others_take_few_requests(
    folders: Folders, server_log: Path
) -> None:
    tree = {f"d{number % 7}/{number}": b"%d" % number for number in range(600)}
    folders.write(tree)
    folders.up()
    changed = {name: content + b"changed" for name, content in tree.items()}
    for name in list(changed)[::3]:
        changed[f"new/{name}"] = changed.pop(name)
        (folders.root / name).unlink()
    folders.write(changed)
    before = len(server_log.read_text().splitlines())
    _, notes, _ = folders.up()
    assert (notes.failures, len(notes.done)) == ({}, 600)
    assert folders.read_there() == changed
    lines = server_log.read_text().splitlines()[before:]
    assert 1 <= sum("POST /files/" in line for line in lines) <= 4
    assert sum("PUT " in line or "DELETE " in line for line in lines) == 0


def test_of_many_that_replace_others_only_those_fail_that_were_changed_meanwhile(
    folders: Folders, server_log: Path
) -> None:
    tree = {f"{number:03}": b"%d" % number for number in range(200)}
    folders.write(tree)
    folders.up()
    mine = {name: b"mine" + content for name, content in tree.items()}
    folders.write(mine)
    sync, plan = planned(folders, folders.here, folders.there)
    theirs = {"007": b"theirs", "042": b"theirs"}
    # As another run of the same sync has it.
    folders.put({**theirs, "100": mine["100"]})
    folders.server.files.delete(f"{folders.name}150")
    before = len(server_log.read_text().splitlines())
    sync.carry_out(plan)
    expected = {**mine, **theirs}
    del expected["150"]
    assert folders.read_there() == expected
    assert "PUT " in "".join(server_log.read_text().splitlines()[before:])


def test_what_was_renamed_is_copied_on_the_server(folders: Folders) -> None:
    folders.write({"old/a.txt": b"1", "old/b.txt": b"2"})
    folders.up()
    (folders.root / "old").rename(folders.root / "new")
    plan, notes, _ = folders.up()
    assert [type(step) for step in plan.steps] == [CopyFile] * 2 + [DeleteFile] * 2
    assert (notes.moved.total(), notes.spared_sizes.total()) == (0, 2)
    assert folders.read_there() == {"new/a.txt": b"1", "new/b.txt": b"2"}


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round(
    folders: Folders, up: bool
) -> None:
    new, old = {"a": b"1", "b/c/d": b"2"}, {"a/b/c": b"3", "b": b"4"}
    folders.write(new if up else old)
    folders.put(old if up else new)
    _, notes, _ = (folders.up if up else folders.down)()
    assert notes.failures == {}
    assert folders.read_there() == folders.read_here() == new


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_filters_are_of_both_sides(folders: Folders, up: bool) -> None:
    folders.write({"a.o": b"1", "a.c": b"2", "skip/a.c": b"3"})
    folders.put({"b.o": b"4", "b.c": b"5", "skip/b.c": b"6"})
    chosen = Filter([Rule.excluding("*.o"), Rule.excluding("/skip/")])
    (folders.up if up else folders.down)(SyncOptions(PlanRules(delete=True), chosen))
    if up:
        assert folders.read_there() == {"a.c": b"2", "b.o": b"4", "skip/b.c": b"6"}
    else:
        assert folders.read_here() == {"b.c": b"5", "a.o": b"1", "skip/a.c": b"3"}


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_empty_folders_are_synced_if_asked(folders: Folders, up: bool) -> None:
    options = SyncOptions(PlanRules(delete=True), empty_folders=True)
    (folders.root / "here/deep").mkdir(parents=True)
    folders.write({"x/y": b"1", "z/old": b"2"})
    folders.put({"x/y": b"1", "z/old": b"2"})
    for name in ("there/", "there/deep/"):
        folders.server.files.make_folder(folders.name + name)
    _, notes, _ = (folders.up if up else folders.down)(options)
    assert notes.failures == {}
    assert folders_there(folders) == ({"here/deep"} if up else {"there/deep"})
    assert folders_here(folders) == ({"here/deep"} if up else {"there/deep"})
    plan, _, _ = (folders.up if up else folders.down)(options)
    assert plan.steps == ()


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_empty_folders_are_left_alone_unless_asked(folders: Folders, up: bool) -> None:
    (folders.root / "here").mkdir()
    folders.write({"a": b"1"})
    folders.put({"a": b"1"})
    folders.server.files.make_folder(f"{folders.name}there/")
    plan, _, _ = (folders.up if up else folders.down)()
    assert plan.steps == ()
    assert folders_here(folders) == {"here"}
    assert folders_there(folders) == {"there"}


def folders_there(folders: Folders) -> frozenset[str]:
    return list_tree(folders.server.files, folders.name, empty_folders=True).empty_folders


def folders_here(folders: Folders) -> frozenset[str]:
    return scan(folders.root).empty_folders


def test_nothing_is_deleted_if_something_failed(folders: Folders) -> None:
    folders.write({"good": b"1"})
    (folders.root / "bad\n").touch()
    folders.put({"old": b"2"})
    _, notes, synced = folders.up()
    assert list(notes.failures) == ["bad\n"]
    assert synced.deleted == 0
    assert notes.warnings == ["Nothing is deleted, since not all went well."]
    assert folders.read_there() == {"good": b"1", "old": b"2"}


def test_of_a_request_with_many_files_only_the_guilty_one_fails(folders: Folders) -> None:
    folders.write({"a": b"1", "b": b"2", "c": b"3"})
    folders.put({"b/in": b"the way"})
    _, notes, _ = folders.up(KEEPING)
    assert list(notes.failures) == ["b"]
    assert folders.read_there() == {"a": b"1", "b/in": b"the way", "c": b"3"}


def test_a_large_folder_is_replaced_at_once(folders: Folders) -> None:
    tree = {f"{number}": b"%d" % number for number in range(1100)}
    folders.write(tree)
    folders.up()
    atomic = SyncOptions(PlanRules(delete=True), atomic=True)
    folders.write({"0": b"new"})
    (folders.root / "1").unlink()
    _, notes, _ = folders.up(atomic)
    assert notes.failures == {}
    assert [file.name for file in folders.server.files.walk(folders.name)] == [
        folders.name + name for name in sorted(tree.keys() - {"1"})
    ]
    siblings = folders.server.files.list(folders.name.removesuffix("folder/"))
    assert list(siblings.folders) == [folders.name]


def test_names_that_collide_are_refused_and_the_others_synced(folders: Folders) -> None:
    folders.write({"\u00e9": b"1", "e\u0301": b"2", "a": b"3"})
    _, notes, _ = folders.up()
    assert isinstance(notes.failures["\u00e9"], NameConflict)
    assert folders.read_there() == {"a": b"3"}


def test_a_file_in_another_form_than_nfc_is_replaced_where_it_is(folders: Folders) -> None:
    folders.write({"e\u0301": b"1"})
    folders.put({"\u00e9": b"2"})
    folders.down()
    assert folders.read_here() == {"e\u0301": b"2"}


def test_more_deletions_than_allowed_are_refused_before_anything_is_done(
    folders: Folders,
) -> None:
    folders.write({"new": b"1"})
    folders.put({"a": b"1", "b": b"2"})
    with pytest.raises(ConditionFailed, match="max-delete"):
        folders.up(SyncOptions(PlanRules(delete=True), max_delete=1))
    assert folders.read_there() == {"a": b"1", "b": b"2"}
    folders.up(SyncOptions(PlanRules(delete=True), max_delete=2))
    assert folders.read_there() == {"new": b"1"}


def test_nothing_is_written_through_a_link(folders: Folders, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"1")
    (folders.root / "link").symlink_to(outside)
    (folders.root / "file").symlink_to(outside / "kept")
    folders.put({"link/kept": b"2", "link/new": b"3", "file": b"4", "good": b"5"})
    _, notes, _ = folders.down()
    assert set(notes.failures) == {"link/kept", "link/new", "file"}
    assert isinstance(notes.failures["file"], Forbidden)
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_bytes() == b"1"
    assert (folders.root / "good").read_bytes() == b"5"


def test_links_are_followed_if_asked(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a").write_bytes(b"1")
    (folders.root / "link").symlink_to(tmp_path / "outside")
    _, notes, _ = folders.up(KEEPING)
    assert len(notes.warnings) == 1
    assert folders.read_there() == {}
    folders.up(SyncOptions(follow_links=True))
    assert folders.read_there() == {"link/a": b"1"}


def planned(folders: Folders, source: object, target: object) -> tuple[Sync, Plan]:
    assert isinstance(source, LocalPlace | RemotePlace)
    assert isinstance(target, LocalPlace | RemotePlace)
    sync = Sync(folders.session(Notes()), source, target, DELETING)
    return sync, sync.make_plan(complete=True)


def test_a_plan_is_refused_once_a_file_is_another(folders: Folders) -> None:
    folders.write({"a": b"1", "new": b"2", "n.txt": b"8"})
    folders.put({"a": b"3", "old": b"4", "c.txt": b"8"})
    sync, plan = planned(folders, folders.here, folders.there)
    sync.check(plan)
    for change in ({"a": b"5"}, {"old": b"5"}, {"new": b"5"}, {"c.txt": b"5"}):
        before = folders.read_there()
        folders.put(change)
        with pytest.raises(ConditionFailed, match=next(iter(change))):
            sync.check(plan)
        for name in change:
            folders.server.files.delete(folders.name + name)
        folders.put(before)
        sync.check(plan)
    folders.write({"a": b"6"})
    with pytest.raises(ConditionFailed, match="a is not"):
        sync.check(plan)


def test_what_others_change_meanwhile_is_not_lost(folders: Folders) -> None:
    here = {"large": LARGE, "small": b"1", "changed": LARGE[1:], "a": b"a", "b": b"b"}
    mine = {"mine/a": b"mine a", "mine/b": b"mine b"}
    folders.write({**here, **mine})
    there = {"old": b"1", "changed": b"2", "a": b"3", "b": b"4", "mine/a": b"5"}
    folders.put(there)
    sync, plan = planned(folders, folders.here, folders.there)
    theirs = dict.fromkeys({**here, "old": b""}, b"theirs")
    folders.put(theirs)
    sync.carry_out(plan)
    assert folders.read_there() == {**theirs, **mine}

    folders.server.files.delete(folders.name)
    for name in here:
        (folders.root / name).unlink()
    folders.write({"old": b"1", "changed": b"2", **mine})
    folders.put({"large": LARGE, "changed": b"9"})
    sync, plan = planned(folders, folders.there, folders.here)
    mine = {"large": b"mine", "changed": b"mine", "old": b"mine"}
    folders.write(mine)
    sync.carry_out(plan)
    assert {name: folders.read_here()[name] for name in mine} == mine


def test_what_others_change_where_much_is_copied_is_not_lost(folders: Folders) -> None:
    names = [f"copy {number}" for number in range(6)]
    folders.write(dict.fromkeys(["source", *names], b"source"))
    folders.put({"source": b"source", **{name: name.encode() for name in names[:-1]}})
    sync, plan = planned(folders, folders.here, folders.there)
    assert {type(step) for step in plan.steps} == {CopyFile}
    theirs = dict.fromkeys(names[:-2], b"theirs")
    folders.put(theirs)
    sync.carry_out(plan)
    mine = dict.fromkeys(["source", *names[-2:]], b"source")
    assert folders.read_there() == {**theirs, **mine}


def test_readers_see_the_old_tree_or_the_new_one(folders: Folders) -> None:
    atomic = SyncOptions(PlanRules(delete=True), atomic=True)
    folders.write({"a": b"1", "d/b": b"2"})
    folders.up(atomic)
    assert folders.read_there() == {"a": b"1", "d/b": b"2"}
    folders.write({"a": b"3", "c": b"4"})
    (folders.root / "d/b").unlink()
    folders.up(atomic)
    assert folders.read_there() == {"a": b"3", "c": b"4"}
    siblings = folders.server.files.list(folders.name.removesuffix("folder/"))
    assert list(siblings.folders) == [folders.name]


def test_an_atomic_sync_that_fails_changes_nothing(folders: Folders) -> None:
    atomic = SyncOptions(PlanRules(delete=True), atomic=True)
    folders.put({"old": b"1"})
    folders.write({"a": b"1", "gone": LARGE})
    notes = Notes()
    with folders.session(notes) as session:
        sync = Sync(session, folders.here, folders.there, atomic)
        plan = sync.make_plan()
        (folders.root / "gone").unlink()
        with pytest.raises(ClientError, match="Nothing was changed"):
            sync.carry_out(plan)
    assert list(notes.failures) == ["gone"]
    assert folders.read_there() == {"old": b"1"}
    siblings = folders.server.files.list(folders.name.removesuffix("folder/"))
    assert list(siblings.folders) == [folders.name]


def test_places_that_are_no_pair_are_refused(folders: Folders, tmp_path: Path) -> None:
    session = folders.session(Notes())
    for source, target in (
        (folders.here, LocalPlace(tmp_path)),
        (folders.there, RemotePlace(folders.url, "x/")),
    ):
        with pytest.raises(InvalidPlace):
            Sync(session, source, target, KEEPING)
    with pytest.raises(InvalidPlace, match="atomic"):
        Sync(session, folders.there, folders.here, SyncOptions(atomic=True))
    root = RemotePlace(folders.url, "")
    folders.write({"a": b"1"})
    sync = Sync(session, folders.here, root, SyncOptions(atomic=True))
    plan = sync.make_plan()
    with pytest.raises(InvalidPlace, match="root"):
        sync.carry_out(plan)


def test_a_source_that_is_not_there_is_no_empty_one(folders: Folders) -> None:
    folders.write({"a": b"1"})
    with pytest.raises(Missing):
        folders.down()
    assert folders.read_here() == {"a": b"1"}
    folders.put({"b": b"2"})
    (folders.root / "a").unlink()
    folders.root.rmdir()
    with pytest.raises(Missing):
        folders.up()
    assert folders.read_there() == {"b": b"2"}
    folders.down()
    assert folders.read_here() == {"b": b"2"}


def test_a_name_too_long_below_the_target_fails_by_itself(folders: Folders) -> None:
    long = "/".join(["n" * 203] * 5)
    folders.write({long: b"1", "a": b"2"})
    _, notes, _ = folders.up()
    assert {type(error) for error in notes.failures.values()} == {InvalidName}
    assert folders.read_there() == {"a": b"2"}
