"""Lists of a folder with very many names: the first page, and the hundredth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Final

from benchmarks import load
from benchmarks.figures import MEMORY, Figure, Work, percentiles
from benchmarks.machine import seconds
from benchmarks.meters import metered
from benchmarks.subjects import Running
from benchmarks.works.stage import NAMES, Stage, Task, names_folder

_PAGE: Final = 100
_LIMIT: Final = 1000


def measure(stage: Stage, server: Running) -> Iterator[Figure]:
    """List, for each number of names. Who has no pages sends all names as its first one."""
    dialect = server.subject.dialect
    for count in stage.sizes.names:
        limit, folder = min(_LIMIT, max(1, count // _PAGE)), names_folder(count)
        first = Work(f"list-first-{count}", f"first page ({limit:,}) of {count:,} names")
        yield from _list(stage, server, first, dialect.list(folder, limit))
        if dialect.has_pages:
            title = f"page {_PAGE} ({limit:,}) of {count:,} names"
            later = Work(f"list-{_PAGE}-{count}", title)
            yield from _list(stage, server, later, _later(server, folder, limit))


def _list(stage: Stage, server: Running, work: Work, request: bytes) -> Iterator[Figure]:
    # A whole list takes so much longer than a page that a few are enough.
    times = (
        stage.sizes.lists if server.subject.dialect.has_pages else max(1, stage.sizes.lists // 4)
    )
    with metered(server.pid) as usage:
        taken = [seconds(partial(load.fetch, server.port, request)) for _ in range(times)]
    for quantity, value in percentiles(taken).items():
        yield Figure(work, quantity, value)
    yield Figure(work, MEMORY, usage.peak_memory / 1024**2)


def _later(server: Running, folder: str, limit: int) -> bytes:
    """Return the request for the hundredth page, found as any client has to."""
    list_from = server.subject.dialect.list
    request = list_from(folder, limit)
    for _ in range(_PAGE - 1):
        cursor = json.loads(load.fetch(server.port, request))["next"]
        if cursor is None:
            raise RuntimeError(f"there are fewer than {_PAGE} pages")
        request = list_from(folder, limit, cursor)
    return request


LIST: Final = Task("list", "lists of very many names", measure, (NAMES,))
