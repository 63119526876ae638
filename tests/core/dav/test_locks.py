"""Locks: what they cover, beside which others they can be, and which writes they stop."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.dav.locks import (
    LEAST_LOCK_SECONDS,
    MAX_LOCK_SECONDS,
    Lock,
    Touched,
    clamped_seconds,
    folder_of,
    is_below,
    paths_above,
    roots_in_conflict,
    roots_in_the_way,
)
from chunkstore.core.names import FileName, FolderName

PATHS = ("", "a", "a/b", "a/b/c", "a/bc", "ab")


def lock(
    root: str,
    token: str = "t",
    *,
    deep: bool = True,
    exclusive: bool = True,
    principal: str = "",
) -> Lock:
    expires = datetime(2030, 1, 1, tzinfo=UTC)
    return Lock(token, root, deep, deep, exclusive, "", principal, 600, expires)


@pytest.mark.parametrize(
    ("root", "deep", "covered"),
    [
        ("", True, PATHS),
        ("", False, ("",)),
        ("a", True, ("a", "a/b", "a/b/c", "a/bc")),
        ("a", False, ("a",)),
        ("a/b", True, ("a/b", "a/b/c")),
    ],
)
def test_scope(root: str, deep: bool, covered: tuple[str, ...]) -> None:
    assert tuple(path for path in PATHS if lock(root, deep=deep).covers(path)) == covered


def test_names_and_paths() -> None:
    assert lock("a/b").name == FolderName("a/b/")
    assert lock("a/b", deep=False).name == FileName("a/b")
    assert lock("").name == ""
    assert list(paths_above("a/b/c")) == ["a/b/c", "a/b", "a", ""]
    assert [folder_of(path) for path in ("a/b", "a", "")] == ["a", "", ""]


def test_a_member_is_changed_with_its_folder() -> None:
    """A lock of depth 0 keeps the members of a folder, not what is in them (§7.4)."""
    folder = [lock("a", deep=False)]
    assert roots_in_the_way(folder, Touched(frozenset({"a/b"})), (), "") == []
    assert roots_in_the_way(folder, Touched(frozenset({"a/b", "a"})), (), "") == ["a"]
    assert roots_in_the_way(folder, Touched(frozenset({"a/b", "a"})), {"t"}, "") == []


def test_all_locks_below_what_goes_are_in_the_way() -> None:
    locks = [lock("a/b", "1", deep=False), lock("a/bc", "2", deep=False), lock("ab", "3")]
    gone = Touched(frozenset({"a", ""}), frozenset({"a"}))
    assert roots_in_the_way(locks, gone, (), "") == ["a/b", "a/bc"]
    assert roots_in_the_way(locks, gone, {"1"}, "") == ["a/bc"]
    assert roots_in_the_way(locks, gone, {"1", "2"}, "") == []


def test_the_token_of_somebody_else_does_not_count() -> None:
    path = Touched(frozenset({"a"}))
    assert roots_in_the_way([lock("a", principal="anna")], path, {"t"}, "bob") == ["a/"]
    assert roots_in_the_way([lock("a", principal="anna")], path, {"t"}, "anna") == []


def test_one_of_several_shared_locks_is_enough() -> None:
    locks = [lock("a", "1", exclusive=False), lock("a", "2", exclusive=False)]
    path = Touched(frozenset({"a"}))
    assert roots_in_the_way(locks, path, {"2"}, "") == []
    assert roots_in_the_way(locks, path, {"3"}, "") == ["a/"]


@pytest.mark.parametrize(
    ("there", "path", "deep", "exclusive", "conflict"),
    [
        (lock("a"), "a", False, True, ["a/"]),
        (lock("a"), "a/b", False, False, ["a/"]),
        (lock("a", deep=False), "a", False, True, ["a"]),
        (lock("a", exclusive=False), "a/b", False, False, []),
        (lock("a", exclusive=False), "a/b", False, True, ["a/"]),
        (lock("a/b"), "a", True, True, ["a/b/"]),
        (lock("a/b"), "a", False, True, []),
        (lock("a", deep=False), "a/b", True, True, []),
        (lock("ab"), "a", True, True, []),
        (lock("a"), "", True, False, ["a/"]),
    ],
)
def test_which_locks_can_be_together(
    there: Lock, path: str, deep: bool, exclusive: bool, conflict: list[str]
) -> None:
    assert roots_in_conflict([there], path, is_deep=deep, is_exclusive=exclusive) == conflict


paths = st.sampled_from(PATHS)


@given(
    st.lists(st.tuples(paths, st.booleans(), st.booleans()), max_size=8),
    paths,
    st.booleans(),
)
def test_whoever_gets_an_exclusive_lock_is_alone(
    wanted: list[tuple[str, bool, bool]], path: str, tree: bool
) -> None:
    """Of locks that were let in, one token at most is needed for a path, unless all are shared."""
    there: list[Lock] = []
    for number, (root, deep, exclusive) in enumerate(wanted):
        if not roots_in_conflict(there, root, is_deep=deep, is_exclusive=exclusive):
            there.append(lock(root, str(number), deep=deep, exclusive=exclusive))
    covering = [each for each in there if each.covers(path)]
    assert len(covering) <= 1 or not any(each.is_exclusive for each in covering)
    touched = Touched(frozenset({path}), frozenset({path} if tree else ()))
    assert not roots_in_the_way(there, touched, {each.token for each in there}, "")
    in_the_way = roots_in_the_way(there, touched, (), "")
    below = {each.name for each in there if tree and is_below(each.root, path)}
    assert {each.name for each in covering} | below <= set(in_the_way)


def test_times_are_within_bounds() -> None:
    assert clamped_seconds(4_100_000_000) == MAX_LOCK_SECONDS
    assert clamped_seconds(0) == LEAST_LOCK_SECONDS
    assert clamped_seconds(180) == 180
