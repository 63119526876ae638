"""Rights: what the rules say, for every name, and the same however they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.core.access import (
    EVERYONE,
    EVERYTHING,
    NOTHING,
    OPEN,
    ROLES,
    Access,
    Grant,
    Rule,
    Rules,
    Verbs,
    format_verbs,
    parse_verbs,
)
from chunkstore.core.names import FileName, FolderName

segments = st.sampled_from(["a", "ab", "b", "a-", "\ud7ff", "\U0010ffff"])
folders = st.lists(segments, max_size=3).map(
    lambda path: FolderName("".join(f"{s}/" for s in path))
)
names = st.tuples(folders, segments).map(lambda pair: FileName("".join(pair)))
verbs = st.lists(st.sampled_from([*Verbs]), max_size=3).map(
    lambda chosen: Verbs(sum(verb.value for verb in {*chosen}))
)
subjects = st.sampled_from(["anna", "@hr", EVERYONE])
rules = st.lists(st.builds(Rule, subjects, folders, verbs), max_size=8)
scopes = st.none() | st.lists(st.tuples(folders, verbs), max_size=4)


def by_the_page(given_rules: Sequence[Rule], who: Sequence[str], name: str) -> Verbs:
    """Say what the one page says, in the words of the page."""
    total = NOTHING
    for subject in who:
        above = {
            rule.folder: rule.verbs
            for rule in given_rules
            if rule.subject == subject and name.startswith(rule.folder)
        }
        if above:
            total |= above[max(above, key=len)]
    return total


def access_of(
    given_rules: Sequence[Rule],
    who: Sequence[str],
    scope: Sequence[tuple[FolderName, Verbs]] | None = None,
) -> Access:
    access = Access((Grant(Rules(given_rules), tuple(who)),))
    return access if scope is None else access.narrowed(scope)


@settings(max_examples=2000)
@given(rules=rules, who=st.lists(subjects, unique=True), scope=scopes, name=names | folders)
def test_rights_are_what_the_page_says(
    rules: list[Rule],
    who: list[str],
    scope: list[tuple[FolderName, Verbs]] | None,
    name: FileName | FolderName,
) -> None:
    expected = by_the_page(rules, who, name)
    if scope is not None:
        expected &= by_the_page([Rule("", *one) for one in scope], [""], name)
    assert access_of(rules, who, scope).verbs(name) == expected


@settings(max_examples=1000)
@given(rules=rules, who=st.lists(subjects, unique=True), scope=scopes, folder=folders, name=names)
def test_regions_cover_a_folder_once_in_order_and_say_what_each_name_does(
    rules: list[Rule],
    who: list[str],
    scope: list[tuple[FolderName, Verbs]] | None,
    folder: FolderName,
    name: FileName,
) -> None:
    access = access_of(rules, who, scope)
    regions = [*access.regions(folder)]
    inside = FileName(folder + name)
    holding = [
        region
        for region in regions
        if region.start <= inside and (region.stop is None or inside < region.stop)
    ]
    assert [region.verbs for region in holding] == [access.verbs(inside)]
    assert regions[0].start == folder
    for region, following in pairwise(regions):
        assert region.stop == following.start
        assert region.start < following.start


@settings(max_examples=500)
@given(rules=rules, who=st.lists(subjects, unique=True), scope=scopes, folder=folders, name=names)
def test_what_may_be_done_everywhere_may_be_done_with_each_name(
    rules: list[Rule],
    who: list[str],
    scope: list[tuple[FolderName, Verbs]] | None,
    folder: FolderName,
    name: FileName,
) -> None:
    access = access_of(rules, who, scope)
    inside = FileName(folder + name)
    assert access.everywhere(folder) in access.verbs(inside)
    if access.verbs(inside):
        assert access.leads_somewhere(folder)


def test_a_minus_cuts_what_its_subject_inherits_and_nothing_else() -> None:
    rules = [
        Rule(EVERYONE, FolderName(""), ROLES["reader"]),
        Rule(EVERYONE, FolderName("hr/"), NOTHING),
        Rule("@hr", FolderName("hr/"), ROLES["editor"]),
        Rule("anna", FolderName(""), EVERYTHING),
    ]
    inside, outside = FileName("hr/pay.csv"), FileName("hra.csv")
    assert access_of(rules, [EVERYONE]).verbs(inside) == NOTHING
    assert access_of(rules, [EVERYONE]).verbs(outside) == ROLES["reader"]
    assert access_of(rules, ["@hr", EVERYONE]).verbs(inside) == ROLES["editor"]
    assert access_of(rules, ["anna", EVERYONE]).verbs(inside) == EVERYTHING


def test_a_store_without_accounts_allows_everything_to_anybody() -> None:
    assert OPEN.verbs(FileName("a/b")) == EVERYTHING
    assert OPEN.everywhere(FolderName("a/")) == EVERYTHING
    assert [region.verbs for region in OPEN.regions(FolderName(""))] == [EVERYTHING]


@given(verbs=verbs)
def test_verbs_are_parsed_as_they_are_formatted(verbs: Verbs) -> None:
    assert parse_verbs(format_verbs(verbs)) == verbs


@pytest.mark.parametrize("text", ["", "readers", "list,", "list,-", "Read"])
def test_what_is_neither_a_role_nor_verbs_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a role"):
        parse_verbs(text)
