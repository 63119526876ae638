"""Times as they are stored: microseconds since 1970 in UTC."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now_microseconds() -> int:
    """Return the current time as it is stored."""
    return time.time_ns() // 1000


def to_datetime(microseconds: int) -> datetime:
    """Return the time that is stored so."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(moment: datetime) -> int:
    """Return a time as it is stored."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Times:
    """The times that a file is to get, in microseconds; None leaves the choice to the store."""

    created: int | None
    modified: int | None

    @classmethod
    def of(cls, created: datetime | None, modified: datetime | None) -> Times:
        """Return the times that a `Put` asks for."""
        return cls(
            None if created is None else to_microseconds(created),
            None if modified is None else to_microseconds(modified),
        )
