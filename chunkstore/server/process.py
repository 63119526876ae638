"""The server process, from opening the store to closing it."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.log import access_logger

from chunkstore.core.client_limits import Limits
from chunkstore.core.hosts import HostPolicy
from chunkstore.core.periodic import Periodic
from chunkstore.core.proxies import ProxyPolicy
from chunkstore.core.units import format_duration
from chunkstore.http import create_app
from chunkstore.http.app import mount
from chunkstore.http.message.request import SERVICE, TASKS
from chunkstore.http.runtime.access_log import AccessLogger, FieldsAccessLogger
from chunkstore.http.runtime.connections import ConnectionMonitor
from chunkstore.http.runtime.counting import COUNTER, RequestCounter, counting_logger
from chunkstore.http.runtime.draining import DRAIN, Drain
from chunkstore.http.runtime.runner import ProblemRunner
from chunkstore.http.runtime.tls import TlsListener
from chunkstore.server.certificate import Certificate
from chunkstore.server.commands import taking_commands
from chunkstore.server.config import LogFormat, ServeConfig
from chunkstore.server.listening import BACKLOG, Listening, bound, cannot_listen, is_unix
from chunkstore.server.malloc import configure_malloc
from chunkstore.server.metrics import Metrics, Sources, metrics_of, showing
from chunkstore.server.overseer import NOBODY, Overseer, beating
from chunkstore.server.store_metrics import StoreMetrics
from chunkstore.service.access.people import People
from chunkstore.service.maintenance.collect import collecting, compacting
from chunkstore.service.maintenance.scrub import scrubbing
from chunkstore.store.contract.store import Store
from chunkstore.store.open import open_store

_logger = logging.getLogger(__name__)

_KEEPALIVE_SECONDS: Final = 75.0
# For requests that are still running then to be cancelled.
_CUT_OFF_SECONDS: Final = 1.0
_ACCESS_LOGGERS: Final[dict[LogFormat, type[AbstractAccessLogger]]] = {
    LogFormat.TEXT: AccessLogger,
    LogFormat.JSON: FieldsAccessLogger,
}
# Files of the database, and connections that are being refused.
_OTHER_FILES: Final = 256


async def serve(
    config: ServeConfig,
    announce: Callable[[str], None],
    *,
    listening: Listening | None = None,
    metrics: Metrics | None = None,
    maintenance: bool = True,
    lifeline: int | None = None,
    overseer: Overseer = NOBODY,
) -> None:
    """Serve until SIGTERM or SIGINT; call `announce` with the URL once requests are answered.

    Then no new connections are accepted, running requests have `shutdown_seconds` to finish, and
    the store is closed. If `listening` is given, connections are accepted from its sockets, which
    processes can share, as they do `metrics`; one of these does `maintenance`, collections and
    scrubs. End of file on the
    descriptor `lifeline` stops the server like a signal. SIGHUP loads the certificate again.
    `overseer` is told of all this.

    Raises:
        CertificateUnusable: the certificate or its key is.
        StoreUnusable: the store cannot be opened.
        CannotListen: the address cannot be listened on.
    """
    if config.tune_malloc:
        configure_malloc()
    _allow_open_files(config.max_connections + _OTHER_FILES)
    certificate = load_certificate(config)
    with ExitStack() as ends:
        if listening is None:
            # Before a store is created.
            listening = ends.enter_context(bound(config))
            metrics = ends.enter_context(metrics_of(config))
        async with beating(overseer), _opened_store(config) as store:
            people = People(store.records)
            ends.callback(people.close)
            tasks = _maintenance_tasks(store, config) if maintenance else []
            drain = Drain()
            app = _application(store, config, tasks, drain, people)
            counting = None if metrics is None else metrics.begin()
            counter = None if counting is None else counting.requests
            outer = _mounted(app, config, drain, counter)
            _exempt_from_garbage_collection()
            async with (
                _running(tasks),
                _reloading(certificate, overseer),
                taking_commands(config.db, store, people),
                _listening(outer, config, listening, certificate, drain) as connections,
                showing(counting, _sources(app, connections, certificate)),
            ):
                stop = asyncio.Event()
                _stop_on_signals(stop)
                if lifeline is not None:
                    _stop_at_end_of(lifeline, stop)
                url = listening.url(config.scheme, config.base_path)
                announce(url)
                overseer.ready(f"Serving at {url}")
                await stop.wait()
                overseer.stopping("Running requests may finish.")
                await _go_on_unready(drain, config.drain_seconds)


def load_certificate(config: ServeConfig) -> Certificate | None:
    """Return the certificate that the configuration names.

    Raises:
        CertificateUnusable: it, or its key, is.
    """
    if config.tls_cert is None or config.tls_key is None:
        return None
    return Certificate(config.tls_cert, config.tls_key)


@asynccontextmanager
async def _opened_store(config: ServeConfig) -> AsyncIterator[Store]:
    store = await open_store(
        config.db,
        read_location=config.read_db,
        chunk_size=config.chunk_size,
        compression=config.compression,
        min_free=config.min_free,
        one_file=config.one_file,
    )
    try:
        yield store
    finally:
        await store.close()


def _exempt_from_garbage_collection() -> None:
    """Exempt all objects that exist now, which stay for the life of the process.

    A full garbage collection would traverse them for 30 ms, in which no request is served.
    """
    gc.collect()
    gc.freeze()


def _allow_open_files(count: int) -> None:
    """Raise the process's limit on open files, as far as is allowed; many systems have 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        _logger.warning("Only %d files can be open at once: lower --max-connections.", hard)
        count = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _application(
    store: Store, config: ServeConfig, tasks: Sequence[Periodic], drain: Drain, people: People
) -> web.Application:
    app = create_app(
        store,
        tasks=tasks,
        room_returns=_how_space_returns(config),
        memory=config.memory,
        hot_files=config.hot_files,
        max_file_size=config.max_file_size,
        chunking=config.chunking,
        upload_expiry_seconds=config.upload_expiry_seconds,
        max_unfinished=config.max_unfinished,
        cors_origins=config.cors_origins,
        limits=_limits_of(config),
        hosts=HostPolicy.of(config.host, config.allowed_hosts),
        proxies=ProxyPolicy.of(config.trusted_proxies) if config.trusted_proxies else None,
        hsts_seconds=config.hsts_seconds,
        people=people,
    )
    app[DRAIN] = drain
    return app


def _mounted(
    app: web.Application, config: ServeConfig, drain: Drain, counter: RequestCounter | None
) -> web.Application:
    if counter is not None:
        counter.know(app)
    outer = mount(app, config.base_path)
    if counter is not None:
        outer[COUNTER] = counter
    drain.install(outer)
    return outer


def _sources(
    app: web.Application, connections: ConnectionMonitor, certificate: Certificate | None
) -> Sources:
    service = app[SERVICE]
    store = StoreMetrics(service.store.maintenance)
    return Sources(connections, service.budget, app[TASKS], certificate, store)


async def _go_on_unready(drain: Drain, seconds: float) -> None:
    """Let load balancers find out that the server is about to stop, while it still serves."""
    drain.announced = True
    if seconds:
        _logger.info("Stopping in %s: not ready any more.", format_duration(seconds))
        await asyncio.sleep(seconds)


def _limits_of(config: ServeConfig) -> Limits:
    return Limits(
        max_connections=config.max_connections,
        head_seconds=config.head_seconds,
        idle_seconds=config.idle_seconds,
        min_rate=config.min_rate,
    )


def _how_space_returns(config: ServeConfig) -> str:
    if not config.collect_seconds:
        return "`chunkstore collect` frees the space of deleted files."
    return (
        f"A collection every {format_duration(config.collect_seconds)} frees the space of deleted"
        " files, except what was stored within the last"
        f" {format_duration(config.grace_seconds)}."
    )


def _maintenance_tasks(store: Store, config: ServeConfig) -> list[Periodic]:
    """Return the tasks that run in the background."""
    tasks = []
    if config.collect_seconds:
        tasks.append(collecting(store.maintenance, config.collect_seconds, config.grace_seconds))
        tasks.append(compacting(store.maintenance, config.collect_seconds))
    if config.scrub_seconds:
        tasks.append(scrubbing(store.maintenance, config.scrub_seconds, config.scrub_rate))
    return tasks


@asynccontextmanager
async def _running(tasks: Sequence[Periodic]) -> AsyncIterator[None]:
    """Run the tasks in the background for the time of the context."""
    for task in tasks:
        task.start()
    try:
        yield
    finally:
        for task in tasks:
            await task.stop()


@asynccontextmanager
async def _reloading(certificate: Certificate | None, overseer: Overseer) -> AsyncIterator[None]:
    """Load the certificate again when its files change, and at SIGHUP."""
    if certificate is None and not overseer.reloads:
        yield
        return
    loop = asyncio.get_running_loop()
    wanted = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    tasks = [loop.create_task(_reload_when(wanted, certificate, overseer))]
    if certificate is not None:
        tasks.append(loop.create_task(certificate.follow()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # A late one must not end the process before requests have.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _reload_when(
    wanted: asyncio.Event, certificate: Certificate | None, overseer: Overseer
) -> None:
    """Reload once for all signals that came before the reload began."""
    while True:
        await wanted.wait()
        wanted.clear()
        overseer.reloading()
        if certificate is not None:
            await certificate.reload()
        overseer.reloaded()


@asynccontextmanager
async def _listening(
    app: web.Application,
    config: ServeConfig,
    listening: Listening,
    certificate: Certificate | None,
    drain: Drain,
) -> AsyncIterator[ConnectionMonitor]:
    """Answer requests for the time of the context; its end waits for those that are running."""
    log_class = _ACCESS_LOGGERS[config.log_format] if config.access_log else None
    if COUNTER in app:
        log_class = counting_logger(app[COUNTER], log_class)
    runner = ProblemRunner(
        app,
        auto_decompress=False,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        shutdown_timeout=_CUT_OFF_SECONDS,
        access_log_class=log_class or AccessLogger,
        access_log=access_logger if log_class is not None else None,
    )
    await runner.setup()
    try:
        async with AsyncExitStack() as ends:
            try:
                await _accept(runner.connections, listening, certificate, ends)
            except OSError as error:
                raise cannot_listen(error, config) from error
            yield runner.connections
        _logger.info("Stopping: running requests may finish, new ones are not accepted.")
        await drain.wait(config.shutdown_seconds)
    finally:
        await runner.cleanup()


async def _accept(
    connections: ConnectionMonitor,
    listening: Listening,
    certificate: Certificate | None,
    ends: AsyncExitStack,
) -> None:
    """Accept connections from all sockets until `ends` is closed; Unix sockets speak no TLS."""
    loop = asyncio.get_running_loop()
    for each in listening.sockets:
        if is_unix(each):
            # From Python 3.13 on, asyncio's own would remove the path, which other workers have.
            own = isinstance(loop, asyncio.BaseEventLoop)
            create = loop.create_server if own else loop.create_unix_server
            server = await create(connections, sock=each, backlog=BACKLOG)
            ends.callback(server.close)
        elif certificate is None:
            server = await loop.create_server(connections, sock=each, backlog=BACKLOG)
            ends.callback(server.close)
        else:
            listener = TlsListener(connections, each, lambda: certificate.context)
            listener.start(BACKLOG)
            ends.push_async_callback(listener.stop)


def _stop_at_end_of(lifeline: int, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def stop_once() -> None:
        loop.remove_reader(lifeline)
        stop.set()

    loop.add_reader(lifeline, stop_once)


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` at the first signal; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop_gently() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop_gently)
