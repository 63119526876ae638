"""Upload of one large file: new, known, and as the next version of a known one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.figures import ANSWERED, DURABLE, KEPT, WRITTEN, Figure, Work, used
from benchmarks.machine import MB, disk_usage, sync
from benchmarks.meters import Usage, metered
from benchmarks.subjects import Running
from benchmarks.works.stage import LARGE, Stage, Task
from chunkstore.core.units import format_size


def until_durable(server: Running, act: Callable[[], object]) -> tuple[float, float, Usage]:
    """Upload; return the seconds until the answer, until it is on the disk, and what it took."""
    # What others have written is not to be waited for.
    sync(server.folder)
    with metered(server.pid) as usage:
        begun = time.perf_counter()
        act()
        answered = time.perf_counter() - begun
        if not server.subject.durable:
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
    answered, durable, usage = until_durable(
        server, lambda: load.upload(server.port, work.key, source, server.subject.dialect)
    )
    yield Figure(work, DURABLE, size / MB / durable)
    yield Figure(work, ANSWERED, size / MB / answered)
    yield from used(work, usage, size)
    yield Figure(work, WRITTEN, usage.written / size)
    yield Figure(work, KEPT, (disk_usage(server.folder) - kept) / size)


UPLOAD: Final = Task("upload", "upload of one large file", measure)
