"""Upload of large files: one that is new, known, the next version of a known one; many new ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.figures import ANSWERED, DURABLE, KEPT, WRITTEN, Figure, Work, used
from benchmarks.machine import MB, disk_usage, sync
from benchmarks.meters import Usage, metered
from benchmarks.subjects import Running
from benchmarks.works.stage import LARGE, Stage, Task
from chunkstore.core.units import format_size

_IN_A_ROW: Final = 3
_AT_ONCE: Final = 4


def until_durable(
    server: Running, act: Callable[[], object], *, synced: bool = False
) -> tuple[float, float, Usage]:
    """Upload; return the seconds until the answer, until it is on the disk, and what it took.

    `synced` says that `act` itself sees to it that all is on the disk.
    """
    # What others have written is not to be waited for.
    sync(server.folder)
    with metered(server.pid) as usage:
        begun = time.perf_counter()
        act()
        answered = time.perf_counter() - begun
        if not (synced or server.subject.durable):
            sync(server.folder)
        durable = time.perf_counter() - begun
        if server.subject.settles:
            usage.settle()
    return answered, durable, usage


def measure(stage: Stage, server: Running) -> Iterator[Figure]:
    """Upload three files."""
    source, version = stage.source(LARGE), stage.version()
    size = format_size(stage.sizes.large)
    yield from _upload(server, Work("upload-new", f"upload of {size}, new"), source)
    yield from _upload(server, Work("upload-known", f"upload of {size}, known"), source)
    title = f"upload of {size}, differs in {stage.sizes.changed:.0%}"
    yield from _upload(server, Work("upload-version", title), version)


def _upload(server: Running, work: Work, source: Path) -> Iterator[Figure]:
    size, kept = source.stat().st_size, disk_usage(server.folder)
    answered, durable, usage = until_durable(server, partial(server.upload, work.key, source))
    yield Figure(work, DURABLE, size / MB / durable)
    yield Figure(work, ANSWERED, size / MB / answered)
    yield from used(work, usage, size)
    yield Figure(work, WRITTEN, usage.written / size)
    yield Figure(work, KEPT, (disk_usage(server.folder) - kept) / size)


def measure_sustained(stage: Stage, server: Running) -> Iterator[Figure]:
    """Upload new files, each of which is durable: one after another, then several at once."""
    size = stage.sizes.large
    title = f"{_IN_A_ROW} x {format_size(size)} new in a row, each durable before the next"
    yield from _sustain(server, Work("new-in-a-row", title), stage.news(_IN_A_ROW, size), 1)
    size = stage.sizes.large // 2
    title = f"{_AT_ONCE} x {format_size(size)} new at once, each durable"
    yield from _sustain(server, Work("new-at-once", title), stage.news(_AT_ONCE, size), _AT_ONCE)


def _sustain(
    server: Running, work: Work, sources: Sequence[Path], clients: int
) -> Iterator[Figure]:
    size, kept = sum(source.stat().st_size for source in sources), disk_usage(server.folder)
    names = [f"{work.key}-{number}" for number in range(len(sources))]
    with ThreadPoolExecutor(clients) as threads:
        _, durable, usage = until_durable(
            server, lambda: list(threads.map(server.upload_durably, names, sources)), synced=True
        )
    yield Figure(work, DURABLE, size / MB / durable)
    yield from used(work, usage, size)
    yield Figure(work, WRITTEN, usage.written / size)
    yield Figure(work, KEPT, (disk_usage(server.folder) - kept) / size)


UPLOAD: Final = Task("upload", "upload of one large file", measure, large_files=3)
SUSTAINED: Final = Task("sustained", "new large files, sustained", measure_sustained, large_files=5)
