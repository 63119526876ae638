"""SlowClientAllowance with slow clients, without clients."""

from __future__ import annotations

import pytest

from chunkstore.core.client_limits import Limits, SlowClientAllowance


def test_one_who_sends_nothing_is_given_up() -> None:
    patience = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    assert patience.timeout_seconds == 10
    patience.spend(6, 0)
    assert patience.timeout_seconds == 4
    assert not patience.exhausted
    patience.spend(4, 0)
    assert patience.exhausted


def test_bytes_earn_patience_back_but_no_more_than_there_was() -> None:
    patience = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    patience.spend(6, 300)
    assert patience.timeout_seconds == 7
    patience.spend(1, 1_000_000)
    assert patience.timeout_seconds == 10


@pytest.mark.parametrize(("size", "exhausted"), [(99, True), (100, False), (101, False)])
def test_the_rate_decides_in_the_long_run(size: int, exhausted: bool) -> None:
    patience = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    for _ in range(1001):
        patience.spend(1, size)
    assert patience.exhausted is exhausted


def test_without_a_rate_any_byte_renews_it() -> None:
    patience = SlowClientAllowance(Limits(idle_seconds=10, min_rate=0))
    patience.spend(9, 0)
    patience.spend(9, 1)
    assert patience.timeout_seconds == 10
    patience.spend(10, 0)
    assert patience.exhausted


def test_without_a_time_it_never_ends() -> None:
    patience = SlowClientAllowance(Limits(idle_seconds=0, min_rate=100))
    patience.spend(1e9, 0)
    assert patience.timeout_seconds is None
    assert not patience.exhausted


def test_renewing_forgets_what_was() -> None:
    patience = SlowClientAllowance(Limits(idle_seconds=10, min_rate=100))
    patience.spend(20, 0)
    patience.renew()
    assert patience.timeout_seconds == 10


@pytest.mark.parametrize(
    ("head", "idle", "shortest"), [(2, 3, 2), (3, 2, 2), (0, 3, 3), (2, 0, 2), (0, 0, 0)]
)
def test_the_shortest_time_that_is_bounded(head: float, idle: float, shortest: float) -> None:
    assert Limits(head_seconds=head, idle_seconds=idle).shortest_seconds == shortest
