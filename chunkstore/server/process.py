"""The server process, from opening the store to closing it."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from chunkstore.core.client_limits import Limits
from chunkstore.core.hosts import HostPolicy
from chunkstore.core.malloc import configure_malloc
from chunkstore.core.periodic import Periodic
from chunkstore.core.proxies import ProxyPolicy
from chunkstore.core.units import format_duration
from chunkstore.http import create_app
from chunkstore.http.app import mount
from chunkstore.http.message.request import SERVICE, TASKS
from chunkstore.http.runtime.connections import ConnectionMonitor
from chunkstore.http.runtime.counting import COUNTER, RequestCounter
from chunkstore.http.runtime.draining import DRAIN, Drain
from chunkstore.http.security.rights import PEOPLE
from chunkstore.server.accepting import accepting
from chunkstore.server.admission import admitting
from chunkstore.server.certificate import Certificate
from chunkstore.server.commands import taking_commands
from chunkstore.server.config import ServeConfig
from chunkstore.server.listening import Listening, bound
from chunkstore.server.metrics import Metrics, Sources, metrics_of, showing
from chunkstore.server.overseer import NOBODY, Overseer, beating
from chunkstore.server.reloading import reloading
from chunkstore.server.sign_on import load_registration
from chunkstore.server.store_metrics import StoreMetrics
from chunkstore.service.access.oidc import Registration
from chunkstore.service.access.people import People
from chunkstore.service.maintenance.audit import forgetting
from chunkstore.service.maintenance.collect import collecting, compacting
from chunkstore.service.maintenance.recount import recounting
from chunkstore.service.maintenance.scrub import scrubbing
from chunkstore.store.contract.store import Store
from chunkstore.store.open import open_store

_logger = logging.getLogger(__name__)

# Files of the database, and connections that are being refused.
_OTHER_FILES: Final = 256


@dataclass(frozen=True, slots=True)
class Shared:
    """What all processes of a server have in common, which are forked when it has been made."""

    listening: Listening
    metrics: Metrics | None


@contextmanager
def sharing(config: ServeConfig) -> Iterator[Shared]:
    """Bind what the configuration says, for the time of the context.

    Raises:
        CannotListen: it cannot be listened on.
    """
    with bound(config) as listening, metrics_of(config) as metrics:
        yield Shared(listening, metrics)


async def serve(
    config: ServeConfig,
    announce: Callable[[str], None],
    *,
    shared: Shared | None = None,
    number: int = 0,
    lifeline: int | None = None,
    overseer: Overseer = NOBODY,
) -> None:
    """Serve until SIGTERM or SIGINT; call `announce` with the URL once requests are answered.

    Then no new connections are accepted, running requests have `shutdown_seconds` to finish, and
    the store is closed. Of several processes each has its `number` and what they have `shared`;
    number 0 does the maintenance, collections and scrubs. End of file on the descriptor `lifeline`
    stops the server like a signal. SIGHUP loads the certificate again. `overseer` is told of all
    this.

    Raises:
        CertificateUnusable: the certificate or its key is.
        SecretUnusable: the secret of the provider's client is.
        StoreUnusable: the store cannot be opened.
        StoreOpen: it has no accounts, and other machines could reach it unasked.
        CannotListen: the address cannot be listened on.
    """
    if config.tune_malloc:
        configure_malloc()
    _allow_open_files(config.max_connections + _OTHER_FILES)
    certificate = load_certificate(config)
    registration = load_registration(config)
    # Before a store is created.
    with nullcontext(shared) if shared is not None else sharing(config) as common:
        process = _Process(config, common, number, certificate, registration)
        async with (
            beating(overseer),
            process.answering() as drain,
            reloading(certificate, overseer),
        ):
            stop = asyncio.Event()
            _stop_on_signals(stop)
            if lifeline is not None:
                _stop_at_end_of(lifeline, stop)
            url = common.listening.url(config.scheme, config.base_path)
            announce(url)
            overseer.ready(f"Serving at {url}")
            await stop.wait()
            overseer.stopping("Running requests may finish.")
            await _go_on_unready(drain, config.drain_seconds)


@dataclass(frozen=True, slots=True)
class _Process:
    config: ServeConfig
    shared: Shared
    number: int
    certificate: Certificate | None
    registration: Registration | None

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[Drain]:
        """Answer requests for the time of the context; its end waits for those that are running."""
        config, listening = self.config, self.shared.listening
        async with (
            _opened_store(config) as store,
            admitting(store, config, listening, warns=self.number == 0) as people,
        ):
            maintains = self.number == 0
            tasks = _maintenance_tasks(store, config) if maintains else []
            drain = Drain()
            app = _application(
                store, config, tasks, drain, people, self.registration, maintains=maintains
            )
            metrics = self.shared.metrics
            counting = None if metrics is None else metrics.begin(self.number)
            outer = _mounted(app, config, drain, None if counting is None else counting.requests)
            _exempt_from_garbage_collection()
            async with (
                _running(tasks),
                taking_commands(config.db, app[SERVICE], people),
                accepting(outer, config, listening, self.certificate, drain) as connections,
                showing(counting, _sources(app, connections, self.certificate)),
            ):
                yield drain


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
    store: Store,
    config: ServeConfig,
    tasks: Sequence[Periodic],
    drain: Drain,
    people: People,
    registration: Registration | None,
    *,
    maintains: bool,
) -> web.Application:
    app = create_app(
        store,
        tasks=tasks,
        room_returns=_how_space_returns(config),
        memory=config.memory,
        hot_files=config.hot_files,
        max_file_size=config.max_file_size,
        chunking=config.chunking,
        checksums=config.checksums,
        catches_up=maintains,
        upload_expiry_seconds=config.upload_expiry_seconds,
        max_unfinished=config.max_unfinished,
        cors_origins=config.cors_origins,
        limits=_limits_of(config),
        hosts=HostPolicy.of(config.host, config.allowed_hosts),
        proxies=ProxyPolicy.of(config.trusted_proxies) if config.trusted_proxies else None,
        hsts_seconds=config.hsts_seconds,
        people=people,
        insecure_login=config.insecure_login,
        registration=registration,
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
    return Sources(
        connections,
        service.budget,
        app[TASKS],
        certificate,
        StoreMetrics(service.store.maintenance),
        service.store.measures,
        app[PEOPLE].sign_ins,
    )


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
    tasks = [recounting(store.quotas)]
    if config.audit_seconds:
        tasks.append(forgetting(store.audit, config.audit_seconds))
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
