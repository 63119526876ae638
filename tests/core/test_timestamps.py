"""Timestamps, against what the standard library makes of the same times."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.timestamps import (
    GREATEST_TIMESTAMP,
    LEAST_TIMESTAMP,
    to_datetime,
    to_http_date,
    to_microseconds,
    to_rfc3339,
    to_rfc3339_in_full,
)

TIMESTAMPS = st.integers(LEAST_TIMESTAMP, GREATEST_TIMESTAMP)


@given(TIMESTAMPS)
def test_a_timestamp_is_a_time(timestamp: int) -> None:
    assert to_microseconds(to_datetime(timestamp)) == timestamp


@pytest.mark.parametrize("timestamp", [LEAST_TIMESTAMP - 1, GREATEST_TIMESTAMP + 1])
def test_no_other_number_is(timestamp: int) -> None:
    with pytest.raises(OverflowError):
        to_datetime(timestamp)


@given(TIMESTAMPS)
def test_each_is_written_as_the_standard_library_writes_it(timestamp: int) -> None:
    moment = to_datetime(timestamp)
    second = moment - timedelta(microseconds=moment.microsecond)
    assert to_http_date(timestamp) == format_datetime(second, usegmt=True)
    for told, timespec in (
        (to_rfc3339(timestamp), "seconds"),
        (to_rfc3339_in_full(timestamp), "microseconds"),
    ):
        assert told == moment.isoformat(timespec=timespec).replace("+00:00", "Z")
