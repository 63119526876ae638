"""A clock that tests set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class SetClock:
    """Stands still until it is told how much time has passed."""

    def __init__(self) -> None:
        # Records expire by the time of the system, so this one begins there.
        self._now = datetime.now(UTC)
        self._seconds = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._seconds

    def advance(self, time: timedelta | float) -> None:
        """Let time pass, in seconds."""
        passed = time if isinstance(time, timedelta) else timedelta(seconds=time)
        self._now += passed
        self._seconds += passed.total_seconds()
