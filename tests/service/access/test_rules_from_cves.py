"""What others have had to learn about signing in: one test for each rule, named after its case."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.access import EVERYTHING, NOTHING, ROLES
from chunkstore.core.errors import AccountExists, SignInFailed, TooManyAttempts
from chunkstore.core.names import ROOT, FileName, FolderName
from chunkstore.service.access import passwords as passwords_module
from chunkstore.service.access import tokens
from chunkstore.service.access.limiter import BY_ADDRESS
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import Basic, Bearer, Credentials, SessionCookie, Via
from tests.backends import Backend
from tests.service.access.clock import SetClock
from tests.service.access.conftest import OTHER_PASSWORD, PASSWORD
from tests.service.access.test_people import BUILD, CI, HERE, THERE, add, cookie_of, outcome

Counter = Callable[[], list[str]]
# What a password is given by: Basic, and the form of the page.
CARRIERS = ["basic", "form"]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Return the hashes that argon2 has compared with, as often as it has."""
    verify, made = passwords_module._verify, list[str]()

    def counted(stored: str, password: str) -> bool:
        made.append(stored)
        return verify(stored, password)

    monkeypatch.setattr(passwords_module, "_verify", counted)
    return lambda: made


async def give(people: People, carrier: str, name: str, password: str) -> object:
    if carrier == "basic":
        return await people.sign_in(Basic(name, password), HERE)
    return await people.log_in(name, password, HERE)


async def test_filebrowser_cve_2026_35605_a_rule_of_a_folder_is_none_of_a_longer_name(
    people: People,
) -> None:
    await people.accounts.add("anna", None)
    await people.accounts.allow("anna", FolderName("a/"), EVERYTHING)
    snapshot = await people.directory.current()
    access = snapshot.access_of(snapshot.accounts["anna"])
    assert access.verbs(FileName("a/b")) == EVERYTHING
    for name in ("ab", "ab/c", "a", "A/b", "a b/c"):
        assert access.verbs(FileName(name)) == NOTHING


async def test_gitea_cve_2026_28699_a_token_is_the_same_as_bearer_and_as_basic(
    people: People,
) -> None:
    await add(people)
    scope = ((CI, ROLES["contributor"]),)
    made = await people.accounts.add_token("anna", "ci", scope, None)
    bearer = await people.sign_in(Bearer(made.text), HERE)
    # Whatever the name: one that exists, another's, one that nobody has, none.
    await add(people, "bert")
    for name in ("anna", "bert", "nobody", "", "x" * 1000):
        basic = await people.sign_in(Basic(name, made.text), HERE)
        assert basic.access.verbs(BUILD) == bearer.access.verbs(BUILD) == ROLES["contributor"]
        assert (basic.via, basic.id, basic.label) == (Via.TOKEN, bearer.id, bearer.label)
    with pytest.raises(SignInFailed):
        await people.log_in("anna", made.text, HERE)


async def test_gitea_ghsa_683j_3ff6_hh2x_tokens_make_no_tokens(
    people: People, clock: SetClock
) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    for credentials in (Bearer(made.text), Basic("anna", made.text), Basic("anna", PASSWORD)):
        principal = await people.sign_in(credentials, HERE)
        assert not principal.may_change_credentials(clock.now())


async def test_filebrowser_cve_2026_32760_a_new_account_may_do_nothing(people: People) -> None:
    await add(people)
    await people.accounts.add("new", PASSWORD)
    principal = await people.sign_in(Basic("new", PASSWORD), HERE)
    assert not principal.access.leads_somewhere(ROOT)


async def test_filebrowser_cve_2026_62685_names_that_look_the_same_are_refused(
    people: People,
) -> None:
    await add(people, "Straße")
    for name in ("STRASSE", "strasse", "\uff53trasse"):
        with pytest.raises(AccountExists):
            await people.accounts.add(name, PASSWORD)


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_filebrowser_cve_2026_23849_an_unknown_name_costs_what_a_wrong_password_costs(
    people: People, hashed: Counter, carrier: str
) -> None:
    await add(people)
    await people.accounts.add("robot", None)
    await add(people, "gone")
    await people.accounts.set_disabled("gone", disabled=True)
    told = set()
    for name in ("anna", "nobody", "robot", "gone", "not a name:\x00"):
        before = len(hashed())
        with pytest.raises(SignInFailed) as refused:
            await give(people, carrier, name, OTHER_PASSWORD)
        told.add(str(refused.value))
        assert len(told) == 1
        # One comparison with a hash of the same parameters.
        [stored] = hashed()[before:]
        assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_filebrowser_cve_2026_54092_a_long_password_is_refused_before_hashing(
    people: People, hashed: Counter, carrier: str
) -> None:
    await add(people)
    for password in ("x" * 1025, "é" * 513, "x" * 10_000_000):
        for name in ("anna", "nobody"):
            with pytest.raises(SignInFailed):
                await give(people, carrier, name, password)
    assert hashed() == []


@pytest.mark.parametrize("first", ["basic", "form", "token", "text"])
async def test_owncloud_cve_2026_84473_one_limiter_for_every_carrier(
    people: People, first: str
) -> None:
    await add(people)

    async def guess(carrier: str) -> None:
        match carrier:
            case "basic" | "form":
                await give(people, carrier, "nobody", OTHER_PASSWORD)
            case "token":
                await people.sign_in(Bearer(tokens.new_token()), HERE)
            case _:
                await people.sign_in(Bearer("text"), HERE)

    for _ in range(BY_ADDRESS.at_once):
        with pytest.raises(SignInFailed):
            await guess(first)
    for carrier in ("basic", "form", "token", "text"):
        with pytest.raises(TooManyAttempts) as refused:
            await guess(carrier)
        assert refused.value.retry_after_seconds > 0


async def test_owasp_strangers_lock_nobody_out(people: People, clock: SetClock) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    cookie = await cookie_of(people)
    await people.sign_in(Basic("anna", PASSWORD), HERE)
    clock.advance(1000)
    outcomes = [
        await outcome(people, Basic("anna", f"{OTHER_PASSWORD}{host}"), f"198.51.100.{host}")
        for host in range(40)
    ]
    assert TooManyAttempts in outcomes
    # From where they were before, with what was right just now, and by what cannot be guessed.
    clock.advance(1)
    for credentials in (Basic("anna", PASSWORD), Bearer(made.text), cookie):
        assert not isinstance(await outcome(people, credentials), type)
    assert not isinstance(await outcome(people, Bearer(made.text), "198.51.100.1"), type)
    # From elsewhere they wait for seconds.
    assert await outcome(people, Basic("anna", PASSWORD + "!"), THERE) is TooManyAttempts
    clock.advance(10)
    assert not isinstance(await outcome(people, Basic("anna", PASSWORD), THERE), type)


async def test_nextcloud_cve_2021_22915_ipv6_counts_by_64(people: People) -> None:
    await add(people)
    outcomes = [
        await outcome(people, Bearer("x"), f"2001:db8:0:1:{host:x}::1")
        for host in range(BY_ADDRESS.at_once + 1)
    ]
    assert outcomes[-1] is TooManyAttempts
    assert await outcome(people, Bearer("x"), "2001:db8:0:2::1") is SignInFailed


async def test_sftpgo_cve_2024_52801_session_ids_are_random_and_new_at_each_log_in(
    people: People,
) -> None:
    await add(people)
    values = {(await cookie_of(people)).value for _ in range(20)}
    assert len(values) == 20
    # 256 bits in base 64.
    assert {len(value) for value in values} == {43}


async def test_filebrowser_cve_2025_53826_logging_out_ends_the_session_at_the_server(
    people: People,
) -> None:
    await add(people)
    cookie, other = await cookie_of(people), await cookie_of(people)
    await people.log_out(await people.sign_in(cookie, HERE))
    assert (await people.sign_in(cookie, HERE)).is_guest
    assert not (await people.sign_in(other, HERE)).is_guest


@pytest.mark.parametrize("keep_tokens", [False, True])
async def test_memos_cve_2024_21635_another_password_ends_sessions_and_tokens(
    people: People, elsewhere: People, clock: SetClock, keep_tokens: bool
) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    cookie = await cookie_of(people)
    clock.advance(1)
    for server in (people, elsewhere):
        await server.sign_in(Basic("anna", PASSWORD), HERE)
        await server.sign_in(cookie, HERE)
        await server.sign_in(Bearer(made.text), HERE)
    await people.accounts.set_password("anna", OTHER_PASSWORD, keep_tokens=keep_tokens)
    clock.advance(1)
    for server in (people, elsewhere):
        # Not though it was remembered.
        assert await outcome(server, Basic("anna", PASSWORD)) is SignInFailed
        assert (await server.sign_in(cookie, HERE)).is_guest
        assert (await outcome(server, Bearer(made.text)) is SignInFailed) != keep_tokens
        await server.sign_in(Basic("anna", OTHER_PASSWORD), HERE)


async def test_harbor_go_2026_4876_what_is_shown_of_credentials_has_no_secret(
    people: People,
) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    logged_in = await people.log_in("anna", PASSWORD, HERE)
    assert logged_in.cookie is not None
    shown = repr(
        [
            logged_in,
            made,
            Basic("anna", PASSWORD),
            Bearer(made.text),
            SessionCookie(logged_in.cookie.value),
            await people.directory.current(),
        ]
    )
    for secret in (PASSWORD, made.text, logged_in.cookie.value, "argon2id"):
        assert secret not in shown


async def test_no_secret_is_in_the_database(people: People, backend: Backend) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    cookie = await cookie_of(people)
    stored = str(await backend.rows.fetch("SELECT * FROM record"))
    for secret in (PASSWORD, made.text, made.text[4:], cookie.value):
        assert secret not in stored


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.sampled_from(["log in", "token", "passwd", "disable", "enable", "revoke", "log out"]),
        max_size=8,
    )
)
async def test_whatever_happens_each_credential_is_what_was_made_of_it_last(
    people: People, clock: SetClock, monkeypatch: pytest.MonkeyPatch, steps: list[str]
) -> None:
    """A model of which credentials count, against the real ones, by every carrier."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords_module, "_HASHER", cheap)
    # Left by another example.
    clock.advance(100_000)
    if "anna" in (await people.directory.reload()).accounts:
        await people.accounts.remove("anna")
    await add(people)
    password, disabled = PASSWORD, False
    valid: dict[Credentials, bool] = {}
    ids: dict[Credentials, str] = {}
    for number, step in enumerate(steps):
        clock.advance(1)
        match step:
            case "log in" if not disabled:
                principal = await people.log_in("anna", password, HERE)
                assert principal.cookie is not None
                cookie = SessionCookie(principal.cookie.value)
                valid[cookie] = True
            case "token":
                made = await people.accounts.add_token("anna", "x", ((ROOT, EVERYTHING),), None)
                for token in (Bearer(made.text), Basic("y", made.text)):
                    valid[token], ids[token] = True, made.token.id
            case "passwd":
                password = f"{PASSWORD} {number}"
                await people.accounts.set_password("anna", password)
                valid = dict.fromkeys(valid, False)
            case "disable" | "enable":
                disabled = step == "disable"
                await people.accounts.set_disabled("anna", disabled=disabled)
                for one in valid:
                    valid[one] = valid[one] and not isinstance(one, SessionCookie)
            case "revoke" if ids:
                token_id = next(reversed(ids.values()))
                revoked = [one for one, other in ids.items() if other == token_id]
                if valid[revoked[0]]:
                    await people.accounts.revoke_token(token_id)
                for one in revoked:
                    del ids[one]
                    valid[one] = False
            case "log out":
                cookies = [one for one in valid if isinstance(one, SessionCookie) and valid[one]]
                if cookies and not disabled:
                    await people.log_out(await people.sign_in(cookies[-1], HERE))
                    valid[cookies[-1]] = False
        expected = {**valid, Basic("anna", password): True}
        if password != PASSWORD:
            expected[Basic("anna", PASSWORD)] = False
        for credentials, counts in expected.items():
            clock.advance(20)
            found = await outcome(people, credentials)
            is_in = not isinstance(found, type) and getattr(found, "account", None) is not None
            assert is_in == (counts and not disabled), (credentials, step)


async def test_many_requests_of_many_clients_at_once_are_who_they_are(people: People) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((CI, ROLES["reader"]),), None)
    await people.accounts.add("bert", None)
    other = await people.accounts.add_token("bert", "ci", ((CI, ROLES["reader"]),), None)
    principals = await asyncio.gather(
        *(people.sign_in(Bearer(text), HERE) for _ in range(50) for text in (made.text, other.text))
    )
    names = [principal.account.name for principal in principals if principal.account]
    assert names == ["Anna", "bert"] * 50
