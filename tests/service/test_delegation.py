"""Commands of people who have signed in: nobody gives what they lack, or reaches elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from chunkstore.core.access import (
    EVERYONE,
    EVERYTHING,
    NOTHING,
    Access,
    Grant,
    Verbs,
    format_verbs,
    parse_verbs,
)
from chunkstore.core.errors import ChunkstoreError, Forbidden, NotFound, PasswordNeeded
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.access.commands import COMMANDS
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import Principal, SessionCookie
from chunkstore.service.command_needs import NEEDS
from chunkstore.service.delegation import Delegation
from chunkstore.store.contract.store import Store
from tests.service.access.clock import SetClock

HERE = "127.0.0.1"
FOLDERS = ["", "a/", "a/b/", "a/b/c/", "a/d/", "e/", "e/f/"]
PLACES: list[FileName | FolderName] = [
    *map(FolderName, FOLDERS),
    *(FileName(f"{folder}x") for folder in FOLDERS),
]
NAMES = ["anna", "bert", "cleo"]
GROUPS = ["@hr", "@it"]
SETS = [
    NOTHING, Verbs.LIST, Verbs.READ | Verbs.LIST, Verbs.ADMIN, Verbs.ADMIN | Verbs.READ,
    EVERYTHING & ~Verbs.WRITE, EVERYTHING, EVERYTHING,
]  # fmt: skip

# What only the command line does.
KEPT_BACK: set[str] = set()

State = Mapping[str, list[Verbs]]


@pytest.fixture
async def people(store: Store) -> AsyncIterator[People]:
    """Return people with accounts, `me` being one, and groups."""
    people = People(store.records, SetClock())
    for name in ["me", *NAMES]:
        await people.accounts.add(name, None)
    for group in GROUPS:
        await people.accounts.add_group(group)
    yield people
    people.close()


async def session_of(people: People, name: str = "me") -> Principal:
    """Return somebody who has just signed in."""
    account = (await people.directory.reload()).get(name)
    _, cookie = await people.sessions.begin(account, people.clock.now())
    return await people.sign_in(SessionCookie(cookie.value), HERE)


async def allow(people: People, subject: str, folder: str, verbs: str) -> None:
    await people.accounts.allow(subject, FolderName(folder), parse_verbs(verbs))


async def state_of(people: People) -> State:
    """Return what each subject may do in each place, by itself and with its groups."""
    snapshot = await people.directory.reload()
    subjects: dict[str, tuple[str, ...]] = {EVERYONE: (EVERYONE,)}
    subjects |= {group.subject: (group.subject,) for group in snapshot.groups.values()}
    subjects |= {one.key: snapshot.subjects_of(one) for one in snapshot.accounts.values()}
    accesses = {key: Access((Grant(snapshot.rules, each),)) for key, each in subjects.items()}
    return {key: [access.verbs(place) for place in PLACES] for key, access in accesses.items()}


def a_command(random: Random) -> tuple[str, dict[str, Any]]:
    subject = random.choice([*NAMES, "me", *GROUPS, EVERYONE])
    name, group = random.choice([*NAMES, "me"]), random.choice(GROUPS)
    verbs = random.choice(["inherit", *map(format_verbs, SETS)])
    rule = {"subject": subject, "folder": "/" + random.choice(FOLDERS), "verbs": verbs}
    members = {"group": group, "names": random.sample([*NAMES, "me"], 2)}
    token = {"label": "", "folders": ["/"], "verbs": "owner", "expires_seconds": 60}
    commands: list[tuple[str, dict[str, Any]]] = [
        *[("allow", rule)] * 8,
        ("user add", {"name": name, "password": None, "admin": random.random() < 0.5}),
        ("user remove", {"name": name}),
        ("user disable", {"name": name, "disabled": random.random() < 0.5}),
        ("group add", {"name": group}),
        ("group remove", {"name": group}),
        ("group join", members),
        ("group join", members),
        ("group leave", members),
        ("token add", {"account": name, **token}),
    ]
    return random.choice(commands)


async def shuffle(people: People, random: Random) -> None:
    """Make other rules, groups and accounts, as the command line may."""
    snapshot = await people.directory.reload()
    for name in ["me", *NAMES]:
        if name not in snapshot.accounts:
            await people.accounts.add(name, None)
        await people.accounts.set_disabled(name, disabled=False)
    for group in GROUPS:
        if group[1:] not in snapshot.groups:
            await people.accounts.add_group(group)
        with suppress(ChunkstoreError):
            await people.accounts.join(group, random.choice(NAMES))
            await people.accounts.leave(group, random.choice([*NAMES, "me"]))
    for rule in snapshot.kept_rules:
        if random.random() < 0.5:
            with suppress(ChunkstoreError):
                await people.accounts.allow(rule.subject, rule.folder, None)
    for _ in range(6):
        subject = random.choice([*NAMES, "me", "me", "me", *GROUPS, EVERYONE])
        folder = random.choice(FOLDERS[:4] if subject == "me" else FOLDERS)
        await people.accounts.allow(subject, FolderName(folder), random.choice(SETS))


@pytest.mark.parametrize("seed", range(6))
async def test_nobody_gives_what_they_lack_or_reaches_where_they_do_not_administer(
    people: People, seed: int
) -> None:
    random, delegation, made = Random(seed), Delegation(people), 0
    for _ in range(30):
        await shuffle(people, random)
        before = await state_of(people)
        mine = before["me"]
        administers = [Verbs.ADMIN in verbs for verbs in mine]
        me = await session_of(people)
        for _ in range(12):
            command, arguments = a_command(random)
            try:
                await delegation.run(me, command, arguments)
            except ChunkstoreError:
                continue
            made += 1
            if command == "token add" and arguments["account"] != "me":
                theirs = (await state_of(people))[arguments["account"]]
                assert all(their in own for their, own in zip(theirs, mine, strict=True))
            for subject, verbs in (await state_of(people)).items():
                known = before.get(subject, before[EVERYONE])
                for now, then, own, may in zip(verbs, known, mine, administers, strict=True):
                    assert now in then | own, (command, arguments, subject)
                    # Who has the whole store also has its accounts and groups.
                    if not may and not administers[0]:
                        assert now == then, (command, arguments, subject)
    assert made > 20


async def test_each_command_has_a_need_or_is_kept_back() -> None:
    assert set(NEEDS) | KEPT_BACK == set(COMMANDS)
    for name, need in NEEDS.items():
        assert need.changes == (name.split()[-1] not in ("ls", "rules", "who-can", "audit")), name


async def test_a_command_of_no_need_is_nobodys(people: People) -> None:
    await allow(people, "me", "", "owner")
    me = await session_of(people)
    with pytest.raises(NotFound):
        await Delegation(people).run(me, "collect", {})


async def test_who_administers_a_folder_does_not_lock_out_those_above(people: People) -> None:
    await allow(people, "anna", "", "owner")
    await allow(people, "me", "a/", "owner")
    run, me = Delegation(people).run, await session_of(people)
    with pytest.raises(Forbidden, match="anna administers a folder above"):
        await run(me, "allow", {"subject": "anna", "folder": "/a/b/", "verbs": "reader"})
    await run(me, "allow", {"subject": "anna", "folder": "/a/b/", "verbs": "admin"})
    await run(me, "allow", {"subject": "bert", "folder": "/a/b/", "verbs": "-"})
    with pytest.raises(Forbidden):
        await run(me, "allow", {"subject": "bert", "folder": "/", "verbs": "reader"})


async def test_forgetting_a_cut_gives_what_is_above_it(people: People) -> None:
    await allow(people, EVERYONE, "", "reader")
    await allow(people, EVERYONE, "a/", "-")
    await allow(people, "me", "a/", "admin")
    run, me = Delegation(people).run, await session_of(people)
    with pytest.raises(Forbidden, match="give or take list and read"):
        await run(me, "allow", {"subject": EVERYONE, "folder": "/a/", "verbs": "inherit"})


async def test_nobody_takes_over_an_account_that_may_do_more(people: People) -> None:
    await allow(people, "anna", "", "owner")
    await allow(people, "me", "", "list,admin")
    await people.accounts.set_disabled("anna", disabled=True)
    run, me = Delegation(people).run, await session_of(people)
    password = {"name": "anna", "password": "a long word and more", "keep_tokens": False}
    for command, arguments in (
        ("user passwd", password),
        ("user disable", {"name": "anna", "disabled": False}),
        ("user remove", {"name": "anna"}),
        ("user add", {"name": "dora", "password": None, "admin": True}),
    ):
        with pytest.raises(Forbidden):
            await run(me, command, arguments)
    await run(me, "user disable", {"name": "bert", "disabled": True})


async def test_nobody_ends_their_own_account(people: People) -> None:
    await allow(people, "me", "", "owner")
    run, me = Delegation(people).run, await session_of(people)
    for command, more in (("user remove", {}), ("user disable", {"disabled": True})):
        with pytest.raises(Forbidden, match="their own account"):
            await run(me, command, {"name": "Me", **more})


async def test_two_who_disable_each_other_on_two_servers_leave_one(
    people: People, store: Store
) -> None:
    for name in ("me", "anna"):
        await allow(people, name, "", "owner")
    elsewhere = People.of(store)
    results = await asyncio.gather(
        Delegation(people).run(
            await session_of(people), "user disable", {"name": "anna", "disabled": True}
        ),
        Delegation(elsewhere).run(
            await session_of(elsewhere, "anna"), "user disable", {"name": "me", "disabled": True}
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, ChunkstoreError) for result in results) == 1
    accounts = (await people.directory.reload()).accounts
    assert sum(accounts[name].disabled for name in ("me", "anna")) == 1
    elsewhere.close()


async def test_credentials_need_a_password_that_was_just_given(people: People) -> None:
    run, me = Delegation(people).run, await session_of(people)
    token = {"account": "me", "label": "ci", "folders": ["/"], "verbs": "reader"}
    await run(me, "token add", {**token, "expires_seconds": 60})
    assert isinstance(people.clock, SetClock)
    people.clock.advance(601)
    for command, arguments in (
        ("token add", {**token, "expires_seconds": 60}),
        ("user passwd", {"name": "me", "password": "x" * 20, "keep_tokens": True}),
    ):
        with pytest.raises(PasswordNeeded):
            await run(me, command, arguments)
    # To see and to end things it need not be.
    [known] = await run(me, "token ls", {"account": "me"})
    await run(me, "token revoke", {"id": known["id"]})
    [known] = await run(me, "session ls", {"account": "me"})
    assert known["current"]
    await run(me, "session end", {"account": "me", "id": known["id"]})


async def test_what_is_anothers_is_not_there(people: People) -> None:
    run, me = Delegation(people).run, await session_of(people)
    other = await session_of(people, "anna")
    made = await people.accounts.add_token("anna", "", ((ROOT, EVERYTHING),), None)
    with pytest.raises(NotFound):
        await run(me, "token revoke", {"id": made.token.id})
    with pytest.raises(NotFound):
        await run(me, "session end", {"account": "me", "id": other.credential_id})
    for command, arguments in (
        ("session end", {"account": "anna", "id": other.credential_id}),
        ("session end-others", {"account": "anna"}),
        ("session ls", {"account": "anna"}),
        ("token ls", {"account": "anna"}),
        ("token ls", {"account": None}),
    ):
        with pytest.raises(Forbidden):
            await run(me, command, arguments)
    assert await run(other, "session ls", {"account": "anna"})


async def test_all_other_sessions_end(people: People) -> None:
    me, others = await session_of(people), [await session_of(people) for _ in range(3)]
    run = Delegation(people).run
    assert await run(me, "session end-others", {"account": "me"}) == {"ended": len(others)}
    assert [one["current"] for one in await run(me, "session ls", {"account": "me"})] == [True]


async def test_a_token_is_valid_for_a_year_at_most_and_there_are_not_too_many(
    people: People,
) -> None:
    run, me = Delegation(people).run, await session_of(people)
    token = {"account": "me", "label": "", "folders": ["/"], "verbs": "reader"}
    for seconds in (None, 400 * 24 * 3600):
        with pytest.raises(Forbidden, match="a year at most"):
            await run(me, "token add", {**token, "expires_seconds": seconds})
    for wrong in (0, -1, float("nan"), True, "60", 1e300, 10**400):
        with pytest.raises(ChunkstoreError):
            await run(me, "token add", {**token, "expires_seconds": wrong})
    for _ in range(200):
        await people.accounts.add_token("me", "", (), None)
    with pytest.raises(Forbidden, match="revoke"):
        await run(me, "token add", {**token, "expires_seconds": 60})


async def test_rules_are_shown_of_the_folders_that_one_administers(people: People) -> None:
    await allow(people, "me", "a/", "admin")
    await allow(people, "anna", "a/b/", "reader")
    await allow(people, "anna", "e/", "reader")
    me = await session_of(people)
    shown = await Delegation(people).run(me, "rules", {})
    assert [one["folder"] for one in shown] == ["/a/", "/a/b/"]
