"""Whose account it is that another server signs in, on each database and over several servers."""

from __future__ import annotations

import asyncio

import pytest

from chunkstore.core.errors import (
    AccountExists,
    InvalidRequest,
    NoSuchAccount,
    SignOnFailed,
    UnknownIdentity,
)
from chunkstore.core.names import ROOT
from chunkstore.service.access.oidc import Claims
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import CodeNeeded, Principal, SessionCookie
from tests.conftest import on_each_backend
from tests.service.access.clock import SetClock
from tests.service.access.test_people import HERE, add

ISSUER = "https://login.example.org"


def somebody(subject: str = "5", name: str | None = None, issuer: str = ISSUER) -> Claims:
    return Claims(issuer, subject, name)


async def signed_in(people: People, claims: Claims, *, creates: bool = False) -> str:
    """Return the name of the account that somebody is signed in to."""
    found = await people.log_in_as(claims, HERE, creates=creates)
    assert not isinstance(found, CodeNeeded)
    assert found.account is not None
    return found.account.name


@on_each_backend
async def test_an_account_is_linked_and_unlinked(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    await add(people)
    await add(people, "bert")
    with pytest.raises(UnknownIdentity, match=f"issuer {ISSUER} and the subject 5"):
        await people.log_in_as(somebody(), HERE)
    await people.identities.link("ANNA", ISSUER, "5")
    await people.identities.link("anna", ISSUER, "5")
    # At once, at each server.
    for server in (people, elsewhere):
        assert await signed_in(server, somebody()) == "Anna"
    for other in (
        somebody("6"), somebody("5 "), somebody("05"), somebody(issuer="https://login.example.org/"),
        somebody(f'5", "{ISSUER}'),
    ):  # fmt: skip
        with pytest.raises(UnknownIdentity):
            await people.log_in_as(other, HERE)
    with pytest.raises(AccountExists, match="Anna"):
        await elsewhere.identities.link("bert", ISSUER, "5")
    # One account can be several people's.
    clock.advance(1)
    await people.identities.link("anna", "http://localhost:8080/realm", "x")
    assert [one.subject for one in await people.identities.all_of()] == ["5", "x"]
    found = await people.log_in_as(somebody(), HERE)
    assert isinstance(found, Principal)
    assert found.cookie is not None
    await elsewhere.identities.unlink("anna")
    clock.advance(1)
    for server in (people, elsewhere):
        assert (await server.sign_in(SessionCookie(found.cookie.value), HERE)).is_guest
        with pytest.raises(UnknownIdentity):
            await server.log_in_as(somebody(), HERE)
    with pytest.raises(NoSuchAccount):
        await people.identities.unlink("anna")
    await people.identities.link("bert", ISSUER, "5")
    assert await signed_in(elsewhere, somebody()) == "bert"


@pytest.mark.parametrize(
    ("issuer", "subject"),
    [
        ("http://login.example.org", "5"),
        ("ftp://login.example.org", "5"),
        ("login.example.org", "5"),
        ("https://", "5"),
        ("https://[", "5"),
        ("https://login.example.org?x", "5"),
        ("https://login.example.org#x", "5"),
        ("https://anna@login.example.org", "5"),
        ("https://login.example.org/\n", "5"),
        ("https://" + "x" * 3000, "5"),
        (ISSUER, ""),
        (ISSUER, "x" * 256),
        (ISSUER, "ä"),
        (ISSUER, "5\n"),
        (ISSUER, "\ud800"),
    ],
)
async def test_what_no_provider_can_say_is_not_linked(
    people: People, issuer: str, subject: str
) -> None:
    await add(people)
    with pytest.raises(InvalidRequest):
        await people.identities.link("anna", issuer, subject)


async def test_what_a_removed_account_was_linked_with_is_nobody_s(people: People) -> None:
    await add(people)
    await people.identities.link("anna", ISSUER, "5")
    await people.accounts.remove("anna")
    await add(people)
    with pytest.raises(UnknownIdentity):
        await people.log_in_as(somebody(), HERE)
    assert await people.identities.all_of() == []
    await people.identities.link("anna", ISSUER, "5")
    assert await signed_in(people, somebody()) == "Anna"


async def test_gitea_cve_2026_58422_another_server_wakes_no_disabled_account(
    people: People,
) -> None:
    """Gitea CVE-2026-58422."""
    await add(people)
    await people.identities.link("anna", ISSUER, "5")
    await people.accounts.set_disabled("anna", disabled=True)
    for creates in (False, True):
        with pytest.raises(SignOnFailed, match="disabled"):
            await people.log_in_as(somebody(name="other"), HERE, creates=creates)
    assert (await people.directory.reload()).accounts["anna"].disabled


@on_each_backend
async def test_of_many_at_once_one_adds_the_account(people: People, elsewhere: People) -> None:
    await add(people)
    names = await asyncio.gather(
        *(
            signed_in(server, somebody(name="Cleo"), creates=True)
            for server in (people, elsewhere) * 4
        )
    )
    assert set(names) == {"Cleo"}
    assert set((await people.directory.reload()).accounts) == {"anna", "cleo"}
    assert len(await people.identities.all_of()) == 1
    # Another of that name has to be linked by the administrator.
    with pytest.raises(UnknownIdentity, match="no new account with your name, 'cleo'"):
        await people.log_in_as(somebody("6", "cleo"), HERE, creates=True)


@on_each_backend
async def test_of_two_accounts_that_are_linked_with_one_at_once_one_is(
    people: People, elsewhere: People
) -> None:
    await add(people)
    await add(people, "bert")
    done = await asyncio.gather(
        people.identities.link("anna", ISSUER, "5"),
        elsewhere.identities.link("bert", ISSUER, "5"),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AccountExists) for one in done) == 1
    [identity] = await people.identities.all_of()
    assert await signed_in(people, somebody()) in ("Anna", "bert")
    assert identity.account in ("anna", "bert")


async def test_filebrowser_cve_2026_32760_who_is_added_may_do_nothing(people: People) -> None:
    """filebrowser CVE-2026-32760, -35607; no group of the provider counts either."""
    await add(people)
    found = await people.log_in_as(somebody(name="new"), HERE, creates=True)
    assert isinstance(found, Principal)
    assert not found.access.leads_somewhere(ROOT)


async def test_an_open_store_stays_open(people: People) -> None:
    with pytest.raises(UnknownIdentity):
        await people.log_in_as(somebody(name="new"), HERE, creates=True)
    assert (await people.directory.reload()).is_open
