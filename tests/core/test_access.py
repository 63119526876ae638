"""Rights: what the rules say, for every name, and the same however they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import pairwise
from operator import and_

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.core import access as access_module
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
from chunkstore.core.names import ROOT, FileName, FolderName

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


@settings(max_examples=1000)
@given(
    rules=rules,
    who=st.lists(subjects, unique=True),
    scope=scopes,
    folder=folders,
    cut=st.integers(0, 9),
)
def test_everywhere_and_somewhere_are_what_the_regions_say(
    rules: list[Rule],
    who: list[str],
    scope: list[tuple[FolderName, Verbs]] | None,
    folder: FolderName,
    cut: int,
) -> None:
    access = access_of(rules, who, scope)
    of_regions = [region.verbs for region in access.regions(folder)]
    assert access.everywhere(folder) == reduce(and_, of_regions)
    for verb in Verbs:
        assert access.somewhere(verb, folder) == any(verb in one for one in of_regions)
    assert access.regions(folder).divide(folder) == (len(of_regions) > 1)
    # Also of names that begin alike, without being in one folder.
    prefix = folder[:cut]
    alike = [region.verbs for region in access.regions(ROOT) if region.start.startswith(prefix)]
    assert access.everywhere(prefix) == reduce(and_, alike, access.verbs(FileName(prefix)))


def test_ten_thousand_rules_of_one_subject_take_few_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is asked of a store with many rules holds up nobody else."""
    asked = list[str]()
    nearest = access_module._nearest

    def counted(of_one: Mapping[str, Verbs], folders: Iterable[str]) -> Verbs:
        asked.append("")
        return nearest(of_one, folders)

    monkeypatch.setattr(access_module, "_nearest", counted)
    homes = [Rule(EVERYONE, FolderName(f"homes/u{n}/"), ROLES["reader"]) for n in range(10_000)]
    access = access_of([*homes, Rule("anna", ROOT, EVERYTHING)], ["anna", EVERYONE], None)
    for folder in (ROOT, FolderName("homes/")):
        assert access.everywhere(folder) == EVERYTHING
        assert access.somewhere(Verbs.WRITE, folder)
    guest = access_of(homes, [EVERYONE], None)
    assert guest.everywhere(ROOT) == NOTHING
    assert guest.somewhere(Verbs.READ)
    assert not guest.somewhere(Verbs.WRITE)
    assert len(asked) < 50


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


@given(
    rules=rules,
    who=st.lists(subjects, unique=True),
    folder=folders,
    lent=verbs,
    name=names | folders,
)
def test_what_is_shared_is_what_may_be_done_where_one_may_share(
    rules: list[Rule], who: list[str], folder: FolderName, lent: Verbs, name: FileName | FolderName
) -> None:
    shared = access_of(rules, who).shared(folder, lent)
    own = by_the_page(rules, who, name)
    expected = own & lent if name.startswith(folder) and Verbs.SHARE in own else NOTHING
    assert shared.verbs(name) == expected
    assert Verbs.SHARE not in shared.verbs(name) or Verbs.SHARE in lent


@pytest.mark.parametrize("text", ["", "readers", "list,", "list,-", "Read"])
def test_what_is_neither_a_role_nor_verbs_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a role"):
        parse_verbs(text)
