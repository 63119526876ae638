"""Accounts, groups and rules as they are kept, and as processes know them."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.access import EVERYONE, EVERYTHING, NOTHING, ROLES, Verbs
from chunkstore.core.errors import (
    AccountExists,
    Forbidden,
    InvalidAccountName,
    InvalidRequest,
    NoSuchAccount,
    StoreDamaged,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.access import directory as directory_module
from chunkstore.service.access.account_names import fold, parse_account_name, parse_label
from chunkstore.service.access.directory import read_snapshot
from chunkstore.service.access.people import People
from chunkstore.service.access.values import Account
from chunkstore.store.contract.records import PutRecord, Record, Records
from chunkstore.store.contract.store import Store
from tests.backends import Backend
from tests.conftest import on_each_backend
from tests.service.access.clock import SetClock
from tests.service.access.conftest import OTHER_PASSWORD, PASSWORD

HR = FolderName("hr/")
FILE = FileName("hr/pay.ods")
GONE = (
    "Your account has been disabled or removed meanwhile, or its password was changed;"
    " sign in again."
)
READER, EDITOR, OWNER = ROLES["reader"], ROLES["editor"], ROLES["owner"]


async def rights(people: People, name: str | None, file: FileName = FILE) -> Verbs:
    snapshot = await people.directory.current()
    if name is None:
        return snapshot.guest.verbs(file)
    account = snapshot.find(name)
    assert account is not None
    return snapshot.access_of(account).verbs(file)


async def test_without_accounts_everybody_may_do_everything(people: People) -> None:
    snapshot = await people.directory.current()
    assert snapshot.is_open
    assert snapshot.guest.verbs(FILE) == EVERYTHING


@on_each_backend
async def test_the_first_account_closes_the_store_at_once(people: People) -> None:
    await people.accounts.add("Anna", None, admin=True)
    assert not (await people.directory.current()).is_open
    assert await rights(people, None) == NOTHING
    assert await rights(people, "anna") == EVERYTHING
    await people.accounts.add("bert", None)
    assert await rights(people, "bert") == NOTHING


async def test_a_store_whose_last_account_goes_stays_closed(people: People) -> None:
    await people.accounts.add("anna", None, admin=True)
    with pytest.raises(Forbidden):
        await people.accounts.open_to_everybody()
    await people.accounts.remove("anna")
    snapshot = await people.directory.current()
    assert not snapshot.accounts
    assert not snapshot.is_open
    assert snapshot.guest.verbs(FILE) == NOTHING
    await people.accounts.open_to_everybody()
    assert (await people.directory.current()).is_open


@on_each_backend
async def test_rules_are_of_accounts_groups_and_everyone(people: People) -> None:
    accounts = people.accounts
    for name in ("anna", "bert", "cleo"):
        await accounts.add(name, None)
    await accounts.add_group("@HR")
    await accounts.join("@hr", "bert")
    await accounts.allow(EVERYONE, ROOT, READER)
    await accounts.allow(EVERYONE, HR, NOTHING)
    await accounts.allow("@Hr", HR, EDITOR)
    await accounts.allow("ANNA", ROOT, OWNER)
    assert await rights(people, None) == NOTHING
    assert await rights(people, None, FileName("readme")) == READER
    assert await rights(people, "cleo") == NOTHING
    assert await rights(people, "bert") == EDITOR
    assert await rights(people, "anna") == EVERYTHING
    await accounts.allow(EVERYONE, HR, None)
    assert await rights(people, "cleo") == READER
    await accounts.leave("hr", "bert")
    assert await rights(people, "bert") == READER
    with pytest.raises(NoSuchAccount):
        await accounts.leave("hr", "bert")
    with pytest.raises(NoSuchAccount):
        await accounts.allow(EVERYONE, HR, None)


@pytest.mark.parametrize(
    "subject", ["nobody", "@nobody", "@anna", "@", "", "Everyone", "@everyone"]
)
async def test_no_rule_is_for_who_is_not_there(people: People, subject: str) -> None:
    await people.accounts.add("anna", None)
    with pytest.raises(NoSuchAccount):
        await people.accounts.allow(subject, HR, READER)


@on_each_backend
async def test_a_change_holds_elsewhere_within_two_seconds(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    await people.accounts.add("anna", None)
    await people.accounts.allow("anna", HR, READER)
    clock.advance(1)
    assert await rights(elsewhere, "anna") == READER
    await people.accounts.allow("anna", HR, NOTHING)
    assert await rights(people, "anna") == NOTHING
    # What was asked for less than a second ago is not asked for again.
    clock.advance(0.99)
    assert await rights(elsewhere, "anna") == READER
    clock.advance(0.02)
    assert await rights(elsewhere, "anna") == NOTHING


async def test_many_requests_at_once_ask_once(
    people: People, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = type(people.directory._records)
    revision, asked = records.revision, []

    async def counted(self: Records) -> int:
        asked.append(1)
        return await revision(self)

    await people.directory.current()
    monkeypatch.setattr(records, "revision", counted)
    clock.advance(1)
    await asyncio.gather(*(people.directory.current() for _ in range(100)))
    assert len(asked) == 1


async def test_however_many_sign_in_at_once_little_is_read(
    people: People, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, asked, read = type(store.records), [], []
    revision, find = records.revision, records.find

    async def counted(self: Records) -> int:
        asked.append(1)
        return await revision(self)

    async def found(self: Records, kind: str, key: str) -> Record | None:
        read.append(1)
        return await find(self, kind, key)

    await people.directory.current()
    await People.of(store).accounts.add("anna", None)
    monkeypatch.setattr(records, "revision", counted)
    monkeypatch.setattr(records, "find", found)
    seen = await asyncio.gather(*(people.directory.fresh() for _ in range(100)))
    assert all("anna" in snapshot.accounts for snapshot in seen)
    assert len(read) <= 2
    assert len(asked) <= 6
    asked.clear()
    await asyncio.gather(*(people.directory.fresh() for _ in range(100)))
    assert len(asked) <= 2


@on_each_backend
async def test_who_asks_anew_is_told_of_what_was_done_before(people: People, store: Store) -> None:
    """Also while others ask, whose question came too early; and one who gives up ends nothing."""
    elsewhere = People.of(store)
    for number in range(10):
        early = [asyncio.create_task(people.directory.fresh()) for _ in range(3)]
        await asyncio.sleep(0)
        early[number % 3].cancel()
        await elsewhere.accounts.add(f"a{number}", None)
        late = asyncio.create_task(people.directory.fresh())
        assert f"a{number}" in (await late).accounts
        await asyncio.gather(*early, return_exceptions=True)
    elsewhere.close()


async def test_a_store_that_does_not_tell_lets_nobody_in(
    people: People, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(self: Records) -> int:
        raise StoreDamaged

    monkeypatch.setattr(type(people.directory._records), "revision", failing)
    for _ in range(2):
        clock.advance(1)
        with pytest.raises(StoreDamaged):
            await people.directory.current()
    monkeypatch.undo()
    assert (await people.directory.current()).is_open


@pytest.mark.parametrize("value", ["", "{}", "[]", "null", '{"id": 1, "verbs": 5}'])
@pytest.mark.parametrize("kind", ["account", "group", "member", "rule"])
async def test_what_is_damaged_lets_nobody_in(
    people: People, store: Store, kind: str, value: str, clock: SetClock
) -> None:
    await people.accounts.add("anna", None, admin=True)
    await store.records.apply([PutRecord(kind, "bert x/", "", value)])
    clock.advance(1)
    with pytest.raises(StoreDamaged):
        await people.directory.current()


async def test_while_all_changes_all_the_time_something_is_read(
    people: People, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.accounts.add("anna", None)
    read_all = directory_module.read_all

    async def changing(records: Records, kind: str, owner: str | None = None) -> list[object]:
        await records.apply([PutRecord("rule", " x/", "", json.dumps({"id": "", "verbs": "-"}))])
        return list(await read_all(records, kind, owner))

    monkeypatch.setattr(directory_module, "read_all", changing)
    snapshot = await read_snapshot(store.records)
    assert list(snapshot.accounts) == ["anna"]
    # It is read again as soon as somebody asks.
    assert snapshot.revision != await store.records.revision()


async def test_ten_thousand_rules_are_read(people: People, store: Store) -> None:
    rule = json.dumps({"id": "", "verbs": "reader"})
    for start in range(0, 10_000, 2_500):
        await store.records.apply(
            [
                PutRecord("rule", f"everyone {number}/", "everyone", rule)
                for number in range(start, start + 2_500)
            ]
        )
    await people.accounts.add("anna", None)
    assert len((await people.directory.current()).kept_rules) == 10_000
    assert await rights(people, "anna", FileName("9999/x")) == READER
    assert await rights(people, "anna", FileName("99999/x")) == NOTHING


# Names


@pytest.mark.parametrize("name", ["anna", "Anna.B-2_x+y@example.org", "Ångström", "名前", "0", "à"])
def test_names_that_are_possible(name: str) -> None:
    assert fold(parse_account_name(name)) == fold(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "x" * 65, "a b", "a:b", "a/b", "@a", "-a", ".a", "a\n", "a\x00", "a\u200b", "a\u202e",
        "everyone", "EVERYONE", "\uff25veryone", "\ud800", "a\u00a0b", "ﬀ/", "℀", "a,b", "\u00b4",
        "\u0301", "x" * 5000, "²\u2044", "a\u037eb",
    ],
)  # fmt: skip
def test_names_that_are_not(name: str) -> None:
    with pytest.raises(InvalidAccountName):
        parse_account_name(name)


@given(st.text(max_size=8))
def test_folding_a_folded_name_changes_nothing(name: str) -> None:
    folded = fold(name)
    assert fold(folded) == folded


@given(st.text(max_size=8))
def test_a_name_folds_to_one_that_is_possible_in_keys(name: str) -> None:
    try:
        parsed = parse_account_name(name)
    except InvalidAccountName:
        return
    assert " " not in fold(parsed)
    assert not fold(parsed).startswith("@")
    assert fold(parsed) != EVERYONE


@pytest.mark.parametrize("other", ["ANNA", "\uff41nna", "Anna", "anna"])
async def test_one_of_a_name_that_looks_the_same_is_refused_not_rewritten(
    people: People, other: str
) -> None:
    await people.accounts.add("anna", None)
    with pytest.raises(AccountExists):
        await people.accounts.add(other, None)
    assert list((await people.directory.current()).accounts) == ["anna"]


async def test_of_many_who_add_the_same_name_at_once_one_does(people: People) -> None:
    names = ["anna", "Anna", "ANNA", "aNNa"]
    results = await asyncio.gather(
        *(people.accounts.add(name, None) for name in names), return_exceptions=True
    )
    assert sum(isinstance(result, Account) for result in results) == 1
    assert sum(isinstance(result, AccountExists) for result in results) == 3


@on_each_backend
async def test_of_two_who_put_each_other_out_on_two_servers_one_stays(
    people: People, store: Store
) -> None:
    elsewhere = People.of(store)
    for number in range(4):
        one, two = f"a{number}", f"b{number}"
        first, second = [await people.accounts.add(name, None, admin=True) for name in (one, two)]
        results = await asyncio.gather(
            people.accounts.set_disabled(two, disabled=True, by=first),
            elsewhere.accounts.remove(one, by=second)
            if number % 2
            else elsewhere.accounts.set_disabled(one, disabled=True, by=second),
            return_exceptions=True,
        )
        assert sorted(map(repr, results)) == sorted(["None", repr(Forbidden(GONE))]), number
    elsewhere.close()


@on_each_backend
async def test_who_is_put_out_by_another_password_leaves_nothing_behind(
    people: People, elsewhere: People
) -> None:
    issuer = "https://id.example.org"
    for number in range(4):
        name = f"a{number}"
        thief = await people.accounts.add(name, PASSWORD)
        await asyncio.gather(
            elsewhere.accounts.set_password(name, OTHER_PASSWORD),
            *(people.accounts.add_token(name, "", (), None, by=thief) for _ in range(3)),
            return_exceptions=True,
        )
        assert await people.accounts.tokens(name) == []
        changed = (await people.directory.reload()).get(name)
        for late in (
            people.accounts.add_token(name, "", (), None, by=thief),
            people.accounts.set_password(name, None, by=thief),
            people.identities.link(name, issuer, name, by=thief),
        ):
            with pytest.raises(Forbidden, match="sign in again"):
                await late
        assert (await people.directory.reload()).get(name) == changed
        assert await people.identities.all_of(changed) == []
        # Whoever knows the new password may.
        await people.accounts.add_token(name, "", (), None, by=changed)


async def test_nothing_of_a_removed_account_comes_back_with_its_name(
    people: People, store: Store
) -> None:
    accounts = people.accounts
    await accounts.add("root", None, admin=True)
    await accounts.add("anna", None)
    await accounts.add_group("staff")
    await accounts.join("staff", "anna")
    await accounts.allow("anna", HR, EDITOR)
    left = await store.records.list("rule", "anna")
    left_members = await store.records.list("member", "staff")
    await accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    await accounts.remove("anna")
    assert not await store.records.list("token", "anna")
    assert not await store.records.list("rule", "anna")
    # What somebody added while it was removed.
    await store.records.apply(
        [PutRecord(one.kind, one.key, one.owner, one.value) for one in [*left, *left_members]]
    )
    await accounts.add("Anna", None)
    assert await rights(people, "anna") == NOTHING
    snapshot = await people.directory.current()
    assert snapshot.subjects_of(snapshot.accounts["anna"]) == ("anna", EVERYONE)
    assert await accounts.tokens("anna") == []


async def test_nothing_of_a_removed_group_comes_back_with_its_name(
    people: People, store: Store
) -> None:
    await people.accounts.add("anna", None)
    await people.accounts.add_group("staff")
    await people.accounts.join("staff", "anna")
    await people.accounts.allow("@staff", HR, EDITOR)
    left = [*await store.records.list("rule"), *await store.records.list("member")]
    await people.accounts.remove_group("staff")
    await store.records.apply([PutRecord(one.kind, one.key, one.owner, one.value) for one in left])
    await people.accounts.add_group("Staff")
    assert await rights(people, "anna") == NOTHING


@on_each_backend
async def test_changes_of_two_servers_at_once_are_all_made(
    people: People, elsewhere: People, backend: Backend
) -> None:
    await people.accounts.add("anna", None)
    await asyncio.gather(
        *(
            server.accounts.allow("anna", FolderName(f"{number}{at}/"), READER)
            for at, server in enumerate((people, elsewhere))
            for number in range(5)
        ),
        people.accounts.set_disabled("anna", disabled=True),
        elsewhere.accounts.set_password("anna", None),
    )
    snapshot = await people.directory.reload()
    assert len(snapshot.kept_rules) == 10
    assert snapshot.accounts["anna"].disabled


@pytest.mark.parametrize("label", ["a" * 101, "two\nlines", "\x1b[2J"])
def test_a_label_is_short_and_can_be_shown_on_a_terminal(label: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_label(label)


def test_a_label_has_up_to_100_characters() -> None:
    assert parse_label("ü" * 100) == "ü" * 100
    assert not parse_label("")
