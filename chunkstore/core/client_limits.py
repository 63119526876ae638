"""Limits on clients: how many may be connected, and how slow they may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on clients; 0 disables one, except `max_connections`.

    `head_seconds` is how long the head of a request may take, from the start of the connection or
    from its own first byte. `idle_seconds` and `min_rate`, in bytes per second, limit how slowly a
    client may send a body or receive an answer: see `SlowClientAllowance`. A client that makes no
    progress for `stall_seconds` gives up its memory to those who wait for some. Statistics of the
    whole store are computed anew after `stats_seconds` at the earliest.
    """

    max_connections: int = 1000
    head_seconds: float = 20.0
    idle_seconds: float = 60.0
    min_rate: int = 1024
    stall_seconds: float = 5.0
    stats_seconds: float = 5.0

    @property
    def shortest_seconds(self) -> float:
        """The shorter of the two timeouts, leaving out disabled ones; 0 if both are."""
        return min(filter(None, (self.head_seconds, self.idle_seconds)), default=0.0)


DEFAULT_LIMITS: Final = Limits()


class SlowClientAllowance:
    """How long the server still waits for a client to send or receive bytes.

    The allowance starts at `idle_seconds`. Waiting spends it, and each byte earns back the time
    that it may take at `min_rate`, up to the start value. So a client that stops is given up after
    `idle_seconds`, and one that stays slower than `min_rate` is given up later.
    """

    __slots__ = ("_left", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.renew()

    def renew(self) -> None:
        """Restore the full allowance."""
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
        """Whether to give the client up."""
        return self._left <= 0

    @property
    def timeout_seconds(self) -> float | None:
        """How long the next wait may take; None for no limit."""
        return None if math.isinf(self._left) else self._left
