"""Filters: which globs match which paths, and which rule decides."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.client.sync.filters import EVERYTHING, Filter, Rule, read_rules


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("*.jpg", ["a.jpg", "d/a.jpg", ".jpg"], ["a.jpg/b", "a.jpgs", "a.JPG"]),
        ("/*.jpg", ["a.jpg"], ["d/a.jpg"]),
        ("d/*.jpg", ["d/a.jpg", "c/d/a.jpg"], ["d/e/a.jpg", "ad/a.jpg"]),
        ("/d/**", ["d/a", "d/e/a"], ["d", "c/d/a"]),
        ("**.jpg", ["a.jpg", "d/e/a.jpg"], ["a.jpg/b"]),
        ("d/", ["d/a", "d/e/a", "c/d/a"], ["d", "ad/a"]),
        ("a?c", ["abc", "d/abc"], ["ac", "a/c"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "abx"]),
        ("[!a-c]x", ["dx", "!x"], ["ax", "/x"]),
        ("[^a]x", ["bx"], ["ax"]),
        ("[]a]x", ["]x", "ax"], ["bx"]),
        ("[a-]x", ["-x", "ax"], ["bx"]),
        ("*.{jpg,png}", ["a.jpg", "a.png"], ["a.gif", "a."]),
        ("{a,b/{c,d}}", ["a", "b/c", "b/d"], ["b", "c/e"]),
        (r"\*", ["*", "d/*"], ["a"]),
        (r"a\{b", ["a{b"], ["ab"]),
        ("a,b}", ["a,b}"], ["a", "b"]),
        ("**", ["a", "d/a"], []),
        ("a\nb", ["a\nb"], ["a"]),
    ],
)
def test_a_glob_matches(glob: str, matching: list[str], others: list[str]) -> None:
    excluding = Filter([Rule.excluding(glob)])
    assert [path for path in matching if excluding.includes(path)] == []
    assert [path for path in others if not excluding.includes(path)] == []


@pytest.mark.parametrize("glob", ["", "/", "[a", "[", "{a", "a\\", "[z-a]", "[!"])
def test_what_is_no_glob_is_refused(glob: str) -> None:
    with pytest.raises(ValueError, match=r"glob|ends|closed|range"):
        Rule.excluding(glob)


@given(st.text("ab*?[]{}!-,\\/^", max_size=12), st.text("ab/*", max_size=6))
def test_any_text_is_a_glob_or_refused(glob: str, path: str) -> None:
    with suppress(ValueError):
        Rule.excluding(glob).pattern.fullmatch(path)


PATHS = st.lists(st.text("abc.*[]{}\\?", min_size=1, max_size=4), min_size=1, max_size=4).map(
    "/".join
)


def quoted(path: str) -> str:
    return re.sub(r"([*?\[\]{}\\,])", r"\\\1", path)


@given(PATHS, PATHS)
def test_a_quoted_path_matches_itself_alone(path: str, other: str) -> None:
    rule = Rule.excluding(f"/{quoted(path)}")
    assert rule.pattern.fullmatch(path)
    assert bool(rule.pattern.fullmatch(other)) == (path == other)
    assert Rule.excluding(quoted(path)).pattern.fullmatch(f"{other}/{path}")


GLOBS = st.lists(
    st.sampled_from(["a", "b", "*", "**", "?", "/", "[ab]", "{a,b/}"]), min_size=1, max_size=6
).map("".join)
RULES = st.lists(
    st.builds(
        lambda glob, include: Rule.including(glob) if include else Rule.excluding(glob),
        GLOBS.filter(lambda glob: glob != "/"),
        st.booleans(),
    ),
    max_size=4,
)
SHORT_PATHS = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4).map("/".join)


@given(RULES, SHORT_PATHS)
def test_the_first_rule_that_matches_decides(rules: list[Rule], path: str) -> None:
    decisions = [rule.include for rule in rules if rule.pattern.fullmatch(path)]
    unmatched = not rules or any(not rule.include for rule in rules)
    assert Filter(rules).includes(path) == [*decisions, unmatched][0]


@given(RULES, SHORT_PATHS, SHORT_PATHS)
def test_a_folder_that_is_excluded_has_nothing_that_is_included(
    rules: list[Rule], folder: str, path: str
) -> None:
    chosen = Filter(rules)
    if chosen.excludes_folder(folder):
        assert not chosen.includes(f"{folder}/{path}")


def test_a_folder_is_excluded_without_a_look_at_its_files() -> None:
    chosen = Filter([Rule.excluding("node_modules/"), Rule.excluding("/out/**")])
    assert chosen.excludes_folder("a/node_modules")
    assert chosen.excludes_folder("out")
    assert not chosen.excludes_folder("a/out")
    kept = Filter([Rule.including("keep.txt"), Rule.excluding("out/")])
    assert not kept.excludes_folder("out")


def test_no_rule_excludes_nothing_and_only_inclusions_exclude_the_rest() -> None:
    assert EVERYTHING.includes("a")
    only = Filter([Rule.including("*.py")])
    assert (only.includes("d/a.py"), only.includes("a.txt")) == (True, False)


def test_rules_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rules"
    file.write_text("# comment\n\n; another\n*.tmp\n+ keep.o\n- *.o\n  \n[x]*\n", encoding="utf-8")
    rules = read_rules(file)
    assert [(rule.glob, rule.include) for rule in rules] == [
        ("*.tmp", False), ("keep.o", True), ("*.o", False), ("[x]*", False),
    ]  # fmt: skip
    file.write_text("a\n[b\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        read_rules(file)
