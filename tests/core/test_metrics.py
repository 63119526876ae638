"""The board of metrics: what processes count adds up, and is what Prometheus reads."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from chunkstore.core.metrics import MICROSECOND, Board, Family, Kind
from chunkstore.core.timings import SECONDS

REQUESTS = Family(
    "requests_total", Kind.COUNTER, "Requests.", ("route", "method"), (("/", "GET"), ("/a", "PUT"))
)
OPEN = Family("open", Kind.GAUGE, "Open.")
LATEST = Family("latest", Kind.GAUGE, "Latest.", largest=True, shows_zero=False)
TOOK = Family("took_seconds", Kind.HISTOGRAM, "Time.", unit=MICROSECOND, bounds=SECONDS)
FAMILIES = (REQUESTS, OPEN, LATEST, TOOK)


def read(board: Board) -> dict[str, Metric]:
    """Return the families as Prometheus' own parser reads them."""
    text = "\n".join([*board.lines(), ""])
    return {family.name: family for family in text_string_to_metric_families(text)}


def samples(family: Metric) -> Iterator[tuple[str, dict[str, str], float]]:
    for sample in family.samples:
        yield sample.name, dict(sample.labels), sample.value


def test_a_new_board_shows_the_zeros_that_it_should() -> None:
    found = read(Board(FAMILIES))
    assert [*samples(found["requests"])] == [
        ("requests_total", {"route": "/", "method": "GET"}, 0),
        ("requests_total", {"route": "/a", "method": "PUT"}, 0),
    ]
    assert found["latest"].samples == []
    assert {family.type for family in found.values()} == {"counter", "gauge", "histogram"}


@given(
    st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1000), st.integers(0, 2**40)), max_size=40)
)
def test_slots_add_up(events: list[tuple[int, float, int]]) -> None:
    board = Board(FAMILIES, slots=3)
    slots = [board.slot(number) for number in range(3)]
    for number, seconds, count in events:
        slot = slots[number]
        slot.observe(slot.first("took_seconds"), TOOK, seconds)
        slot.rows[slot.row("requests_total", "/a", "PUT")] += count
        slot.rows[slot.first("open")] = count
        slot.rows[slot.first("latest")] = count
    found = read(board)
    last = {number: count for number, _, count in events}
    counted = sum(count for _, _, count in events)
    assert [value for _, _, value in samples(found["requests"])] == [0, counted]
    assert [value for _, _, value in samples(found["open"])] == [sum(last.values())]
    largest = max(last.values(), default=0)
    assert [value for _, _, value in samples(found["latest"])] == [largest] * (largest > 0)
    for name, labels, value in samples(found["took_seconds"]):
        if name == "took_seconds_bucket":
            bound = float(labels["le"])
            assert value == sum(seconds <= bound for _, seconds, _ in events)
        elif name == "took_seconds_sum":
            total = sum(seconds for _, seconds, _ in events)
            assert math.isclose(value, total, abs_tol=MICROSECOND * (len(events) + 1))
        else:
            assert value == len(events)


def test_a_successor_goes_on_counting_but_has_gauges_of_its_own() -> None:
    board = Board(FAMILIES, slots=2)
    for number in (0, 1, 1):
        slot = board.slot(number)
        slot.rows[slot.row("requests_total", "/", "GET")] += 1
        slot.rows[slot.first("open")] += 1
    found = read(board)
    assert found["requests"].samples[0].value == 3
    assert found["open"].samples[0].value == 2


def test_what_a_forked_process_counts_is_seen() -> None:
    board = Board(FAMILIES, slots=2)
    child = os.fork()
    if not child:
        slot = board.slot(1)
        slot.rows[slot.first("requests_total")] += 7
        os._exit(0)
    os.waitpid(child, 0)
    assert read(board)["requests"].samples[0].value == 7


def test_a_series_that_is_not_foreseen_is_none() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        Board(FAMILIES).slot(0).row("requests_total", "/b", "GET")
