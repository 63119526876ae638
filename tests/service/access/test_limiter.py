"""How often somebody may fail to sign in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.errors import TooManyAttempts
from chunkstore.service.access import limiter as limiter_module
from chunkstore.service.access.limiter import BY_ADDRESS, BY_NAME, Allowance, Limiter, network_of
from tests.service.access.clock import SetClock


@pytest.fixture
def limiter(clock: SetClock) -> Limiter:
    return Limiter(clock)


def refused(limiter: Limiter, address: str, name: str | None = None) -> float:
    """Return for how many seconds an attempt is refused, 0 if it is not."""
    try:
        limiter.attempt(address, name)
    except TooManyAttempts as error:
        return error.retry_after_seconds
    return 0


def exhaust(limiter: Limiter, address: str, name: str | None = None) -> int:
    """Fail as often as an address may; return how often."""
    count = 0
    while not refused(limiter, address, name):
        count += 1
    return count


def test_an_address_may_fail_some_times_then_once_an_interval(
    limiter: Limiter, clock: SetClock
) -> None:
    assert exhaust(limiter, "192.0.2.1") == BY_ADDRESS.at_once
    assert refused(limiter, "192.0.2.1") == BY_ADDRESS.interval_seconds
    assert not refused(limiter, "192.0.2.2")
    clock.advance(BY_ADDRESS.interval_seconds)
    assert not refused(limiter, "192.0.2.1")
    assert refused(limiter, "192.0.2.1")
    clock.advance(BY_ADDRESS.interval_seconds * BY_ADDRESS.at_once)
    assert exhaust(limiter, "192.0.2.1") == BY_ADDRESS.at_once


def test_retry_after_is_when_the_next_attempt_is_possible(
    limiter: Limiter, clock: SetClock
) -> None:
    exhaust(limiter, "192.0.2.1")
    clock.advance(0.5)
    wait = refused(limiter, "192.0.2.1")
    assert wait > 0
    clock.advance(wait)
    assert not refused(limiter, "192.0.2.1")


def test_what_succeeds_does_not_count(limiter: Limiter) -> None:
    for _ in range(1000):
        limiter.succeeded(limiter.attempt("192.0.2.1", "anna"))
    assert exhaust(limiter, "192.0.2.1", "anna") == BY_ADDRESS.at_once


def test_many_addresses_together_guess_little_about_a_name(
    limiter: Limiter, clock: SetClock
) -> None:
    possible = sum(not refused(limiter, f"192.0.2.{host}", "anna") for host in range(200))
    assert possible == BY_NAME.at_once
    assert not refused(limiter, "192.0.2.250", "bert")
    clock.advance(BY_NAME.interval_seconds)
    assert not refused(limiter, "192.0.2.251", "anna")


def test_strangers_cannot_keep_out_who_signed_in_from_there_before(limiter: Limiter) -> None:
    limiter.signed_in("192.0.2.1", "anna")
    for host in range(2, 200):
        refused(limiter, f"192.0.2.{host}", "anna")
    assert refused(limiter, "192.0.2.222", "anna")
    attempt = limiter.attempt("192.0.2.1", "anna")
    limiter.succeeded(attempt)
    # And an address that is known for one name is none for another.
    for host in range(2, 200):
        refused(limiter, f"192.0.2.{host}", "bert")
    assert refused(limiter, "192.0.2.1", "bert")


def test_strangers_at_the_same_address_cannot_keep_out_who_signed_in_before(
    limiter: Limiter,
) -> None:
    """Behind a proxy that is not trusted, or NAT, all have one address."""
    limiter.signed_in("192.0.2.1", "anna")
    exhaust(limiter, "192.0.2.1", "bert")
    exhaust(limiter, "192.0.2.1")
    assert not refused(limiter, "192.0.2.1", "anna")
    assert refused(limiter, "192.0.2.1", "bert")


def test_who_is_known_may_not_guess_without_end_either(limiter: Limiter) -> None:
    limiter.signed_in("192.0.2.1", "anna")
    assert exhaust(limiter, "192.0.2.1", "anna") == BY_ADDRESS.at_once


def test_many_at_once_share_one_allowance(limiter: Limiter) -> None:
    """Attempts count when they begin, not when they have failed."""
    begun = [limiter.attempt("192.0.2.1", "anna") for _ in range(BY_ADDRESS.at_once)]
    assert refused(limiter, "192.0.2.1", "anna")
    limiter.succeeded(begun[0])
    assert not refused(limiter, "192.0.2.1", "anna")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0db8:0001:0002::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_what_an_address_counts_as(address: str, network: str) -> None:
    assert network_of(address) == network


def test_memory_is_bounded_and_the_oldest_goes_first(
    limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter_module, "_MOST_KEYS", 100)
    exhaust(limiter, "192.0.2.1")
    for host in range(99):
        limiter.attempt(f"198.51.100.{host}")
    assert refused(limiter, "192.0.2.1")
    limiter.attempt("203.0.113.1")
    assert not refused(limiter, "192.0.2.1")


@given(
    st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=60),
    st.integers(1, 5),
    st.integers(1, 20),
)
def test_no_pattern_of_attempts_gets_more_than_the_allowance(
    attempts: list[tuple[float, bool]], at_once: int, interval: int
) -> None:
    clock = SetClock()
    limiter = Limiter(clock, Allowance(at_once, interval), Allowance(1000, 1))
    failed: list[float] = []
    for pause, succeeds in attempts:
        clock.advance(pause)
        try:
            attempt = limiter.attempt("192.0.2.1")
        except TooManyAttempts:
            continue
        if succeeds:
            limiter.succeeded(attempt)
        else:
            failed.append(clock.monotonic())
    for first in range(len(failed)):
        for last in range(first, len(failed)):
            time = failed[last] - failed[first]
            assert last - first + 1 <= at_once + time / interval + 1e-6
