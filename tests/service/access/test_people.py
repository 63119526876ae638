"""Signing in by whatever credentials, and sessions."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.access import EVERYONE, EVERYTHING, NOTHING, OPEN, ROLES
from chunkstore.core.errors import (
    NoSuchAccount,
    RecordsChanged,
    SignInBusy,
    SignInFailed,
    StoreFull,
    TooManyAttempts,
)
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.access import passwords as passwords_module
from chunkstore.service.access import tokens
from chunkstore.service.access.limiter import BY_ADDRESS
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import (
    ANYBODY,
    Basic,
    Bearer,
    Credentials,
    NoCredentials,
    Principal,
    SessionCookie,
    Via,
)
from chunkstore.store.contract.records import Records
from chunkstore.store.contract.store import Store
from tests.conftest import on_each_backend
from tests.service.access.clock import SetClock
from tests.service.access.conftest import OTHER_PASSWORD, PASSWORD

HERE, THERE = "192.0.2.1", "198.51.100.1"
CI = FolderName("ci/")
BUILD = FileName("ci/build.zip")


async def add(people: People, name: str = "Anna", *, admin: bool = True) -> None:
    await people.accounts.add(name, PASSWORD, admin=admin)


async def cookie_of(people: People, name: str = "anna") -> SessionCookie:
    principal = await people.log_in(name, PASSWORD, HERE)
    assert principal.cookie is not None
    return SessionCookie(principal.cookie.value)


async def outcome(people: People, credentials: Credentials, address: str = HERE) -> object:
    """Return who somebody is found to be, or what they are refused by."""
    try:
        return await people.sign_in(credentials, address)
    except (SignInFailed, TooManyAttempts) as error:
        return type(error)


@pytest.mark.parametrize(
    "credentials",
    [NoCredentials(), Basic("x", "y"), Bearer("cks_x"), Bearer("z"), SessionCookie("z")],
)
async def test_without_accounts_everybody_is_anybody_whatever_they_send(
    people: People, credentials: Credentials
) -> None:
    for _ in range(100):
        assert await people.sign_in(credentials, HERE) == ANYBODY
    assert ANYBODY.access == OPEN
    with pytest.raises(SignInFailed):
        await people.log_in("x", "y", HERE)


@on_each_backend
async def test_each_credential_says_who_somebody_is(people: People) -> None:
    await add(people)
    await people.accounts.allow(EVERYONE, ROOT, ROLES["reader"])
    account = (await people.directory.current()).accounts["anna"]
    guest = await people.sign_in(NoCredentials(), HERE)
    assert (guest.is_guest, guest.id, guest.account) == (True, "", None)
    assert guest.access.verbs(BUILD) == ROLES["reader"]
    by_password = await people.sign_in(Basic("ANNA", PASSWORD), HERE)
    assert by_password.via is Via.PASSWORD
    made = await people.accounts.add_token("anna", "ci", ((CI, ROLES["contributor"]),), None)
    by_token = await people.sign_in(Bearer(made.text), HERE)
    assert (by_token.via, by_token.label) == (Via.TOKEN, "ci")
    assert by_token.credential_id == made.token.id
    by_session = await people.sign_in(await cookie_of(people), HERE)
    assert by_session.via is Via.SESSION
    for principal in (by_password, by_token, by_session):
        assert principal.account is not None
        assert (principal.id, principal.account.name) == (account.id, "Anna")
    assert by_password.access.verbs(BUILD) == by_session.access.verbs(BUILD) == EVERYTHING
    assert by_token.access.verbs(BUILD) == ROLES["contributor"]
    assert by_token.access.verbs(FileName("else")) == NOTHING


@pytest.mark.parametrize(
    "credentials",
    [
        Basic("anna", OTHER_PASSWORD),
        Basic("anna", ""),
        Basic("", ""),
        Basic("nobody", PASSWORD),
        Basic("anna\x00", PASSWORD),
        Basic("\ud800", "\ud800" * 20),
        Basic("x" * 100_000, PASSWORD),
        Basic("anna", "\u0344" * 40_000),
        Basic("anna", tokens.new_token()),
        Bearer(tokens.new_token()),
        Bearer("cks_" + "a" * 38),
        Bearer(""),
        Bearer(PASSWORD),
        Bearer("\ud800"),
    ],
)
async def test_what_is_not_right_is_refused_also_where_guests_may_read(
    people: People, credentials: Credentials
) -> None:
    await add(people)
    await people.accounts.allow(EVERYONE, ROOT, ROLES["reader"])
    with pytest.raises(SignInFailed):
        await people.sign_in(credentials, HERE)


async def test_a_dead_cookie_is_a_guest_s_who_loses_it(people: People) -> None:
    await add(people)
    for value in ("", "x", tokens.new_secret(), "\ud800", "x" * 10_000):
        principal = await people.sign_in(SessionCookie(value), HERE)
        assert principal.is_guest
        assert principal.cookie is not None
        assert (principal.cookie.value, principal.cookie.max_age_seconds) == ("", 0)


@on_each_backend
async def test_a_revoked_token_is_dead_elsewhere_within_two_seconds(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    clock.advance(1)
    assert isinstance(await outcome(elsewhere, Bearer(made.text)), Principal)
    await people.accounts.revoke_token(made.token.id)
    assert await outcome(people, Bearer(made.text)) is SignInFailed
    clock.advance(1)
    assert await outcome(elsewhere, Bearer(made.text)) is SignInFailed
    with pytest.raises(NoSuchAccount):
        await people.accounts.revoke_token(made.token.id)


@on_each_backend
async def test_a_session_that_ended_is_dead_elsewhere_within_two_seconds(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    await add(people)
    cookie = await cookie_of(people)
    clock.advance(1)
    principal = await elsewhere.sign_in(cookie, HERE)
    assert not principal.is_guest
    await people.log_out(principal)
    assert (await people.sign_in(cookie, HERE)).is_guest
    clock.advance(1)
    assert (await elsewhere.sign_in(cookie, HERE)).is_guest


async def test_a_disabled_account_is_out_by_every_credential_until_it_is_enabled(
    people: People,
) -> None:
    await add(people)
    cookie = await cookie_of(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    password, token = Basic("anna", PASSWORD), Bearer(made.text)
    await people.sign_in(password, HERE)
    await people.accounts.set_disabled("anna", disabled=True)
    # Also what was remembered a moment ago.
    assert await outcome(people, password) is SignInFailed
    assert await outcome(people, token) is SignInFailed
    assert (await people.sign_in(cookie, HERE)).is_guest
    await people.accounts.set_disabled("anna", disabled=False)
    assert isinstance(await outcome(people, password), Principal)
    assert isinstance(await outcome(people, token), Principal)
    assert (await people.sign_in(cookie, HERE)).is_guest


async def test_an_expired_token_is_none(people: People, clock: SetClock) -> None:
    await add(people)
    expires = clock.now() + timedelta(days=90)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), expires)
    clock.advance(timedelta(days=90) - timedelta(seconds=1))
    assert isinstance(await outcome(people, Bearer(made.text)), Principal)
    # Also while it is remembered.
    clock.advance(1)
    assert await outcome(people, Bearer(made.text)) is SignInFailed


async def test_a_token_never_has_more_than_its_account_has_now(people: People) -> None:
    await add(people, admin=False)
    await people.accounts.allow("anna", CI, ROLES["editor"])
    scope = ((ROOT, EVERYTHING),)
    token = Bearer((await people.accounts.add_token("anna", "all", scope, None)).text)
    assert (await people.sign_in(token, HERE)).access.verbs(BUILD) == ROLES["editor"]
    await people.accounts.allow("anna", CI, ROLES["reader"])
    principal = await people.sign_in(token, HERE)
    assert principal.access.verbs(BUILD) == ROLES["reader"]
    assert principal.access.verbs(FileName("x")) == NOTHING


@on_each_backend
async def test_the_day_on_which_a_token_was_used_is_kept(people: People, clock: SetClock) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    [token] = await people.accounts.tokens("anna")
    assert token.used is None
    for _ in range(3):
        await people.sign_in(Bearer(made.text), HERE)
        [token] = await people.accounts.tokens()
        assert token.used == clock.now().date().isoformat()
        clock.advance(timedelta(days=1))


async def test_a_full_disk_keeps_nobody_out(
    people: People, store: Store, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    cookie = await cookie_of(people)
    clock.advance(timedelta(days=2))

    async def full(*_: object, **__: object) -> None:
        raise StoreFull

    monkeypatch.setattr(type(store.records), "apply", full)
    assert isinstance(await outcome(people, Bearer(made.text)), Principal)
    assert not (await people.sign_in(cookie, HERE)).is_guest


# Rights that are judged again


@on_each_backend
async def test_the_rights_of_a_principal_are_those_of_now(people: People) -> None:
    await add(people, admin=False)
    guest = await people.sign_in(NoCredentials(), HERE)
    made = await people.accounts.add_token("anna", "ci", ((CI, EVERYTHING),), None)
    principals = [
        await people.sign_in(one, HERE)
        for one in (Basic("anna", PASSWORD), await cookie_of(people), Bearer(made.text))
    ]
    await people.accounts.allow("anna", CI, ROLES["editor"])
    await people.accounts.allow(EVERYONE, CI, ROLES["reader"])
    assert (await people.access_now(guest)).verbs(BUILD) == ROLES["reader"]
    for principal in principals:
        assert principal.access.verbs(BUILD) == NOTHING
        assert (await people.access_now(principal)).verbs(BUILD) == ROLES["editor"]
    await people.accounts.revoke_token(made.token.id)
    await people.log_out(principals[1])
    for principal in principals[1:]:
        with pytest.raises(SignInFailed):
            await people.access_now(principal)
    await people.access_now(principals[0])
    await people.accounts.set_password("anna", OTHER_PASSWORD)
    with pytest.raises(SignInFailed):
        await people.access_now(principals[0])
    again = await people.sign_in(Basic("anna", OTHER_PASSWORD), HERE)
    await people.accounts.remove("anna")
    with pytest.raises(SignInFailed):
        await people.access_now(again)


async def test_a_session_with_another_cookie_is_the_same_session(
    people: People, clock: SetClock
) -> None:
    await add(people)
    cookie = await cookie_of(people)
    principal = await people.sign_in(cookie, HERE)
    clock.advance(timedelta(days=1))
    assert (await people.sign_in(cookie, HERE)).cookie is not None
    clock.advance(120)
    assert (await people.sign_in(cookie, HERE)).is_guest
    assert (await people.access_now(principal)).verbs(BUILD) == EVERYTHING
    await people.accounts.set_disabled("anna", disabled=True)
    with pytest.raises(SignInFailed):
        await people.access_now(principal)


async def test_who_is_anybody_is_a_guest_once_the_store_is_closed(people: People) -> None:
    assert await people.access_now(ANYBODY) == OPEN
    await add(people)
    assert (await people.access_now(ANYBODY)).verbs(BUILD) == NOTHING


async def test_rights_are_one_object_as_long_as_nothing_changes(people: People) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((CI, EVERYTHING),), None)
    credentials: list[Credentials] = [
        NoCredentials(),
        Basic("anna", PASSWORD),
        Bearer(made.text),
        await cookie_of(people),
    ]
    principals = [await people.sign_in(one, HERE) for one in credentials]
    for one, principal in zip(credentials, principals, strict=True):
        assert (await people.sign_in(one, HERE)).access is principal.access
        assert await people.access_now(principal) is principal.access
    await people.accounts.allow(EVERYONE, CI, ROLES["reader"])
    for one, principal in zip(credentials, principals, strict=True):
        assert (await people.sign_in(one, HERE)).access is not principal.access


# Sessions


async def test_a_session_gets_another_cookie_each_day_and_the_old_one_ends(
    people: People, clock: SetClock
) -> None:
    await add(people)
    first = await cookie_of(people)
    principal = await people.sign_in(first, HERE)
    assert principal.cookie is None
    clock.advance(timedelta(days=1))
    renewed = await people.sign_in(first, HERE)
    assert renewed.cookie is not None
    second = SessionCookie(renewed.cookie.value)
    assert second != first
    assert renewed.credential_id == principal.credential_id
    # Requests that are under way, which get no third one.
    clock.advance(59)
    for _ in range(2):
        old = await people.sign_in(first, HERE)
        assert (old.is_guest, old.cookie) == (False, None)
    clock.advance(1)
    assert (await people.sign_in(first, HERE)).is_guest
    assert not (await people.sign_in(second, HERE)).is_guest
    account = (await people.directory.current()).accounts["anna"]
    assert [one.id for one in await people.sessions_of(account)] == [principal.credential_id]


async def test_of_requests_at_once_one_gets_the_new_cookie(people: People, clock: SetClock) -> None:
    await add(people)
    cookie = await cookie_of(people)
    clock.advance(timedelta(days=1))
    principals = await asyncio.gather(*(people.sign_in(cookie, HERE) for _ in range(10)))
    assert not any(principal.is_guest for principal in principals)
    assert sum(principal.cookie is not None for principal in principals) == 1


async def test_a_session_ends_when_it_rests_for_a_week(people: People, clock: SetClock) -> None:
    await add(people)
    cookie = await cookie_of(people)
    clock.advance(timedelta(days=7) - timedelta(seconds=61))
    renewed = await people.sign_in(cookie, HERE)
    assert renewed.cookie is not None
    clock.advance(timedelta(days=7))
    assert (await people.sign_in(SessionCookie(renewed.cookie.value), HERE)).is_guest


async def test_a_session_that_is_used_each_day_ends_after_thirty(
    people: People, clock: SetClock
) -> None:
    await add(people)
    cookie = await cookie_of(people)
    days = 0
    while not (principal := await people.sign_in(cookie, HERE)).is_guest:
        if principal.cookie is not None:
            cookie = SessionCookie(principal.cookie.value)
        clock.advance(timedelta(days=1))
        days += 1
        assert days < 40
    assert days == 30


async def test_ending_a_session_ends_all_cookies_that_it_had(
    people: People, clock: SetClock
) -> None:
    await add(people)
    first = await cookie_of(people)
    clock.advance(timedelta(days=1))
    principal = await people.sign_in(first, HERE)
    assert principal.cookie is not None
    second = SessionCookie(principal.cookie.value)
    await people.log_out(principal)
    assert (await people.sign_in(first, HERE)).is_guest
    assert (await people.sign_in(second, HERE)).is_guest
    with pytest.raises(NoSuchAccount):
        await people.log_out(principal)


async def test_the_password_is_recent_for_ten_minutes_and_can_be_given_again(
    people: People, clock: SetClock
) -> None:
    await add(people)
    cookie = await cookie_of(people)
    assert (await people.sign_in(cookie, HERE)).may_change_credentials(clock.now())
    clock.advance(timedelta(minutes=10))
    assert not (await people.sign_in(cookie, HERE)).may_change_credentials(clock.now())
    with pytest.raises(SignInFailed):
        await people.confirm(cookie.value, OTHER_PASSWORD, HERE)
    confirmed = await people.confirm(cookie.value, PASSWORD, HERE)
    assert confirmed.may_change_credentials(clock.now())
    assert confirmed.cookie is not None
    again = await people.sign_in(SessionCookie(confirmed.cookie.value), HERE)
    assert again.may_change_credentials(clock.now())
    # The cookie that was there before is no better than it was.
    assert not (await people.sign_in(cookie, HERE)).may_change_credentials(clock.now())
    with pytest.raises(SignInFailed):
        await people.confirm("x", PASSWORD, HERE)


# Tokens


def test_tokens_have_a_form_and_a_checksum() -> None:
    text = tokens.new_token()
    assert tokens.is_token(text)
    assert len(text) == 42
    assert len({tokens.new_token() for _ in range(1000)}) == 1000


@given(st.integers(0, 41), st.characters(codec="utf-8"))
def test_a_changed_token_is_none(at: int, character: str) -> None:
    text = tokens.new_token()
    changed = text[:at] + character + text[at + 1 :]
    assert tokens.is_token(changed) == (changed == text)


@given(st.text())
def test_no_text_breaks_what_looks_at_tokens(text: str) -> None:
    assert not tokens.is_token(text)
    assert len(tokens.digest_of(text)) == 64


# Passwords


async def test_a_hash_of_old_parameters_is_made_anew_when_the_password_is_given(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
    with monkeypatch.context() as patch:
        patch.setattr(passwords_module, "_HASHER", old)
        await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    cookie_before = (await people.directory.current()).accounts["anna"]
    assert cookie_before.password is not None
    assert "m=8192" in cookie_before.password
    await people.sign_in(Basic("anna", PASSWORD), HERE)
    after = (await people.directory.current()).accounts["anna"]
    assert after.password is not None
    assert "m=19456" in after.password
    await people.sign_in(Basic("anna", PASSWORD), HERE)
    assert isinstance(await outcome(people, Bearer(made.text)), Principal)


async def test_an_account_without_a_password_has_tokens_only(people: People) -> None:
    await people.accounts.add("robot", None, admin=True)
    made = await people.accounts.add_token("robot", "ci", ((ROOT, EVERYTHING),), None)
    for password in ("", PASSWORD):
        assert await outcome(people, Basic("robot", password)) is SignInFailed
    assert isinstance(await outcome(people, Basic("robot", made.text)), Principal)


async def test_who_has_too_many_passwords_checked_is_told_to_wait(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> bool:
        raise SignInBusy

    await add(people)
    monkeypatch.setattr(passwords_module.Passwords, "verify", busy)
    # As often as it may be: what was not checked is no attempt to guess.
    for _ in range(2 * BY_ADDRESS.at_once):
        with pytest.raises(SignInBusy):
            await people.sign_in(Basic("anna", PASSWORD), HERE)


async def test_requests_at_once_with_the_right_password_are_all_let_in(people: People) -> None:
    """As those of a client that begins with many, or goes on when what is remembered ends."""
    await add(people)
    basic = Basic("anna", PASSWORD)
    found = await asyncio.gather(*(outcome(people, basic) for _ in range(3 * BY_ADDRESS.at_once)))
    assert all(isinstance(one, Principal) for one in found)


async def test_requests_at_once_with_one_wrong_password_are_one_attempt(people: People) -> None:
    await add(people)
    for number in range(BY_ADDRESS.at_once):
        wrong = Basic("anna", f"{OTHER_PASSWORD}{number}")
        found = await asyncio.gather(*(outcome(people, wrong) for _ in range(3)))
        assert found == [SignInFailed] * 3
    assert await outcome(people, Basic("anna", OTHER_PASSWORD)) is TooManyAttempts


async def test_a_change_that_others_undo_again_and_again_is_given_up(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed(*_: object, **__: object) -> None:
        raise RecordsChanged

    await add(people)
    monkeypatch.setattr(type(people.directory._records), "apply", changed)
    with pytest.raises(RecordsChanged):
        await people.accounts.remove("anna")
    assert issubclass(type(people.directory._records), Records)
