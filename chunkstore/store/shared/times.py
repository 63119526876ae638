"""Times as they are stored: microseconds since 1970 in UTC."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from chunkstore.core.timestamps import to_microseconds


def now_microseconds() -> int:
    """Return the current time as it is stored."""
    return time.time_ns() // 1000


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

    def over(self, created: int, modified: int) -> Times:
        """Return them with those given in place of the ones that are None."""
        return Times(
            created if self.created is None else self.created,
            modified if self.modified is None else self.modified,
        )
