"""What a transfer came to, counted while it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from chunkstore.client.reporting import Reporter
from chunkstore.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Transferred:
    """A file that is where it was to go.

    `size` is that of its content, of which `moved` bytes were sent or fetched and the others were
    there already; `wire_size` is what travelled, requests and answers themselves left out.
    `unchanged` if there was nothing to do. `digest` is None for what a foreign server has.
    """

    name: str
    size: int
    digest: Digest | None
    moved: int
    wire_size: int
    unchanged: bool = False


class Progress:
    """Counts one file's transfer, from any thread, and tells the session's reporter."""

    def __init__(self, reporter: Reporter, name: str, size: int) -> None:
        self.name = name
        self._reporter = reporter
        self._lock = threading.Lock()
        self._moved = self._wire_size = 0
        reporter.started(name, size)

    def moved(self, size: int, wire_size: int) -> None:
        """Count bytes of content that were sent or fetched, and what they took."""
        with self._lock:
            self._moved += size
            self._wire_size += wire_size
        self._reporter.transferred(self.name, size, wire_size)

    def spared(self, size: int) -> None:
        """Count bytes of content that the other side has."""
        if size:
            self._reporter.spared(self.name, size)

    def finish(self, size: int, digest: Digest | None, *, unchanged: bool = False) -> Transferred:
        """Return what it came to."""
        self._reporter.finished(self.name)
        return Transferred(self.name, size, digest, self._moved, self._wire_size, unchanged)
