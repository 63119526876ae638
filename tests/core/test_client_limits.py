"""How long slow clients are waited for: the rule alone."""

from __future__ import annotations

import pytest

from chunkstore.core.client_limits import Limits, SlowClientAllowance


def test_one_who_sends_nothing_is_given_up() -> None:
    allowance = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    assert allowance.timeout_seconds == 10
    allowance.spend(6, 0)
    assert allowance.timeout_seconds == 4
    assert not allowance.exhausted
    allowance.spend(4, 0)
    assert allowance.exhausted


def test_bytes_earn_allowance_back_but_no_more_than_there_was() -> None:
    allowance = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    allowance.spend(6, 300)
    assert allowance.timeout_seconds == 7
    allowance.spend(1, 1_000_000)
    assert allowance.timeout_seconds == 10


@pytest.mark.parametrize(("size", "exhausted"), [(99, True), (100, False), (101, False)])
def test_the_rate_decides_in_the_long_run(size: int, exhausted: bool) -> None:
    allowance = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    for _ in range(1001):
        allowance.spend(1, size)
    assert allowance.exhausted is exhausted


def test_without_a_rate_any_byte_renews_it() -> None:
    allowance = SlowClientAllowance(Limits(idle_seconds=10, min_rate=0))
    allowance.spend(9, 0)
    allowance.spend(9, 1)
    assert allowance.timeout_seconds == 10
    allowance.spend(10, 0)
    assert allowance.exhausted


def test_without_a_time_it_never_ends() -> None:
    allowance = SlowClientAllowance(Limits(idle_seconds=0, min_rate=100))
    allowance.spend(1e9, 0)
    assert allowance.timeout_seconds is None
    assert not allowance.exhausted


def test_renewing_forgets_what_was() -> None:
    allowance = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    allowance.spend(20, 0)
    allowance.renew()
    assert allowance.timeout_seconds == 10


@pytest.mark.parametrize(
    ("head", "idle", "shortest"), [(2, 3, 2), (3, 2, 2), (0, 3, 3), (2, 0, 2), (0, 0, 0)]
)
def test_the_shortest_time_that_is_bounded(head: float, idle: float, shortest: float) -> None:
    assert Limits(head_seconds=head, idle_seconds=idle).shortest_seconds == shortest
