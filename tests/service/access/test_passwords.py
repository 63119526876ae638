"""Which passwords can be chosen, and how they are checked."""

from __future__ import annotations

import asyncio
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.errors import PasswordRefused, SignInBusy
from chunkstore.service.access import passwords as passwords_module
from chunkstore.service.access.passwords import (
    MAX_SIZE,
    Passwords,
    _repeated_part,
    require_possible,
)
from tests.service.access.clock import SetClock
from tests.service.access.conftest import OTHER_PASSWORD, PASSWORD

Counter = Callable[[], int]


@pytest.fixture
async def passwords(clock: SetClock) -> AsyncIterator[Passwords]:
    passwords = Passwords(clock)
    yield passwords
    passwords.close()


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Return how often argon2 has compared."""
    verify, made = passwords_module._verify, []

    def counted(stored: str, password: str) -> bool:
        made.append(stored)
        return verify(stored, password)

    monkeypatch.setattr(passwords_module, "_verify", counted)
    return lambda: len(made)


@pytest.mark.parametrize(
    "password",
    [
        "short of fifteen"[:14],
        "passwordpassword",
        "Password1234567",
        "123456789012345",
        "abcdefghijklmnop",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "AnnaAnnaAnnaAnna",
        "anna1234567890123",
        "chunkstore2026!!!",
        "qwertyuiop12345",
        "1q2w3e4r5t6y7u8i",
        "p-a-s-s-w-o-r-d-1-2-3",
        "x" * (MAX_SIZE + 1),
        "\ud800 is half of a character",
        "",
    ],
)
def test_what_is_guessed_first_or_cannot_be_is_refused(password: str) -> None:
    with pytest.raises(PasswordRefused):
        require_possible(password, "Anna")


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "the only rule is length",
        "                   spaces too                  ",
        "パスワードは長さだけが大事です。",
        "31415926535897932384",
        "anna likes bread and butter",
        ("more than sixty-four characters " * 8)[:200] + "!",
        ("ab cd ef gh ij kl mn op qr st uv wx yz " * 40)[: MAX_SIZE // 2] + "and its end",
    ],
)
def test_nothing_but_length_and_being_guessed_counts(password: str) -> None:
    require_possible(password, "Anna")


def test_where_fewer_characters_do_the_other_rules_hold() -> None:
    require_possible("kq8!vz2m", "Anna", least=8)
    for refused in ("kq8!vz2", "password", "anna1234"):
        with pytest.raises(PasswordRefused):
            require_possible(refused, "Anna", least=8)


@given(st.text("ab", min_size=1, max_size=12), st.integers(2, 5), st.integers(0, 5))
def test_what_is_repeated_is_found(part: str, times: int, more: int) -> None:
    text = part * times + part[:more]
    found = _repeated_part(text)
    assert len(found) <= len(part)
    assert (found * len(text))[: len(text)] == text


async def test_a_password_is_right_whatever_form_its_characters_have(passwords: Passwords) -> None:
    password = "Grüße an die Bücherwürmer"
    stored = await passwords.hash(unicodedata.normalize("NFD", password), "anna")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.verify("anna", unicodedata.normalize("NFC", password), stored)
    assert await passwords.verify("anna", unicodedata.normalize("NFD", password), stored)
    assert not await passwords.verify("anna", password.upper(), stored)
    assert not passwords.needs_rehash(stored)


async def test_one_that_was_right_is_remembered_for_five_minutes(
    passwords: Passwords, clock: SetClock, checks: Counter
) -> None:
    stored = await passwords.hash(PASSWORD, "anna")
    for _ in range(3):
        assert await passwords.verify("anna", PASSWORD, stored)
    assert checks() == 1
    clock.advance(299)
    assert passwords.is_remembered("anna", PASSWORD, stored)
    # That it was used does not make it last.
    assert await passwords.verify("anna", PASSWORD, stored)
    clock.advance(1)
    assert not passwords.is_remembered("anna", PASSWORD, stored)
    assert await passwords.verify("anna", PASSWORD, stored)
    assert checks() == 2


async def test_what_is_remembered_is_of_one_name_and_one_hash(
    passwords: Passwords, checks: Counter
) -> None:
    stored = await passwords.hash(PASSWORD, "anna")
    assert await passwords.verify("anna", PASSWORD, stored)
    assert not passwords.is_remembered("bert", PASSWORD, stored)
    assert not passwords.is_remembered("anna", PASSWORD + " ", stored)
    # The same password anew: another salt, another hash.
    assert not passwords.is_remembered("anna", PASSWORD, await passwords.hash(PASSWORD, "anna"))
    changed = await passwords.hash(OTHER_PASSWORD, "anna")
    assert not await passwords.verify("anna", PASSWORD, changed)
    # A name that runs into the password is no other pair of them.
    assert not passwords.is_remembered("annac", PASSWORD[1:], stored)


async def test_what_is_wrong_is_not_remembered(passwords: Passwords, checks: Counter) -> None:
    stored = await passwords.hash(PASSWORD, "anna")
    for _ in range(2):
        assert not await passwords.verify("anna", OTHER_PASSWORD, stored)
    assert checks() == 2


async def test_many_who_give_the_same_at_once_share_one_check(
    passwords: Passwords, checks: Counter
) -> None:
    stored = await passwords.hash(PASSWORD, "anna")
    first = asyncio.create_task(passwords.verify("anna", PASSWORD, stored))
    await asyncio.sleep(0)
    others = [asyncio.create_task(passwords.verify("anna", PASSWORD, stored)) for _ in range(100)]
    await asyncio.sleep(0)
    # One who goes away does not take it from the others.
    first.cancel()
    assert await asyncio.gather(*others) == [True] * 100
    assert checks() == 1


async def test_two_at_once_some_wait_and_more_are_refused(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    def slow(stored: str, password: str) -> bool:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        go_on.wait(60)
        with lock:
            running[0] -= 1
        return False

    monkeypatch.setattr(passwords_module, "_verify", slow)
    waiting = [
        asyncio.create_task(passwords.verify("anna", f"{PASSWORD}{number}", None))
        for number in range(34)
    ]
    await asyncio.sleep(0)
    with pytest.raises(SignInBusy):
        await passwords.verify("anna", PASSWORD, None)
    go_on.set()
    assert await asyncio.gather(*waiting) == [False] * 34
    assert most[0] == 2
    assert not await passwords.verify("anna", PASSWORD, None)


async def test_a_hash_of_other_parameters_is_to_be_made_anew(passwords: Passwords) -> None:
    old = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1)
    stored = await asyncio.to_thread(old.hash, PASSWORD)
    assert passwords.needs_rehash(stored)
    assert await passwords.verify("anna", PASSWORD, stored)
    assert not passwords.needs_rehash(await passwords.rehash(PASSWORD))


@pytest.mark.parametrize("stored", ["", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuv"])
async def test_a_hash_that_is_none_fits_no_password(passwords: Passwords, stored: str) -> None:
    assert not await passwords.verify("anna", PASSWORD, stored)
    assert not passwords.needs_rehash(stored)
