"""Timestamps: times as stores keep them, microseconds since 1970 in UTC, and how they are written.

Lists tell of thousands of them, mostly of a few days: the text of a day is kept.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND: Final = 1_000_000
_DAY: Final = 86_400
_DAY_OF_HTTP: Final = len("Thu, 01 Jan 1970 ")
# Those of a day, and of a minute.
_MINUTES: Final = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60)]
_SECONDS: Final = [f":{second:02}" for second in range(60)]

LEAST_TIMESTAMP: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
GREATEST_TIMESTAMP: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
"""The first and the last that a `datetime` can tell."""


def to_datetime(microseconds: int) -> datetime:
    """Return the time that a timestamp tells."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """Return a time as a timestamp."""
    return (moment - _EPOCH) // _MICROSECOND


def to_http_date(microseconds: int) -> str:
    """Return a timestamp as an HTTP-date (RFC 9110 §5.6.7), whose fraction is left out."""
    return _http_date(microseconds // _SECOND)


def to_rfc3339(microseconds: int) -> str:
    """Return a timestamp as RFC 3339 has it, without its fraction."""
    return f"{_rfc3339(microseconds // _SECOND)}Z"


def to_rfc3339_in_full(microseconds: int) -> str:
    """Return a timestamp as RFC 3339 has it, with its six digits of fraction."""
    seconds, fraction = divmod(microseconds, _SECOND)
    return f"{_rfc3339(seconds)}.{fraction:06}Z"


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    days, seconds = divmod(seconds, _DAY)
    return f"{_day_of_http(days)}{_clock(seconds)} GMT"


@lru_cache(maxsize=1024)
def _rfc3339(seconds: int) -> str:
    days, seconds = divmod(seconds, _DAY)
    return f"{_day_of_rfc3339(days)}T{_clock(seconds)}"


@lru_cache(maxsize=1024)
def _day_of_http(days: int) -> str:
    return format_datetime(_EPOCH + timedelta(days), usegmt=True)[:_DAY_OF_HTTP]


@lru_cache(maxsize=1024)
def _day_of_rfc3339(days: int) -> str:
    return (_EPOCH + timedelta(days)).date().isoformat()


def _clock(seconds: int) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{_MINUTES[minutes]}{_SECONDS[seconds]}"
