"""Plans: what is put, copied, made and deleted to make one tree like another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.client.sync.plan import (
    CopyFile,
    DeleteEmptyFolder,
    DeleteFile,
    MakeEmptyFolder,
    Plan,
    PlanRules,
    PutFile,
    Step,
    make_plan,
    with_all_digests,
)
from chunkstore.client.sync.plan_lines import WrittenPlan, format_plan, parse_plan
from chunkstore.client.sync.tree import Tree
from chunkstore.core.digest import Digest

Contents = Mapping[str, str]
ALL = PlanRules(delete=True, copies=True)


def digest_of(content: str) -> Digest:
    return Digest.of(content.encode())


@dataclass(frozen=True, slots=True)
class FakeFile:
    size: int
    digest: Digest | None


def tree_of(contents: Contents, empty: Iterable[str] = (), *, digests: bool) -> Tree:
    files = {
        name: FakeFile(len(content), digest_of(content) if digests else None)
        for name, content in contents.items()
    }
    return Tree(files, frozenset(empty))


class Reading:
    """Tells digests of contents, and notes of which it was asked."""

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.names: set[str] = set()

    def __call__(self, names: Iterable[str]) -> Mapping[str, Digest]:
        found = {name: digest_of(self.contents[name]) for name in names}
        self.names |= found.keys()
        return found


def plan_of(
    source: Contents,
    target: Contents,
    rules: PlanRules = ALL,
    *,
    empty: Iterable[str] = (),
    empty_in_target: Iterable[str] = (),
) -> Plan:
    return make_plan(
        tree_of(source, empty, digests=False),
        tree_of(target, empty_in_target, digests=True),
        rules,
        Reading(source),
        Reading(target),
    )


def applied(plan: Plan, source: Contents, target: Contents) -> dict[str, str]:
    """Return what the target has after the plan; each step has to be possible when it comes."""
    files = dict(target)
    for step in plan.steps:
        match step:
            case PutFile() | CopyFile():
                assert (step.name in files) is not step.is_new
                assert not any(
                    name.startswith(f"{step.name}/") or step.name.startswith(f"{name}/")
                    for name in files
                )
                content = source[step.name] if isinstance(step, PutFile) else files[step.source]
                files[step.name] = content
            case DeleteFile():
                del files[step.name]
    return files


CONTENTS = st.sampled_from(["", "a", "b", "long"])
NAMES = st.sampled_from(["a", "b", "c", "d/a", "d/e/a", "d/e", "d", "a/b", "x.txt", "y.txt"])


def is_tree(contents: Contents) -> bool:
    return not any(one.startswith(f"{other}/") for one in contents for other in contents)


TREES = st.dictionaries(NAMES, CONTENTS, max_size=6).filter(is_tree)


@given(TREES, TREES, st.booleans())
def test_a_plan_that_deletes_makes_trees_equal(
    source: dict[str, str], target: dict[str, str], copies: bool
) -> None:
    plan = plan_of(source, target, PlanRules(delete=True, copies=copies))
    assert applied(plan, source, target) == source
    assert plan_of(source, source).steps == ()


@given(TREES, TREES)
def test_a_plan_that_deletes_nothing_keeps_what_only_the_target_has(
    source: dict[str, str], target: dict[str, str]
) -> None:
    plan = plan_of(source, target, PlanRules())
    assert plan.deletions == 0
    if is_tree({**target, **source}):
        assert applied(plan, source, target) == {**target, **source}


@given(TREES, TREES)
def test_each_name_is_put_unchanged_or_deleted_once(
    source: dict[str, str], target: dict[str, str]
) -> None:
    plan = plan_of(source, target)
    names = [step.name for step in plan.steps]
    assert len(names) == len(set(names))
    assert set(names) <= source.keys() | target.keys()
    alike = [name for name in source if target.get(name) == source[name]]
    assert plan.unchanged == len(alike)
    assert plan.unchanged_size == sum(len(source[name]) for name in alike)


@given(TREES, TREES)
def test_nothing_is_deleted_before_all_else_but_what_is_in_the_way(
    source: dict[str, str], target: dict[str, str]
) -> None:
    kinds = [
        "first" if isinstance(step, DeleteFile) and step.in_the_way else type(step).__name__
        for step in plan_of(source, target).steps
    ]
    order = ["first", "CopyFile", "PutFile", "DeleteFile"]
    assert kinds == sorted(kinds, key=order.index)


def test_a_file_is_read_only_if_the_comparison_depends_on_it() -> None:
    source = {"new": "1", "longer": "12", "same": "1", "other": "1"}
    target = {"longer": "1", "same": "1", "other": "2", "gone": "1"}
    reading, unread = Reading(source), Reading(target)
    plan = make_plan(
        tree_of(source, digests=False),
        tree_of(target, digests=True),
        PlanRules(delete=True),
        reading,
        unread,
    )
    assert reading.names == {"same", "other"}
    assert unread.names == set()
    assert [step.name for step in plan.transfers] == ["longer", "new", "other"]


def test_sizes_alone_decide_if_asked() -> None:
    reading = Reading({"a": "1", "b": "12"})
    rules = PlanRules(size_only=True)
    trees = tree_of(reading.contents, digests=False), tree_of({"a": "2", "b": "1"}, digests=True)
    plan = make_plan(*trees, rules, reading, reading)
    assert ([step.name for step in plan.steps], reading.names) == (["b"], set())


def test_only_what_is_there_or_is_new_is_put_if_asked() -> None:
    source, target = {"a": "1", "b": "1"}, {"a": "2"}
    assert plan_of(source, target, PlanRules(existing=True)).transfers == (
        PutFile("a", 1, None, digest_of("2"), is_new=False),
    )
    assert plan_of(source, target, PlanRules(ignore_existing=True)).transfers == (
        PutFile("b", 1, None),
    )


def test_what_the_target_has_under_another_name_is_copied() -> None:
    plan = plan_of({"new/a.txt": "1", "b.md": "1", "c.txt": "2"}, {"a.txt": "1", "c.txt": "1"})
    assert plan.steps == (
        CopyFile("new/a.txt", "a.txt", 1, digest_of("1")),
        # Its media type would be that of a .txt.
        PutFile("b.md", 1, None),
        PutFile("c.txt", 1, None, digest_of("1"), is_new=False),
        DeleteFile("a.txt", 1, digest_of("1")),
    )


def test_no_copy_is_made_of_what_is_replaced() -> None:
    plan = plan_of({"a.txt": "2", "b.txt": "1"}, {"a.txt": "1", "b.txt": "2"})
    assert {type(step) for step in plan.steps} == {PutFile}


def test_empty_folders_are_made_and_deleted() -> None:
    plan = plan_of(
        {"f/a": "1", "g": "1"},
        {"e/old": "2"},
        empty=["e", "n/m"],
        empty_in_target=["f", "g", "n", "o"],
    )
    assert plan.steps == (
        DeleteEmptyFolder("g"),
        PutFile("f/a", 1, None),
        PutFile("g", 1, None),
        MakeEmptyFolder("e"),
        MakeEmptyFolder("n/m"),
        DeleteFile("e/old", 1, digest_of("2")),
        DeleteEmptyFolder("o"),
    )


def test_a_plan_is_completed_with_digests() -> None:
    source, target = {"a": "12", "b": "1"}, {"a": "1", "c": "1"}
    trees = tree_of(source, digests=False), tree_of(target, digests=False)
    plan = make_plan(*trees, PlanRules(delete=True), Reading(source), Reading(target))
    assert with_all_digests(plan, Reading(source), Reading(target)).steps == (
        PutFile("a", 2, digest_of("12"), digest_of("1"), is_new=False),
        PutFile("b", 1, digest_of("1")),
        DeleteFile("c", 1, digest_of("1")),
    )


DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
SIZES = st.integers(0, 1 << 50)
REPLACED = st.one_of(
    st.tuples(st.none(), st.just(True)), st.tuples(st.none() | DIGESTS, st.just(False))
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda name, size, digest, replaced: PutFile(name, size, digest, *replaced),
        TEXTS, SIZES, st.none() | DIGESTS, REPLACED,
    ),
    st.builds(
        lambda name, source, size, digest, replaced: CopyFile(
            name, source, size, digest, *replaced
        ),
        TEXTS, TEXTS, SIZES, DIGESTS, REPLACED,
    ),
    st.builds(MakeEmptyFolder, TEXTS),
    st.builds(DeleteFile, TEXTS, SIZES, st.none() | DIGESTS, st.booleans()),
    st.builds(DeleteEmptyFolder, TEXTS),
)  # fmt: skip


@given(
    st.builds(
        WrittenPlan,
        TEXTS,
        TEXTS,
        st.booleans(),
        st.builds(Plan, st.lists(STEPS).map(tuple), SIZES, SIZES),
    )
)
def test_a_plan_is_read_as_it_was_written(written: WrittenPlan) -> None:
    lines = list(format_plan(written))
    assert all(line.count("\n") == 1 and line.endswith("\n") for line in lines)
    assert parse_plan("".join(lines).split("\n")) == written


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        "[",
        '{"step": "put"}',
        '{"step": "put", "name": "", "size": 1}',
        '{"step": "put", "name": "a", "size": -1}',
        '{"step": "put", "name": "a", "size": true}',
        '{"step": "put", "name": "a", "size": 1, "digest": "ab"}',
        '{"step": "copy", "name": "a", "size": 1, "digest": null, "source": "b"}',
        '{"step": "format_disk", "name": "a"}',
    ],
)
def test_what_is_no_plan_is_refused(line: str) -> None:
    head = json.dumps({"plan": 1, "source": "a", "target": "b"})
    assert parse_plan([head]).plan.steps == ()
    with pytest.raises(ValueError, match=r"line 2|empty"):
        parse_plan([head, line] if line else [])
    with pytest.raises(ValueError, match=r"line 1|empty"):
        parse_plan([line])
