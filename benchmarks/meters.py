"""What the processes of a server use: processor, anonymous memory, bytes written.

All comes from /proc, for a process and all that descend from it:

- processor: user and system time, also that of descendants that have ended, in clock ticks (10 ms).
  What the kernel's own threads do for it, as writing back pages, is not in it.
- anonymous memory: RssAnon, sampled. Files that the system caches are not in it.
- written: `write_bytes`, what the processes had the kernel write to a disk, counted when a page of
  a file is made dirty. So a byte that is written to a log and then to its place counts twice, and
  metadata of the file system not at all.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_SAMPLE_SECONDS: Final = 0.05
_TREE_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 1.6
_QUIET_LIMIT_SECONDS: Final = 60
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def process_tree(root: int) -> list[int]:
    """Return the ids of a process and of all that descend from it."""
    tree = [root]
    for process in tree:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            tree += [int(child) for child in _read(task).split()]
    return tree


def processor_seconds(tree: list[int]) -> float:
    """Return the processor time of processes and of their descendants that have ended."""
    ticks = 0
    for process in tree:
        # Behind the name, which may have anything in it.
        fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def anonymous_memory(tree: list[int]) -> int:
    """Return the bytes of anonymous memory in use now."""
    return 1024 * sum(_field(process, "status", "RssAnon:") for process in tree)


def written_bytes(tree: list[int]) -> int:
    """Return the bytes that were written to disks."""
    return sum(_field(process, "io", "write_bytes:") for process in tree)


def _field(process: int, file: str, name: str) -> int:
    for line in _read(Path(f"/proc/{process}/{file}")).splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def _read(path: Path) -> str:
    """Return a file of /proc; nothing if its process has ended."""
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Usage:
    """What a server used in the time of a context, see `metered`."""

    def __init__(self, root: int) -> None:
        self.processor_seconds = 0.0
        self.peak_memory = 0
        self.written = 0
        self._root = root
        self._ended = threading.Event()
        tree = process_tree(root)
        self._processor_before = processor_seconds(tree)
        self._written_before = written_bytes(tree)

    def watch(self) -> None:
        """Sample memory until `end` is called."""
        tree, looked_at = process_tree(self._root), time.monotonic()
        while not self._ended.wait(_SAMPLE_SECONDS):
            if time.monotonic() - looked_at > _TREE_SECONDS:
                tree, looked_at = process_tree(self._root), time.monotonic()
            self.peak_memory = max(self.peak_memory, anonymous_memory(tree))

    def settle(self) -> None:
        """Wait until nothing has been written for a while: work put off counts as well."""
        limit = time.monotonic() + _QUIET_LIMIT_SECONDS
        before = -1
        while time.monotonic() < limit:
            written = written_bytes(process_tree(self._root))
            if written == before:
                return
            before = written
            time.sleep(_QUIET_SECONDS)

    def end(self) -> None:
        """Stop sampling and take the figures."""
        self._ended.set()
        tree = process_tree(self._root)
        self.peak_memory = max(self.peak_memory, anonymous_memory(tree))
        self.processor_seconds = processor_seconds(tree) - self._processor_before
        self.written = written_bytes(tree) - self._written_before


@contextmanager
def metered(root: int) -> Iterator[Usage]:
    """Measure a process and its descendants; the figures are there when the context ends."""
    usage = Usage(root)
    watcher = threading.Thread(target=usage.watch)
    watcher.start()
    try:
        yield usage
    finally:
        usage.end()
        watcher.join()
