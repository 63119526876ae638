"""What memory the server takes: `python -m benchmarks.memory`.

One large file goes up and comes back, its bytes go up again under another name, then many uploads
run at once. All that comes back is compared. Memory is the peak of the process's anonymous pages
(RssAnon), sampled; database files that the system caches are not in it.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from blake3 import blake3

from benchmarks import load
from benchmarks.machine import describe_machine, write_random
from chunkstore.core.units import format_size, parse_size
from tests.process import ServerProcess, served

_SAMPLE_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Figures:
    """Anonymous memory in bytes, and by which part a known upload made the database grow."""

    idle: int
    one_large: int
    growth: float
    many: int


class Peak:
    """The most anonymous memory that a server was seen to have."""

    def __init__(self, server: ServerProcess) -> None:
        self.size = 0
        self._server = server
        self._ended = threading.Event()

    def watch(self) -> None:
        """Sample until `end` is called."""
        while not self._ended.is_set():
            self.size = max(self.size, self._server.anonymous_memory())
            time.sleep(_SAMPLE_SECONDS)

    def end(self) -> None:
        """Stop sampling."""
        self._ended.set()


@contextmanager
def peak_of(server: ServerProcess) -> Iterator[Peak]:
    """Watch a server's memory for the time of a context."""
    peak = Peak(server)
    watcher = threading.Thread(target=peak.watch)
    watcher.start()
    try:
        yield peak
    finally:
        peak.end()
        watcher.join()


def run(folder: Path, large: int, count: int, each: int) -> Figures:
    """Measure with a file of `large` bytes, then with `count` uploads of `each` bytes at once."""
    source = folder / "content"
    write_random(source, large)
    with served(folder) as server:
        idle = server.anonymous_memory()
        with peak_of(server) as peak:
            load.upload(server.port, "large", source)
            _compare(server, "large", source)
    # A server that has ended leaves no log behind.
    before = _database_size(folder)
    with served(folder) as server:
        load.upload(server.port, "again", source)
    growth = (_database_size(folder) - before) / before
    sources = [folder / f"content{index}" for index in range(count)]
    for path in sources:
        write_random(path, each)
    with served(folder) as server, peak_of(server) as many, ThreadPoolExecutor(count) as clients:
        names = [path.name for path in sources]
        list(clients.map(partial(load.upload, server.port), names, sources))
        list(clients.map(partial(_compare, server), names, sources))
    return Figures(idle, peak.size, growth, many.size)


def _compare(server: ServerProcess, name: str, source: Path) -> None:
    sent = blake3()
    sent.update_mmap(source)
    received = blake3()
    etag = load.download(server.port, name, source.stat().st_size, received.update)
    if not received.hexdigest() == sent.hexdigest() == etag:
        raise RuntimeError(f"{name} came back different")


def _database_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("chunkstore.db*"))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=parse_size, default=2 * 1024**3)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--each", type=parse_size, default=64 * 1024**2)
    parser.add_argument("--folder", type=Path, help="where files go; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = run(Path(folder), options.large, options.count, options.each)
    large, each = format_size(options.large), format_size(options.each)
    print(f"{describe_machine()}\n")
    print("| server | peak of anonymous memory |\n| --- | --- |")
    print(f"| idle | {format_size(figures.idle)} |")
    print(f"| {large} up, then down | {format_size(figures.one_large)} |")
    print(f"| {options.count} times {each} up at once, then down | {format_size(figures.many)} |")
    print(f"\nThe {large} under a second name made the database {figures.growth:.2%} larger.")


if __name__ == "__main__":
    main()
