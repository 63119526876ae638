"""Small files, put and got by one client and by many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from benchmarks.figures import (
    GENERATOR,
    KEPT,
    MEMORY,
    PROCESSOR_REQUEST,
    REQUESTS,
    REQUESTS_ANSWERED,
    REQUESTS_DURABLE,
    REQUESTS_EACH,
    WRITTEN,
    Figure,
    Work,
    percentiles,
)
from benchmarks.generator import Burst, Requests
from benchmarks.machine import disk_usage, sync
from benchmarks.meters import Usage, metered
from benchmarks.subjects import Running
from benchmarks.works.stage import SMALL_SIZE, Stage, Task
from benchmarks.works.uploads import until_durable
from chunkstore.core.units import format_size

_MOST_SYNCED: Final = 16
_HOT: Final = 5


def measure(stage: Stage, server: Running) -> Iterator[Figure]:
    """Put new files, get them, and some of them again, once for each number of clients."""
    for clients in stage.sizes.clients:
        most = server.subject.most_clients
        if most is not None and clients > most:
            print(f"Skipped: {_files(clients)}, by {server.subject.name}: it takes {most} at once")
            continue
        yield from _put(stage, server, clients)
        yield from _get(stage, server, clients)


def _put(stage: Stage, server: Running, clients: int) -> Iterator[Figure]:
    work = Work(f"put-{clients}", f"PUT of {_files(clients)}")
    kept = disk_usage(server.folder)
    bursts: list[Burst] = []
    requests = _requests(stage, server, "PUT", clients)
    answered, durable, usage = until_durable(
        server, lambda: bursts.append(stage.generator.burst(requests))
    )
    count, size = len(requests.names), len(requests.names) * SMALL_SIZE
    kept = disk_usage(server.folder) - kept
    # The clients connect and make up contents before they send the first byte.
    unready = answered - bursts[0].seconds
    yield Figure(work, REQUESTS_DURABLE, count / (durable - unready))
    yield Figure(work, REQUESTS_ANSWERED, count / bursts[0].seconds)
    if server.subject.durable:
        yield Figure(work, REQUESTS_EACH, count / bursts[0].seconds)
    elif clients <= _MOST_SYNCED:
        yield Figure(work, REQUESTS_EACH, count / _put_synced(stage, server, requests).seconds)
    yield from _each(work, bursts[0], usage)
    yield Figure(work, WRITTEN, usage.written / size)
    yield Figure(work, KEPT, kept / size)


def _put_synced(stage: Stage, server: Running, requests: Requests) -> Burst:
    """Put as many other files, each of which is synced before it counts as answered."""
    names = [f"synced-{name}" for name in requests.names]
    sync(server.folder)
    return stage.generator.burst(replace(requests, names=names, folder=server.folder))


def _get(stage: Stage, server: Running, clients: int) -> Iterator[Figure]:
    """Get each file for the first time, then the last fifth of them again and again."""
    requests = _requests(stage, server, "GET", clients)
    yield from _timed(stage, server, requests, Work(f"get-{clients}", f"GET of {_files(clients)}"))
    hot = requests.names[-max(1, len(requests.names) // _HOT) :]
    stage.generator.burst(replace(requests, names=hot))
    work = Work(f"hot-{clients}", f"GET of hot {_files(clients)}: the same {len(hot):,} again")
    yield from _timed(stage, server, replace(requests, names=[*hot] * _HOT), work)


def _timed(stage: Stage, server: Running, requests: Requests, work: Work) -> Iterator[Figure]:
    with metered(server.pid) as usage:
        burst = stage.generator.burst(requests)
    yield Figure(work, REQUESTS, len(requests.names) / burst.seconds)
    yield from _each(work, burst, usage)


def _requests(stage: Stage, server: Running, method: str, clients: int) -> Requests:
    names = [f"small-{clients}-{index}" for index in range(stage.sizes.small_files)]
    return Requests(server.port, server.subject.dialect, method, names, SMALL_SIZE, clients)


def _each(work: Work, burst: Burst, usage: Usage) -> Iterator[Figure]:
    for quantity, value in percentiles(burst.latencies).items():
        yield Figure(work, quantity, value)
    milliseconds = usage.processor_seconds * 1000
    yield Figure(work, PROCESSOR_REQUEST, milliseconds / len(burst.latencies))
    generator = burst.processor_seconds * 1000
    yield Figure(work, GENERATOR, generator / len(burst.latencies))
    yield Figure(work, MEMORY, usage.peak_memory / 1024**2)


def _files(clients: int) -> str:
    return f"{format_size(SMALL_SIZE)} files, {clients} client{'s' if clients > 1 else ''}"


SMALL: Final = Task("small", "small files by few and many clients", measure)
