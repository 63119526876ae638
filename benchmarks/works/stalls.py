"""How long small requests wait beside large uploads.

New large files are uploaded one after another, without a pause between them. Meanwhile one client
puts new files of 4 KiB and another gets any of those, each when it has the answer to the one
before. The rate is that of the large files together, from the first byte sent until the last is on
the disk: sustained, not that of a burst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import DURABLE, LONGEST, Figure, Work, percentiles, used
from benchmarks.generator import SmallRequests
from benchmarks.machine import MB, seconds, sync
from benchmarks.meters import metered
from benchmarks.subjects import Running
from benchmarks.works.stage import SMALL_SIZE, Stage, Task
from chunkstore.core.units import format_size

_FILES: Final = 4


def measure(stage: Stage, server: Running) -> Iterator[Figure]:
    """Upload large files beside small puts and gets."""
    sources, size = stage.news(_FILES, stage.sizes.large), _FILES * stage.sizes.large
    small = SmallRequests(server.port, server.subject.dialect, SMALL_SIZE)
    sync(server.folder)
    with metered(server.pid) as usage, stage.generator.beside(small) as answers:
        taken = seconds(lambda: _upload_all(server, sources))
    [waits] = answers
    small_size = format_size(SMALL_SIZE)
    for key, method, latencies in (("put", "PUT", waits.puts), ("get", "GET", waits.gets)):
        title = f"{method} of {small_size}, one client, beside {format_size(size)} of uploads"
        work = Work(f"beside-{key}", title)
        yield Figure(work, LONGEST, max(latencies) * 1000)
        for quantity, value in percentiles(latencies).items():
            yield Figure(work, quantity, value)
    title = f"{_FILES} x {format_size(stage.sizes.large)} new, beside {small_size} put and got"
    work = Work("beside-small", title)
    yield Figure(work, DURABLE, size / MB / taken)
    yield from used(work, usage, size)


def _upload_all(server: Running, sources: Sequence[Path]) -> None:
    for number, source in enumerate(sources):
        server.upload_durably(f"stalls-{number}", source)


STALLS: Final = Task("stalls", "small requests beside large uploads", measure, large_files=4)
