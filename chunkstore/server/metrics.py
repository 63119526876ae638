"""Metrics: figures of the server and its store for Prometheus, on a listener of their own.

Requests are counted as they end, by the process that answers them. What only a process itself
knows, as of its memory, it writes down every second, and when it is asked. What the store holds is
counted when somebody asks, once a minute at most (`store_metrics`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import product
from typing import Final

from aiohttp import web

from chunkstore import __version__
from chunkstore.core.client_limits import Limits
from chunkstore.core.metrics import CONTENT_TYPE, MICROSECOND, Board, Family, Kind, Slot
from chunkstore.core.periodic import Periodic
from chunkstore.core.timings import SECONDS, Timings
from chunkstore.http.routes import route_templates
from chunkstore.http.runtime.connections import ConnectionMonitor
from chunkstore.http.runtime.counting import RequestCounter, request_families
from chunkstore.http.runtime.exchange import LIMITS
from chunkstore.http.runtime.runner import ProblemRunner
from chunkstore.server.certificate import Certificate
from chunkstore.server.config import ServeConfig
from chunkstore.server.listening import bound_metrics
from chunkstore.server.store_metrics import StoreMetrics
from chunkstore.service.access.sign_ins import METHODS, RESULTS, SignIns
from chunkstore.service.memory import MemoryBudget, Use
from chunkstore.store.contract.measures import Measures

PATH: Final = "/metrics"
# The tasks that `/health/ready` tells of, whichever process runs them.
TASK_NAMES: Final = ("collect", "compact", "scrub", "subtrees", "checksums", "heartbeat")
_LIMITS: Final = Limits(max_connections=64)
_SAMPLE_SECONDS: Final = 1.0
_SIGN_INS: Final = "chunkstore_sign_ins_total"
_CHUNKS: Final = "chunkstore_chunks_put_total"
_COMMIT: Final = "chunkstore_commit_seconds"
_WAIT: Final = "chunkstore_database_connection_wait_seconds"
_LOG: Final = "chunkstore_database_log_bytes"
_REFUSED: Final = "chunkstore_connections_refused_total"
_RESERVED: Final = "chunkstore_memory_reserved_bytes"
_TASK_RUN: Final = "chunkstore_task_last_run_timestamp_seconds"
_TASK_FAILED: Final = "chunkstore_task_last_run_failed"
_NOT_AFTER: Final = "chunkstore_tls_not_after_timestamp_seconds"

_logger = logging.getLogger(__name__)


def families(routes: Sequence[str]) -> list[Family]:
    """Return all that processes count, with requests to these routes."""
    tasks = tuple((name,) for name in TASK_NAMES)
    uses = tuple((use.name.lower(),) for use in Use)
    counter, gauge = Kind.COUNTER, Kind.GAUGE
    # fmt: off
    return [
        Family("chunkstore_build_info", gauge, "The version that runs.", ("version",),
               ((__version__,),), largest=True),
        Family("chunkstore_processes_started_total", counter, "Processes that began to serve."),
        *request_families(routes),
        Family("chunkstore_connections", gauge, "Connections that are open."),
        Family("chunkstore_connections_total", counter, "Connections that were taken."),
        Family(_REFUSED, counter, "Connections that were not.", ("reason",),
               (("too_many",), ("tls_handshake",))),
        Family("chunkstore_memory_limit_bytes", gauge, "Memory for content."),
        Family(_RESERVED, gauge, "What requests have reserved of it.", ("use",), uses),
        Family("chunkstore_memory_waiting", gauge, "Reservations that wait for memory."),
        Family(_TASK_RUN, gauge, "When a background task ran last.", ("task",), tasks,
               largest=True, shows_zero=False),
        Family(_TASK_FAILED, gauge, "Whether that failed, in any process.", ("task",), tasks,
               largest=True),
        Family(_NOT_AFTER, gauge, "When the certificate in use expires.",
               largest=True, shows_zero=False),
        Family(_SIGN_INS, counter, "How signing in ended.", ("by", "result"),
               tuple(product(METHODS, RESULTS))),
        Family(_CHUNKS, counter, "Chunks of files that were put.", ("state",),
               (("new",), ("known",))),
        Family(_COMMIT, Kind.HISTOGRAM, "Time until edits were durable.", (), ((),),
               MICROSECOND, SECONDS),
        Family(_WAIT, Kind.HISTOGRAM, "Time that jobs waited for a connection to PostgreSQL.",
               (), ((),), MICROSECOND, SECONDS, shows_zero=False),
        Family(_LOG, gauge, "What waits in the log of an SQLite database.", shows_zero=False),
    ]
    # fmt: on


@dataclass(frozen=True, slots=True)
class Metrics:
    """The board of all processes, and the socket at which it is shown.

    `routes` are the templates that requests are counted by.
    """

    board: Board
    routes: Sequence[str]
    listening: socket.socket

    def begin(self, number: int) -> Counting:
        """Begin to count in the process of this number."""
        slot = self.board.slot(number)
        slot.rows[slot.row("chunkstore_build_info", __version__)] = 1
        slot.rows[slot.first("chunkstore_processes_started_total")] += 1
        return Counting(self, slot, RequestCounter(slot, self.routes))


@dataclass(frozen=True, slots=True)
class Counting:
    """The slot of this process, and what counts its requests there."""

    metrics: Metrics
    slot: Slot
    requests: RequestCounter


@contextmanager
def metrics_of(config: ServeConfig) -> Iterator[Metrics | None]:
    """Prepare the metrics of all processes, which are forked then; None where none are wanted.

    Raises:
        CannotListen: their address cannot be listened on.
    """
    if config.metrics is None:
        yield None
        return
    with bound_metrics(config.metrics) as listening:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        _logger.info("Metrics are at http://%s:%d%s", shown, port, PATH)
        routes = route_templates()
        yield Metrics(Board(families(routes), config.workers), routes, listening)


@dataclass(frozen=True, slots=True)
class Sources:
    """Who knows the figures that are not counted as things happen."""

    connections: ConnectionMonitor
    memory: MemoryBudget
    tasks: Sequence[Periodic]
    certificate: Certificate | None
    store: StoreMetrics
    measures: Measures
    sign_ins: SignIns


class _Sampler:
    """Writes what the sources know into the slot of the process."""

    def __init__(self, slot: Slot, sources: Sources) -> None:
        self._slot = slot
        self._sources = sources
        # A predecessor may have counted.
        self._before = {row: slot.rows[row] for row, _ in self._counted()}

    def sample(self) -> None:
        slot, rows, sources = self._slot, self._slot.rows, self._sources
        connections, memory = sources.connections, sources.memory
        rows[slot.first("chunkstore_connections")] = len(connections.connections)
        for row, count in self._counted():
            rows[row] = self._before[row] + count
        log_size = sources.measures.log_size
        rows[slot.first(_LOG)] = 0 if log_size is None else log_size()
        rows[slot.first("chunkstore_memory_limit_bytes")] = memory.limit
        rows[slot.first("chunkstore_memory_waiting")] = memory.waiting
        for use in Use:
            rows[slot.row(_RESERVED, use.name.lower())] = memory.held(use)
        for task in sources.tasks:
            if task.last is not None and task.name in TASK_NAMES:
                rows[slot.row(_TASK_RUN, task.name)] = int(task.last.time.timestamp())
                rows[slot.row(_TASK_FAILED, task.name)] = task.last.error is not None
        expires = None if sources.certificate is None else sources.certificate.not_after
        rows[slot.first(_NOT_AFTER)] = 0 if expires is None else int(expires.timestamp())

    def _counted(self) -> Iterator[tuple[int, int]]:
        """Yield the rows of what this process has counted since it began, and the counts."""
        slot, sources = self._slot, self._sources
        connections, measures = sources.connections, sources.measures
        yield slot.first("chunkstore_connections_total"), connections.taken
        yield slot.row(_REFUSED, "too_many"), connections.refused
        yield slot.row(_REFUSED, "tls_handshake"), connections.failed_handshakes
        for method, result in product(METHODS, RESULTS):
            yield slot.row(_SIGN_INS, method, result), sources.sign_ins.counts[method, result]
        yield slot.row(_CHUNKS, "new"), measures.new_chunks
        yield slot.row(_CHUNKS, "known"), measures.known_chunks
        yield from _timed(slot.first(_COMMIT), measures.commits)
        if measures.waits is not None:
            yield from _timed(slot.first(_WAIT), measures.waits)


def _timed(first: int, timings: Timings) -> Iterator[tuple[int, int]]:
    """Yield the rows of a histogram that begins at `first`, and their counts."""
    yield from enumerate((*timings.counts, timings.microseconds), first)


@asynccontextmanager
async def showing(counting: Counting | None, sources: Sources) -> AsyncIterator[None]:
    """Keep the slot of this process true, and answer who asks, for the time of the context."""
    if counting is None:
        yield
        return
    metrics, sampler = counting.metrics, _Sampler(counting.slot, sources)

    async def answer(request: web.Request) -> web.Response:
        sampler.sample()
        lines = [*metrics.board.lines(), *[line async for line in sources.store.lines()], ""]
        return web.Response(
            body="\n".join(lines).encode(),
            headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"},
            status=HTTPStatus.OK,
        )

    app = web.Application()
    app[LIMITS] = _LIMITS
    app.router.add_get(PATH, answer)
    runner = ProblemRunner(app, access_log=None)
    await runner.setup()
    sampling = asyncio.create_task(_sample_again_and_again(sampler))
    try:
        await web.SockSite(runner, metrics.listening).start()
        yield
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
        await runner.cleanup()


async def _sample_again_and_again(sampler: _Sampler) -> None:
    while True:
        sampler.sample()
        await asyncio.sleep(_SAMPLE_SECONDS)
