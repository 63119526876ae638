"""One-time codes, and second factors of accounts, on each database and over several servers."""

from __future__ import annotations

import asyncio
from base64 import b32encode
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from argon2 import PasswordHasher
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.access import EVERYTHING
from chunkstore.core.errors import (
    AlreadyExists,
    CodeRefused,
    NotFound,
    PasswordNeeded,
    PasswordRefused,
    SignInFailed,
    TooManyAttempts,
)
from chunkstore.core.names import ROOT
from chunkstore.service.access import passwords as passwords_module
from chunkstore.service.access.limiter import CODES
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import (
    Basic,
    Bearer,
    CodeNeeded,
    NewCookie,
    Principal,
    SessionCookie,
)
from chunkstore.service.access.second_factors import Enrolled
from chunkstore.service.access.totp import code_at, find_step, new_totp_secret, step_of, to_uri
from tests.conftest import on_each_backend
from tests.service.access.clock import SetClock
from tests.service.access.conftest import OTHER_PASSWORD, PASSWORD
from tests.service.access.test_people import HERE, add, cookie_of, outcome

# RFC 6238, appendix B: its codes have eight digits, of which ours are the last six.
_RFC_SECRET = b32encode(b"12345678901234567890").decode()
_RFC_CODES = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]


@pytest.mark.parametrize(("seconds", "code"), _RFC_CODES)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert code_at(_RFC_SECRET, step_of(moment)) == code
    assert find_step(_RFC_SECRET, code, moment, 0) == step_of(moment)


@given(st.integers(10, 2**40), st.integers(-4, 4), st.integers(-4, 4))
def test_a_code_counts_a_step_before_and_after_its_own_and_once(
    step: int, late: int, used: int
) -> None:
    moment = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=30 * (step % 10**8))
    now = step_of(moment)
    found = find_step(_RFC_SECRET, code_at(_RFC_SECRET, now + late), moment, now + used)
    # Another step may have the same code, which happens once in a million.
    if found is None or found == now + late:
        assert (found is not None) == (abs(late) <= 1 and late > used)


def test_the_uri_is_one_that_apps_read() -> None:
    secret = new_totp_secret()
    assert len(secret) == 32
    uri = urlsplit(to_uri(secret, "files.example.org:8443", "Änna@hr"))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert unquote(uri.path) == "/files.example.org 8443:Änna@hr"
    fields = {name: values[0] for name, values in parse_qs(uri.query).items()}
    assert fields == {
        "secret": secret,
        "issuer": "files.example.org 8443",
        "algorithm": "SHA1",
        "digits": "6",
        "period": "30",
    }


class Phone:
    """An app that shows codes."""

    def __init__(self, clock: SetClock, secret: str) -> None:
        self._clock = clock
        self.secret = secret

    def code(self, late: int = 0) -> str:
        return code_at(self.secret, step_of(self._clock.now()) + late)

    def wrong(self) -> str:
        shown = {self.code(late) for late in (-1, 0, 1)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in shown)


async def signed_in(people: People, cookie: SessionCookie) -> Principal:
    principal = await people.sign_in(cookie, HERE)
    assert not principal.is_guest
    return principal


def session_of(cookie: NewCookie | None) -> SessionCookie:
    assert cookie is not None
    return SessionCookie(cookie.value)


async def enrol(people: People, clock: SetClock) -> tuple[Phone, Enrolled]:
    """Give anna a second factor, and let the time of its first code pass."""
    principal = await signed_in(people, await cookie_of(people))
    begun = await people.totp.begin(principal)
    phone = Phone(clock, begun.secret)
    enrolled = await people.totp.confirm(principal, begun.id, phone.code())
    clock.advance(30)
    return phone, enrolled


async def waiting(people: People, name: str = "anna") -> str:
    """Return the cookie of somebody who has given the right password."""
    found = await people.log_in(name, PASSWORD, HERE, "/files/x/")
    assert isinstance(found, CodeNeeded)
    return found.cookie.value


@on_each_backend
async def test_a_second_factor_is_added_used_and_removed(people: People, clock: SetClock) -> None:
    await add(people)
    phone, enrolled = await enrol(people, clock)
    principal, led = await people.give_code(await waiting(people), phone.code(), HERE)
    assert led == "/files/x/"
    assert principal.may_change_credentials(clock.now())
    again = await signed_in(people, session_of(principal.cookie))
    assert again.access.verbs(ROOT) == EVERYTHING
    assert len(set(enrolled.recovery_codes)) == 10
    account = (await people.directory.current()).accounts["anna"]
    assert await people.totp.recovery_codes_left(account) == 10
    clock.advance(30)
    with pytest.raises(AlreadyExists):
        await people.totp.begin(again)
    await people.totp.remove(again, phone.code())
    assert isinstance(await people.log_in("anna", PASSWORD, HERE), Principal)
    account = (await people.directory.current()).accounts["anna"]
    assert await people.totp.recovery_codes_left(account) is None
    with pytest.raises(NotFound):
        await people.totp.remove(again, phone.code())


async def test_it_does_not_count_before_a_code_of_it_was_given(
    people: People, clock: SetClock
) -> None:
    await add(people)
    principal = await signed_in(people, await cookie_of(people))
    first = await people.totp.begin(principal)
    begun = await people.totp.begin(principal)
    assert isinstance(await people.log_in("anna", PASSWORD, HERE), Principal)
    phone = Phone(clock, begun.secret)
    with pytest.raises(CodeRefused):
        await people.totp.confirm(principal, begun.id, phone.wrong())
    # The one that was begun before is gone, and another's is not theirs.
    await add(people, "bert")
    bert = await signed_in(people, await cookie_of(people, "bert"))
    for who, factor in ((principal, first.id), (principal, "x"), (bert, begun.id)):
        with pytest.raises(NotFound):
            await people.totp.confirm(who, factor, phone.code())
    clock.advance(timedelta(minutes=9))
    assert isinstance(await people.log_in("anna", PASSWORD, HERE), Principal)
    await people.totp.confirm(principal, begun.id, phone.code())
    assert isinstance(await people.log_in("anna", PASSWORD, HERE), CodeNeeded)


@on_each_backend
async def test_with_it_all_sessions_end_but_the_one_that_it_was_added_in(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    await add(people)
    others = [await cookie_of(people) for _ in range(3)]
    clock.advance(1)
    for other in others:
        await signed_in(elsewhere, other)
    _, enrolled = await enrol(people, clock)
    for other in others:
        for server in (people, elsewhere):
            assert (await server.sign_in(other, HERE)).is_guest
    for server in (people, elsewhere):
        await signed_in(server, session_of(enrolled.cookie))
    account = (await people.directory.current()).accounts["anna"]
    assert len(await people.sessions_of(account)) == 1


@on_each_backend
async def test_what_is_begun_by_a_session_or_a_password_knows_it_at_once_everywhere(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    """Not after some seconds, in which the password alone would do, or the session not yet."""
    await add(people)
    principal = await signed_in(people, await cookie_of(people))
    begun = await people.totp.begin(principal)
    phone = Phone(clock, begun.secret)
    await elsewhere.directory.current()
    # From here on no time passes.
    enrolled = await people.totp.confirm(principal, begun.id, phone.code())
    await signed_in(elsewhere, session_of(enrolled.cookie))
    first, second, *_ = enrolled.recovery_codes
    principal, _ = await elsewhere.give_code(await waiting(elsewhere), first, HERE)
    await people.totp.remove(principal, second)
    assert isinstance(await elsewhere.log_in("anna", PASSWORD, HERE), Principal)


async def test_only_who_has_just_signed_in_changes_it(people: People, clock: SetClock) -> None:
    await add(people)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    cookie = await cookie_of(people)
    clock.advance(timedelta(minutes=10))
    for credentials in (cookie, Bearer(made.text), Basic("anna", PASSWORD)):
        principal = await people.sign_in(credentials, HERE)
        for change in (
            people.totp.begin(principal),
            people.totp.confirm(principal, "x", "000000"),
            people.totp.remove(principal, "000000"),
            people.totp.renew_recovery_codes(principal, "000000"),
        ):
            with pytest.raises(PasswordNeeded):
                await change
    confirmed = await people.confirm(cookie.value, PASSWORD, HERE)
    await people.totp.begin(confirmed)


async def test_removing_it_takes_a_code_besides_a_recent_password(
    people: People, clock: SetClock
) -> None:
    await add(people)
    phone, enrolled = await enrol(people, clock)
    principal = await signed_in(people, session_of(enrolled.cookie))
    for code in (phone.wrong(), "", phone.code(-1), "x" * 100_000, "\ud800", "١٢٣٤٥٦"):
        with pytest.raises(CodeRefused):
            await people.totp.remove(principal, code)
    assert isinstance(await people.log_in("anna", PASSWORD, HERE), CodeNeeded)
    await people.totp.remove(principal, f" {phone.code()[:3]} {phone.code()[3:]}")


@on_each_backend
async def test_a_recovery_code_counts_once_however_it_is_written(
    people: People, clock: SetClock
) -> None:
    await add(people)
    phone, enrolled = await enrol(people, clock)
    first, second, third, *_ = enrolled.recovery_codes
    assert len(first) == 19
    for code in (first, second.lower().replace("-", " ")):
        await people.give_code(await waiting(people), code, HERE)
        with pytest.raises(CodeRefused):
            await people.give_code(await waiting(people), code, HERE)
    principal, _ = await people.give_code(await waiting(people), phone.code(), HERE)
    account = (await people.directory.current()).accounts["anna"]
    assert await people.totp.recovery_codes_left(account) == 8
    clock.advance(30)
    renewed = await people.totp.renew_recovery_codes(principal, phone.code())
    with pytest.raises(CodeRefused):
        await people.give_code(await waiting(people), third, HERE)
    await people.give_code(await waiting(people), renewed[0], HERE)


@on_each_backend
async def test_the_administrator_removes_it(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    await add(people)
    await enrol(people, clock)
    cookie = await waiting(people)
    await elsewhere.totp.remove_of("ANNA")
    clock.advance(1)
    # What waits for a code goes on with nothing.
    with pytest.raises(NotFound):
        await elsewhere.totp.remove_of("anna")
    with pytest.raises(SignInFailed):
        await people.give_code(cookie, "000000", HERE)
    assert isinstance(await people.log_in("anna", PASSWORD, HERE), Principal)
    assert isinstance(await people.sign_in(Basic("anna", PASSWORD), HERE), Principal)


async def test_nist_sp_800_63b_a_password_is_as_long_beside_a_second_factor(
    people: People, clock: SetClock
) -> None:
    """It is what is left when the second factor is removed."""
    await add(people)
    await enrol(people, clock)
    with pytest.raises(PasswordRefused):
        await people.accounts.set_password("anna", "kq8!vz2m")


# Between the password and the code


async def test_nextcloud_cve_2026_45691_between_password_and_code_nothing_is_valid(
    people: People, clock: SetClock
) -> None:
    """Nextcloud CVE-2026-45691: the password alone was enough for WebDAV."""
    await add(people)
    phone, _ = await enrol(people, clock)
    made = await people.accounts.add_token("anna", "ci", ((ROOT, EVERYTHING),), None)
    cookie = await waiting(people)
    assert (await people.sign_in(SessionCookie(cookie), HERE)).is_guest
    for credentials in (Bearer(cookie), Basic("anna", PASSWORD), Basic("anna", cookie)):
        assert await outcome(people, credentials) is SignInFailed
    for password in (PASSWORD, cookie):
        with pytest.raises(SignInFailed):
            await people.confirm(cookie, password, HERE)
    # A code alone is nothing either, also with another's cookie.
    for other in ("", "x", made.text, "\ud800"):
        with pytest.raises(SignInFailed):
            await people.give_code(other, phone.code(), HERE)
    assert isinstance(await outcome(people, Basic("anna", made.text)), Principal)
    await people.give_code(cookie, phone.code(), HERE)
    clock.advance(30)
    # And once it was used.
    with pytest.raises(SignInFailed):
        await people.give_code(cookie, phone.code(), HERE)


async def test_what_was_remembered_of_a_password_does_not_count_beside_a_second_factor(
    people: People, clock: SetClock
) -> None:
    await add(people)
    await people.sign_in(Basic("anna", PASSWORD), HERE)
    await enrol(people, clock)
    await waiting(people)
    assert await outcome(people, Basic("anna", PASSWORD)) is SignInFailed


@pytest.mark.parametrize("change", ["password", "disabled", "removed", "late"])
async def test_a_sign_in_that_waits_ends_with_what_it_was_begun_by(
    people: People, clock: SetClock, change: str
) -> None:
    await add(people)
    phone, _ = await enrol(people, clock)
    cookie = await waiting(people)
    match change:
        case "password":
            await people.accounts.set_password("anna", OTHER_PASSWORD)
        case "disabled":
            await people.accounts.set_disabled("anna", disabled=True)
            with pytest.raises(SignInFailed):
                await people.give_code(cookie, phone.code(), HERE)
            await people.accounts.set_disabled("anna", disabled=False)
        case "removed":
            await people.accounts.remove("anna")
            await add(people)
        case _:
            clock.advance(timedelta(minutes=5))
    with pytest.raises(SignInFailed):
        await people.give_code(cookie, phone.code(), HERE)


@on_each_backend
async def test_gitea_cve_2026_20779_a_code_counts_once_also_for_many_at_once(
    people: People, elsewhere: People, clock: SetClock
) -> None:
    """Gitea CVE-2026-20779: a code that was sent twice at once was taken twice."""
    await add(people)
    phone, enrolled = await enrol(people, clock)
    for code in (phone.code(), enrolled.recovery_codes[0]):
        clock.advance(timedelta(hours=2))
        code = phone.code() if len(code) == 6 else code
        cookies = [await waiting(server) for server in (people, elsewhere) * 4]
        given = await asyncio.gather(
            *(
                server.give_code(cookie, code, HERE)
                for server, cookie in zip((people, elsewhere) * 4, cookies, strict=True)
            ),
            return_exceptions=True,
        )
        assert sum(not isinstance(one, Exception) for one in given) == 1
        assert {type(one) for one in given if isinstance(one, Exception)} == {CodeRefused}
        # Nor is it later, at whichever server.
        for server in (people, elsewhere):
            with pytest.raises(CodeRefused):
                await server.give_code(await waiting(server), code, HERE)


async def test_a_code_of_before_one_that_was_used_does_not_count(
    people: People, clock: SetClock
) -> None:
    await add(people)
    phone, _ = await enrol(people, clock)
    clock.advance(300)
    before, now = phone.code(-1), phone.code()
    await people.give_code(await waiting(people), now, HERE)
    with pytest.raises(CodeRefused):
        await people.give_code(await waiting(people), before, HERE)


async def test_nextcloud_cve_2021_32705_codes_are_limited_wherever_they_are_given(
    people: People, clock: SetClock
) -> None:
    """Also by those who have the password, from many addresses, and in a session."""
    await add(people)
    phone, enrolled = await enrol(people, clock)
    principal = await signed_in(people, session_of(enrolled.cookie))
    cookie = await waiting(people)
    for attempt in range(CODES.at_once // 2):
        with pytest.raises(CodeRefused):
            await people.totp.remove(principal, phone.wrong())
        with pytest.raises(CodeRefused):
            await people.give_code(cookie, phone.wrong(), f"198.51.100.{attempt}")
    # Not even the right one is looked at.
    with pytest.raises(TooManyAttempts) as refused:
        await people.give_code(cookie, phone.code(), HERE)
    assert 0 < refused.value.retry_after_seconds <= CODES.interval_seconds
    with pytest.raises(TooManyAttempts):
        await people.totp.remove(principal, phone.code())
    with pytest.raises(TooManyAttempts):
        await people.totp.renew_recovery_codes(principal, phone.code())
    # Who guesses keeps nobody waiting who has kept the recovery codes.
    await people.give_code(cookie, enrolled.recovery_codes[0], HERE)
    clock.advance(CODES.interval_seconds)
    await people.give_code(await waiting(people), phone.code(), HERE)


async def test_owasp_strangers_without_the_password_keep_nobody_from_giving_codes(
    people: People, clock: SetClock
) -> None:
    await add(people)
    phone, _ = await enrol(people, clock)
    for _ in range(40):
        with pytest.raises((SignInFailed, TooManyAttempts)):
            await people.give_code("x", "000000", "198.51.100.7")
    await people.give_code(await waiting(people), phone.code(), HERE)


async def test_no_second_factor_is_shown_by_what_is_logged(people: People, clock: SetClock) -> None:
    await add(people)
    principal = await signed_in(people, await cookie_of(people))
    begun = await people.totp.begin(principal)
    enrolled = await people.totp.confirm(
        principal, begun.id, code_at(begun.secret, step_of(clock.now()))
    )
    found = await people.log_in("anna", PASSWORD, HERE)
    factor = await people.totp._find(begun.id, (await people.directory.current()).accounts["anna"])
    shown = repr([begun, enrolled, found, factor, await people.directory.current()])
    assert isinstance(found, CodeNeeded)
    for secret in (begun.secret, *enrolled.recovery_codes, found.cookie.value):
        assert secret not in shown


_STEPS = st.lists(
    st.sampled_from(
        ["add", "remove", "admin", "passwd", "disable", "enable", "now", "before", "again",
         "recovery", "used recovery", "wrong", "nothing", "basic", "wait"]
    ),
    max_size=25,
)  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=_STEPS)
async def test_whatever_happens_a_session_begins_with_a_code_that_nobody_used(
    people: People,
    elsewhere: People,
    clock: SetClock,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[str],
) -> None:
    """A model of which codes count, against the real ones, at two servers."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords_module, "_HASHER", cheap)
    clock.advance(100_000)
    if "anna" in (await people.directory.reload()).accounts:
        await people.accounts.remove("anna")
    await add(people)
    phone: Phone | None = None
    last, recovery, used, password, disabled = 0, list[str](), list[str](), PASSWORD, False
    sessions: list[SessionCookie] = [await cookie_of(people)]
    for number, step in enumerate(steps):
        server = (people, elsewhere)[number % 2]
        now = step_of(clock.now())
        match step:
            case "add" if phone is None and sessions and not disabled:
                principal = await server.confirm(sessions[-1].value, password, HERE)
                begun = await server.totp.begin(principal)
                phone, last = Phone(clock, begun.secret), now
                enrolled = await server.totp.confirm(principal, begun.id, phone.code())
                recovery, used = list(enrolled.recovery_codes), []
                sessions = [session_of(enrolled.cookie)]
            case "remove" if phone is not None and sessions and recovery and not disabled:
                principal = await server.confirm(sessions[-1].value, password, HERE)
                sessions[-1] = session_of(principal.cookie)
                await server.totp.remove(principal, recovery.pop())
                phone = None
            case "admin" if phone is not None:
                await server.totp.remove_of("anna")
                phone = None
            case "passwd":
                password = f"{PASSWORD} {number}"
                await server.accounts.set_password("anna", password)
                sessions = []
            case "disable" | "enable":
                disabled = step == "disable"
                await server.accounts.set_disabled("anna", disabled=disabled)
                sessions = []
            case "wait":
                clock.advance(30)
            case _ if disabled:
                with pytest.raises(SignInFailed):
                    await server.log_in("anna", password, HERE)
            case "basic":
                clock.advance(1)
                assert (await outcome(server, Basic("anna", password)) is SignInFailed) == (
                    phone is not None
                )
            case _:
                found = await server.log_in("anna", password, HERE)
                assert isinstance(found, CodeNeeded) == (phone is not None)
                if isinstance(found, Principal):
                    sessions.append(session_of(found.cookie))
                    continue
                assert phone is not None
                code, counts = {
                    "now": (phone.code(), last < now),
                    "before": (phone.code(-1), last < now - 1),
                    "again": (code_at(phone.secret, last), False),
                    "recovery": (recovery[-1], True) if recovery else ("", False),
                    "used recovery": (used[-1] if used else "", False),
                    "wrong": (phone.wrong(), False),
                }.get(step, ("", False))
                try:
                    begun_session, _ = await server.give_code(found.cookie.value, code, HERE)
                except CodeRefused:
                    assert not counts
                    # Else too many of them are refused at last.
                    clock.advance(CODES.interval_seconds)
                    continue
                assert counts
                sessions.append(session_of(begun_session.cookie))
                if step == "recovery":
                    used.append(recovery.pop())
                else:
                    last = now if step == "now" else now - 1
        for cookie in sessions[-2:]:
            for each in (people, elsewhere):
                assert not (await each.sign_in(cookie, HERE)).is_guest
