"""Hot files: never stale, whatever the order of look-ups and changes; never more than is free."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chunkstore.service.hot_files import HotFiles, Lookup
from chunkstore.service.memory import MemoryBudget, Reservation, Use
from chunkstore.store.contract.name_changes import NameChanges, NameWatcher

Version: TypeAlias = int

NAMES = ["a", "b", "c"]
KIB = 1024
LIMIT = 256 * KIB

some_names = st.sampled_from(NAMES)


class Announcements(NameChanges):
    """Announces what the test says."""

    @asynccontextmanager
    async def watched_by(self, watcher: NameWatcher) -> AsyncIterator[None]:
        yield


@pytest.fixture
def budget() -> MemoryBudget:
    return MemoryBudget(LIMIT)


@pytest.fixture
async def files(budget: MemoryBudget) -> AsyncIterator[HotFiles[Version]]:
    files: HotFiles[Version] = HotFiles(budget)
    async with files.following(Announcements()):
        yield files


def look_up(files: HotFiles[Version], name: str, found: Version, size: int = 0) -> None:
    with files.looking_up(name) as lookup:
        lookup.keep(found, size)


def make_hot(files: HotFiles[Version], name: str, found: Version, size: int = 0) -> None:
    look_up(files, name, found, size)
    look_up(files, name, found, size)


async def test_what_is_asked_for_again_is_kept(files: HotFiles[Version]) -> None:
    look_up(files, "a", 1)
    assert files.find("a") is None
    look_up(files, "a", 1)
    assert files.find("a") == 1
    assert files.find("b") is None


async def test_what_is_asked_for_again_much_later_is_not_kept(files: HotFiles[Version]) -> None:
    look_up(files, "a", 1)
    for number in range(3000):
        look_up(files, f"other {number}", 1)
    look_up(files, "a", 1)
    assert files.find("a") is None
    assert files.size == 0


async def test_nothing_is_kept_outside_of_the_context(budget: MemoryBudget) -> None:
    files: HotFiles[Version] = HotFiles(budget)
    make_hot(files, "a", 1)
    assert files.find("a") is None
    async with files.following(Announcements()):
        make_hot(files, "a", 1)
        assert files.find("a") == 1
    assert (files.find("a"), files.size) == (None, 0)
    assert budget.on_taken == []


async def test_a_look_up_that_a_change_has_overtaken_keeps_nothing(
    files: HotFiles[Version],
) -> None:
    make_hot(files, "a", 1)
    with files.looking_up("a") as before, files.looking_up("b") as other:
        files.changing(["a"])
        assert files.find("a") is None
        with files.looking_up("a") as meanwhile:
            files.changed()
            before.keep(1, 0)
            meanwhile.keep(1, 0)
        assert files.find("a") is None
        look_up(files, "b", 1)
        other.keep(1, 0)
    make_hot(files, "a", 2)
    assert (files.find("a"), files.find("b")) == (2, 1)


async def test_a_change_of_all_names_drops_everything(files: HotFiles[Version]) -> None:
    make_hot(files, "a", 1)
    with files.looking_up("a") as lookup:
        files.changing(None)
        assert (files.find("a"), files.size) == (None, 0)
        lookup.keep(1, 0)
        look_up(files, "a", 1)
        files.changed()
        lookup.keep(1, 0)
        assert files.find("a") is None
    make_hot(files, "a", 2)
    assert files.find("a") == 2


async def test_the_files_asked_for_longest_ago_go_first(
    files: HotFiles[Version], budget: MemoryBudget
) -> None:
    for name in "abc":
        make_hot(files, name, 1, 16 * KIB)
    assert files.find("a") == 1
    make_hot(files, "d", 1, 16 * KIB)
    assert [name for name in "abcd" if files.find(name)] == ["a", "c", "d"]
    assert files.size <= budget.limit // 4


async def test_a_file_that_is_larger_than_all_memory_for_them_is_not_kept(
    files: HotFiles[Version],
) -> None:
    make_hot(files, "small", 1)
    make_hot(files, "large", 1, LIMIT // 4)
    assert (files.find("small"), files.find("large")) == (1, None)


async def test_memory_that_is_reserved_is_given_up_before_it_is_used(
    files: HotFiles[Version], budget: MemoryBudget
) -> None:
    for name in "abc":
        make_hot(files, name, 1, 16 * KIB)
    assert files.size > 48 * KIB
    # As much as others get when nothing is kept.
    assert budget.free == LIMIT
    first = budget.account(Use.UPLOAD).try_reserve(LIMIT - 40 * KIB, LIMIT)
    assert first is not None
    assert first.size == LIMIT - 40 * KIB
    assert 0 < files.size <= budget.free
    second = budget.account(Use.DOWNLOAD).try_reserve(budget.free, budget.free)
    assert second is not None
    assert (files.size, files.find("c")) == (0, None)
    make_hot(files, "a", 1)
    assert files.find("a") is None
    second.release()
    make_hot(files, "a", 1)
    assert files.find("a") == 1


class Interleavings(RuleBasedStateMachine):
    """Look-ups and changes in any order; a look-up reads at any moment before it keeps.

    `committed` is what a reader of the store sees, `announced` what is being changed. A name's
    versions grow, so that an older one is known by its number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.budget = MemoryBudget(LIMIT)
        self.files: HotFiles[Version] = HotFiles(self.budget)
        self.following = self.files.following(Announcements())
        _run(self.following.__aenter__())
        self.committed = dict.fromkeys(NAMES, 0)
        self.announced: set[str] = set()
        self.done = False
        self.lookups: list[tuple[str, Lookup[Version], list[Version]]] = []
        self.held: list[Reservation] = []
        for name in NAMES:
            look_up(self.files, name, 0)

    def teardown(self) -> None:
        _run(self.following.__aexit__(None, None, None))

    @rule(name=some_names, reads=st.booleans())
    def begin_to_look_up(self, name: str, reads: bool) -> None:
        lookup = self.files.looking_up(name)
        lookup.__enter__()
        self.lookups.append((name, lookup, [self.committed[name]] if reads else []))

    @rule(drawn=st.data())
    def read(self, drawn: st.DataObject) -> None:
        for name, _, seen in self.lookups:
            if not seen and drawn.draw(st.booleans()):
                seen.append(self.committed[name])

    @rule(drawn=st.data())
    def keep(self, drawn: st.DataObject) -> None:
        for entry in list(self.lookups):
            _, lookup, seen = entry
            size = drawn.draw(st.none() | st.integers(0, 20 * KIB))
            if seen and size is not None:
                lookup.keep(seen[0], size)
                lookup.__exit__()
                self.lookups.remove(entry)

    @rule(name=some_names)
    def look_up_at_once(self, name: str) -> None:
        make_hot(self.files, name, self.committed[name])

    @precondition(lambda self: not self.done)
    @rule(names=st.none() | st.sets(some_names, min_size=1))
    def announce(self, names: set[str] | None) -> None:
        """A transaction that is tried again announces its names again."""
        self.files.changing(names)
        self.announced.update(NAMES if names is None else names)

    @precondition(lambda self: self.announced and not self.done)
    @rule()
    def commit(self) -> None:
        for name in self.announced:
            self.committed[name] += 1
        self.done = True

    @precondition(lambda self: self.announced)
    @rule()
    def end(self) -> None:
        """The end of a transaction that was committed, or rolled back."""
        self.files.changed()
        self.announced.clear()
        self.done = False

    @rule(size=st.integers(1, LIMIT))
    def reserve(self, size: int) -> None:
        reservation = self.budget.account(Use.UPLOAD).try_reserve(size, size)
        if reservation is not None:
            self.held.append(reservation)

    @precondition(lambda self: self.held)
    @rule()
    def release(self) -> None:
        self.held.pop().release()

    @invariant()
    def nothing_kept_is_stale(self) -> None:
        for name in NAMES:
            assert self.files.find(name) in (None, self.committed[name])

    @invariant()
    def nothing_that_is_reserved_is_used(self) -> None:
        kept = sum(size for _, size in self.files._kept.values())
        assert kept == self.files.size <= min(self.budget.free, LIMIT // 4)


def _run(step: object) -> None:
    """Run a coroutine that waits for nothing."""
    with pytest.raises(StopIteration):
        step.send(None)  # type: ignore[attr-defined]  # contextlib types it as an Awaitable


def test_no_order_of_look_ups_and_changes_leaves_a_stale_file() -> None:
    run_state_machine_as_test(
        Interleavings, settings=settings(max_examples=200, stateful_step_count=40, deadline=None)
    )


@given(sizes=st.lists(st.integers(0, 70 * KIB), max_size=30), taken=st.integers(0, LIMIT))
async def test_never_more_than_a_quarter_nor_than_is_free(sizes: list[int], taken: int) -> None:
    budget = MemoryBudget(LIMIT)
    files: HotFiles[Version] = HotFiles(budget)
    async with files.following(Announcements()):
        for number, size in enumerate(sizes):
            make_hot(files, f"{number}", 1, size)
            assert files.size <= LIMIT // 4
        with budget.account(Use.UPLOAD).try_reserve(taken, taken) or Reservation(
            budget.account(Use.UPLOAD), 0
        ):
            assert files.size <= budget.free
