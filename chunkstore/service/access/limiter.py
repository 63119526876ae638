"""How often somebody may fail to sign in: one limiter, whatever carries the credentials.

Each attempt counts for its address and for the name that it is about, until it succeeds. Whoever
has failed too often has to wait for some seconds before each further attempt; nobody is locked out.
By name it is counted so that many addresses together cannot guess much either. As strangers could
keep somebody waiting by both, also from the same address (behind a proxy all have one), a name that
has signed in from an address before has an allowance of its own there, and only that counts.

Codes of a second factor count by the account, from wherever they come: whoever gives one has the
password, so is no stranger; and of a million codes three count at a time, so few guesses must do.

Addresses of IPv6 count by /64, for whoever has one has all of them.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from chunkstore.core.errors import TooManyAttempts
from chunkstore.service.access.clock import Clock

_IPV6_PREFIX: Final = 64
_MOST_KEYS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many failures at once, then one for each interval."""

    at_once: int
    interval_seconds: float


BY_ADDRESS: Final = Allowance(20, 6.0)
BY_NAME: Final = Allowance(30, 10.0)
CODES: Final = Allowance(10, 300.0)


@dataclass(slots=True)
class _Attempts:
    """Attempts by key; for each, the time at which all of its allowance is there again.

    Of more keys than can be kept, those are forgotten that were used longest ago.
    """

    allowance: Allowance
    _full_at: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def wait_seconds(self, key: str, now: float) -> float:
        """Return after how long an attempt is possible, 0 for now."""
        longest = (self.allowance.at_once - 1) * self.allowance.interval_seconds
        return max(0.0, self._full_at.get(key, now) - now - longest)

    def add(self, key: str, now: float) -> None:
        """Count an attempt."""
        full_at = max(self._full_at.pop(key, now), now) + self.allowance.interval_seconds
        self._full_at[key] = full_at
        if len(self._full_at) > _MOST_KEYS:
            self._full_at.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Count one attempt less."""
        if key in self._full_at:
            self._full_at[key] -= self.allowance.interval_seconds


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that counts as failed until its limiter is told otherwise."""

    counted: tuple[tuple[_Attempts, str], ...]


class Limiter:
    """Counts attempts of this process."""

    def __init__(
        self, clock: Clock, by_address: Allowance = BY_ADDRESS, by_name: Allowance = BY_NAME
    ) -> None:
        self._clock = clock
        self._by_address = _Attempts(by_address)
        self._by_name = _Attempts(by_name)
        self._by_both = _Attempts(by_address)
        self._codes = _Attempts(CODES)
        # Names that have signed in, each with the address.
        self._known: OrderedDict[str, None] = OrderedDict()

    def attempt(self, address: str, name: str | None = None) -> Attempt:
        """Count an attempt from an address, about a folded name if there is one.

        It is counted before it is made, so that many at once are not made on one allowance.

        Raises:
            TooManyAttempts: there were too many.
        """
        attempt = Attempt(self._counts_of(network_of(address), name))
        now = self._clock.monotonic()
        wait = max(attempts.wait_seconds(key, now) for attempts, key in attempt.counted)
        if wait:
            raise TooManyAttempts(math.ceil(wait))
        for attempts, key in attempt.counted:
            attempts.add(key, now)
        return attempt

    def _counts_of(self, network: str, name: str | None) -> tuple[tuple[_Attempts, str], ...]:
        if name is None:
            return ((self._by_address, network),)
        both = _pair(network, name)
        if both in self._known:
            return ((self._by_both, both),)
        return (self._by_address, network), (self._by_name, name)

    def succeeded(self, attempt: Attempt) -> None:
        """Take back an attempt: it was none to guess."""
        for attempts, key in attempt.counted:
            attempts.forgive(key)

    def attempt_code(self, name: str) -> None:
        """Count an attempt to give a code of the account with a folded name.

        Raises:
            TooManyAttempts: there were too many.
        """
        now = self._clock.monotonic()
        if wait := self._codes.wait_seconds(name, now):
            raise TooManyAttempts(math.ceil(wait))
        self._codes.add(name, now)

    def code_was_right(self, name: str) -> None:
        """Take the last attempt to give a code back."""
        self._codes.forgive(name)

    def signed_in(self, address: str, name: str) -> None:
        """Take note that a folded name has signed in from an address by its password."""
        known = _pair(network_of(address), name)
        self._known[known] = None
        self._known.move_to_end(known)
        if len(self._known) > _MOST_KEYS:
            self._known.popitem(last=False)


def _pair(network: str, name: str) -> str:
    return f"{network} {name}"


def network_of(address: str) -> str:
    """Return what an address counts as; what is none, as a Unix socket, counts as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)
