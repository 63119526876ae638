"""A limit of bytes a second that all connections share."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Final

from chunkstore.client.errors import Stopped
from chunkstore.core.units import parse_size

# What may be sent at once after a rest, in seconds at the full rate.
_BURST_SECONDS: Final = 0.25
# In what pieces a limited body is sent, so that slow rates stay even.
PIECE_SIZE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """How many bytes a second may go up and down; None is as many as will."""

    up: int | None = None
    down: int | None = None

    @classmethod
    def parse(cls, text: str) -> Bandwidth:
        """Parse a rate like `10M`, or two like `1MiB:10MiB`, up and down; `0` is no limit.

        Raises:
            ValueError: it is none.
        """
        up, colon, down = text.partition(":")
        rates = [parse_size(rate) or None for rate in (up, down if colon else up)]
        return cls(*rates)


class TokenBucket:
    """Lets `rate` bytes a second pass, from any number of threads; None lets all pass.

    Once `stopped` is set, nothing passes any more.
    """

    def __init__(self, rate: int | None, stopped: threading.Event | None = None) -> None:
        self.rate = rate
        self._stopped = stopped or threading.Event()
        self._lock = threading.Lock()
        # When all that was let pass so far is due.
        self._due = time.monotonic()

    def take(self, size: int) -> None:
        """Wait until `size` more bytes may pass.

        Raises:
            Stopped: nothing may pass any more.
        """
        if self._stopped.is_set():
            raise Stopped
        if not self.rate:
            return
        with self._lock:
            now = time.monotonic()
            self._due = max(self._due, now - _BURST_SECONDS) + size / self.rate
            wait = self._due - now
        if wait > 0 and self._stopped.wait(wait):
            raise Stopped
