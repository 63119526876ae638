"""How long things took, counted in buckets as Prometheus has them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

# The upper bounds of OpenTelemetry for requests, and two for large files.
SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(60.0, 600.0),
)
_MICROSECOND: Final = 1e-6


@dataclass(slots=True)
class Timings:
    """`counts` of what took at most the seconds of each bound, and longer; their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    microseconds: int = 0

    def note(self, seconds: float) -> None:
        """Count one thing that took so long."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.microseconds += int(seconds / _MICROSECOND)
