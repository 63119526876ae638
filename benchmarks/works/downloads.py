"""Download of one large file: whole, by ranges, and beside many slow clients."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from typing import Final

from benchmarks import load
from benchmarks.figures import MEMORY, RATE, Figure, Work, percentiles, used
from benchmarks.generator import SlowDownloads
from benchmarks.machine import MB, seconds
from benchmarks.meters import metered
from benchmarks.subjects import Running
from benchmarks.works.stage import LARGE, RANGE_SIZE, Stage, Task
from chunkstore.core.units import format_size


def measure(stage: Stage, server: Running) -> Iterator[Figure]:
    """Get the file whole, then ranges of it."""
    title = f"download of {format_size(stage.sizes.large)}, one client"
    yield from _whole(stage, server, Work("download", title))
    if server.subject.dialect.ranges:
        yield from _ranges(stage, server)


def _whole(stage: Stage, server: Running, work: Work) -> Iterator[Figure]:
    size = stage.sizes.large
    with metered(server.pid) as usage:
        taken = seconds(partial(server.download, LARGE, size))
    yield Figure(work, RATE, size / MB / taken)
    yield from used(work, usage, size)


def _ranges(stage: Stage, server: Running) -> Iterator[Figure]:
    size, count = min(RANGE_SIZE, stage.sizes.large), stage.sizes.ranges
    work = Work("ranges", f"{count:,} random ranges of {format_size(size)}, one client")
    starts = [stage.random.randrange(stage.sizes.large - size + 1) for _ in range(count)]
    source = stage.source(LARGE)
    with metered(server.pid) as usage:
        waits = load.read_ranges(server.port, LARGE, starts, size, source, server.subject.dialect)
    whole = [waited.last for waited in waits]
    yield Figure(work, RATE, count * size / MB / sum(whole))
    for quantity, value in percentiles(whole).items():
        yield Figure(work, quantity, value)
    yield from used(work, usage, count * size)


def measure_beside_slow(stage: Stage, server: Running) -> Iterator[Figure]:
    """Get the file, or as much of it as comes within the time for it, while many get it slowly."""
    sizes = stage.sizes
    title = f"download of {format_size(sizes.large)} beside {sizes.slow} slow ones"
    work = Work("beside-slow", f"{title} of {format_size(sizes.slow_rate)} a second")
    slow = SlowDownloads(server.port, server.subject.dialect, LARGE, sizes.slow, sizes.slow_rate)
    with (
        stage.generator.beside(slow) if sizes.slow else nullcontext(),
        metered(server.pid) as usage,
        suppress(TimeoutError),
    ):
        taken = _Taken(sizes.slow_seconds)
        server.download(LARGE, sizes.large, taken.take)
    yield Figure(work, RATE, taken.size / MB / taken.seconds())
    yield Figure(work, MEMORY, usage.peak_memory / 1024**2)


class _Taken:
    """What has come of a download, which is broken off when it has had its time."""

    def __init__(self, limit_seconds: float) -> None:
        self.size = 0
        self._limit = limit_seconds
        self._begun = self._ended = time.perf_counter()

    def take(self, piece: memoryview) -> None:
        self.size += len(piece)
        self._ended = time.perf_counter()
        if self.seconds() > self._limit:
            raise TimeoutError

    def seconds(self) -> float:
        return self._ended - self._begun


DOWNLOAD: Final = Task("download", "download of one large file", measure, (LARGE,), large_files=1)
SLOW: Final = Task(
    "slow", "one fast download beside slow ones", measure_beside_slow, (LARGE,), large_files=1
)
