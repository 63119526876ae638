"""What one client may take from all the others: connections, and the time of the server."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on clients; 0 sets none, but for `max_connections`.

    `head_seconds` is how long a request's head may take from the connection, or from its own
    first byte, to its end. `idle_seconds` and `min_rate`, in bytes per second, say what patience
    the server has with those who send a body or take an answer: see `SlowClientAllowance`. Memory
    of a client that makes no progress for `stall_seconds` is given to others who wait for it.
    `stats_seconds` is for how long figures of the whole store are kept for who asks next.
    """

    max_connections: int = 1000
    head_seconds: float = 20.0
    idle_seconds: float = 60.0
    min_rate: int = 1024
    stall_seconds: float = 5.0
    stats_seconds: float = 5.0

    @property
    def shortest_seconds(self) -> float:
        """The shortest of the times that are bounded, 0 if none is."""
        return min(filter(None, (self.head_seconds, self.idle_seconds)), default=0.0)


DEFAULT_LIMITS: Final = Limits()


class SlowClientAllowance:
    """How long the server still waits for a client that is to send or to take bytes.

    It has `idle_seconds` of it. Waiting costs them, and each byte earns back what it may take at
    `min_rate`, but never more than there was at first. So a client that stops is given up after
    `idle_seconds`, and so is, later, one that is slower than `min_rate` in the long run.
    """

    __slots__ = ("_left", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.renew()

    def renew(self) -> None:
        """Forget what has been waited for."""
        self._left = self._limits.idle_seconds or math.inf

    def spend(self, seconds: float, size: int) -> None:
        """Account for a wait of `seconds` in which `size` bytes came or went."""
        most = self._limits.idle_seconds or math.inf
        self._left = min(most, self._left - seconds + self._earned(size))

    def _earned(self, size: int) -> float:
        if self._limits.min_rate:
            return size / self._limits.min_rate
        return math.inf if size else 0.0

    @property
    def exhausted(self) -> bool:
        """Whether the client is to be given up."""
        return self._left <= 0

    @property
    def timeout_seconds(self) -> float | None:
        """How long the next wait may be, None without a bound."""
        return None if math.isinf(self._left) else self._left
