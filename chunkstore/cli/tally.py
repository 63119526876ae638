"""The sums of what transfers have told so far."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_RATE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Sums:
    """What was transferred so far; all sizes are bytes.

    `size` is the content of files that are whole or under way, of which `transferred` was sent or
    fetched, taking `wire_size` on the wire, and `spared` was not, since the other side had it.
    """

    planned_files: int = 0
    planned_size: int = 0
    files: int = 0
    failed: int = 0
    transferred: int = 0
    wire_size: int = 0
    spared: int = 0
    seconds: float = 0.0
    # Bytes on the wire in a second, of late.
    rate: float = 0.0

    @property
    def done_size(self) -> int:
        """The bytes of content that are where they were to go."""
        return self.transferred + self.spared

    @property
    def remaining_seconds(self) -> float | None:
        """How long the rest takes if it goes on as before, None if nobody can tell."""
        left = self.planned_size - self.done_size
        if not self.done_size or not self.seconds or left < 0:
            return None
        return left * self.seconds / self.done_size


@dataclass(slots=True)
class _Moving:
    """A file under way."""

    size: int
    transferred: int = 0
    wire_size: int = 0
    spared: int = 0


class Tally:
    """Adds up what a reporter is told, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._moving: dict[str, _Moving] = {}
        self._began = time.monotonic()
        self._marks: list[tuple[float, int]] = [(self._began, 0)]
        self.failures: list[tuple[str, Exception]] = []

    def planned(self, files: int, size: int) -> None:
        """Expect more files."""
        with self._lock:
            self._add(planned_files=files, planned_size=size)

    def started(self, name: str, size: int) -> None:
        """Begin a file; what came of it before counts for nothing but the wire."""
        with self._lock:
            self._forget(name)
            self._moving[name] = _Moving(size)

    def transferred(self, name: str, size: int, wire_size: int) -> None:
        """Count bytes of a file."""
        with self._lock:
            self._add(transferred=size, wire_size=wire_size)
            if name in self._moving:
                self._moving[name].transferred += size
                self._moving[name].wire_size += wire_size

    def spared(self, name: str, size: int) -> None:
        """Count bytes of a file that needed no transfer."""
        with self._lock:
            self._add(spared=size)
            if name in self._moving:
                self._moving[name].spared += size

    def finished(self, name: str) -> Mapping[str, int]:
        """End a file; return what it took."""
        with self._lock:
            self._add(files=1)
            one = self._moving.pop(name, _Moving(0))
        return {
            "size": one.size,
            "transferred": one.transferred,
            "wire_size": one.wire_size,
            "spared": one.spared,
        }

    def failed(self, name: str, error: Exception) -> None:
        """End a file that failed."""
        with self._lock:
            self._forget(name)
            self._add(failed=1)
            self.failures.append((name, error))

    def sums(self) -> Sums:
        """Return the sums as they are now."""
        now = time.monotonic()
        with self._lock:
            self._marks = [mark for mark in self._marks if now - mark[0] <= _RATE_SECONDS] or [
                self._marks[-1]
            ]
            before, wire_size = self._marks[0]
            if now - self._marks[-1][0] >= 1:
                self._marks.append((now, self._counts["wire_size"]))
            rate = (self._counts["wire_size"] - wire_size) / max(now - before, 0.001)
            return Sums(**self._counts, seconds=now - self._began, rate=rate)

    def moving(self) -> Mapping[str, tuple[int, int]]:
        """Return how many bytes of each file under way are done, and how many it has."""
        with self._lock:
            return {
                name: (one.transferred + one.spared, one.size) for name, one in self._moving.items()
            }

    def _add(self, **more: int) -> None:
        for key, count in more.items():
            self._counts[key] += count

    def _forget(self, name: str) -> None:
        one = self._moving.pop(name, None)
        if one is not None:
            self._add(transferred=-one.transferred, spared=-one.spared)
