"""The server process, from opening the store to closing it."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.log import access_logger

from chunkstore.core.client_limits import Limits
from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.hosts import HostPolicy
from chunkstore.core.periodic import Periodic
from chunkstore.core.units import format_duration
from chunkstore.http import create_app
from chunkstore.http.app import mount
from chunkstore.http.runtime.access_log import AccessLogger
from chunkstore.http.runtime.draining import Drain
from chunkstore.http.runtime.runner import ProblemRunner
from chunkstore.server.config import ServeConfig
from chunkstore.server.malloc import configure_malloc
from chunkstore.service.maintenance.collect import collecting, compacting
from chunkstore.service.maintenance.scrub import scrubbing
from chunkstore.store.contract.store import Store
from chunkstore.store.open import open_store

_logger = logging.getLogger(__name__)

_KEEPALIVE_SECONDS: Final = 75.0
# For requests that are still running then to be cancelled.
_CUT_OFF_SECONDS: Final = 1.0
_BACKLOG: Final = 1024
# Files of the database, and connections that are being refused.
_OTHER_FILES: Final = 256


class CannotListen(ChunkstoreError):
    """The server cannot listen on the address."""


async def serve(
    config: ServeConfig,
    announce: Callable[[str], None],
    *,
    listening: socket.socket | None = None,
    maintenance: bool = True,
    lifeline: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; call `announce` with the URL once requests are answered.

    Then no new connections are accepted, running requests have `shutdown_seconds` to finish, and
    the store is closed. If `listening` is given, connections are accepted from this socket, which
    processes can share; one of these does `maintenance`, collections and scrubs. End of file on the
    descriptor `lifeline` stops the server like a signal.

    Raises:
        StoreUnusable: the store cannot be opened.
        CannotListen: the address cannot be listened on.
    """
    if config.tune_malloc:
        configure_malloc()
    _allow_open_files(config.max_connections + _OTHER_FILES)
    stop = asyncio.Event()
    if listening is None:
        await _require_address(config)
    store = await open_store(
        config.db,
        read_location=config.read_db,
        chunk_size=config.chunk_size,
        compression=config.compression,
        min_free=config.min_free,
        one_file=config.one_file,
    )
    try:
        tasks = _maintenance_tasks(store, config) if maintenance else []
        app = _application(store, config, tasks)
        _exempt_from_garbage_collection()
        async with _running(tasks), _listening(app, config, listening) as url:
            _stop_on_signals(stop)
            if lifeline is not None:
                _stop_at_end_of(lifeline, stop)
            announce(url)
            await stop.wait()
    finally:
        await store.close()


def _exempt_from_garbage_collection() -> None:
    """Exempt all objects that exist now, which stay for the life of the process.

    A full garbage collection would traverse them for 30 ms, in which no request is served.
    """
    gc.collect()
    gc.freeze()


async def _require_address(config: ServeConfig) -> None:
    """Check that the address can be listened on, before a store is created.

    Raises:
        CannotListen: it cannot.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            asyncio.Protocol, config.host, config.port, start_serving=False
        )
    except OSError as error:
        raise _cannot_listen(error, config) from error
    server.close()
    await server.wait_closed()


def _allow_open_files(count: int) -> None:
    """Raise the process's limit on open files, as far as is allowed; many systems have 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        _logger.warning("Only %d files can be open at once: lower --max-connections.", hard)
        count = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def _application(store: Store, config: ServeConfig, tasks: Sequence[Periodic]) -> web.Application:
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
    )
    return mount(app, config.base_path)


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
async def _listening(
    app: web.Application, config: ServeConfig, listening: socket.socket | None
) -> AsyncIterator[str]:
    """Answer requests for the time of the context; its end waits for those that are running."""
    drain = Drain()
    drain.install(app)
    runner = ProblemRunner(
        app,
        auto_decompress=False,
        keepalive_timeout=_KEEPALIVE_SECONDS,
        shutdown_timeout=_CUT_OFF_SECONDS,
        access_log_class=AccessLogger,
        access_log=access_logger if config.access_log else None,
    )
    await runner.setup()
    try:
        site: web.BaseSite
        if listening is None:
            site = web.TCPSite(runner, config.host, config.port, backlog=_BACKLOG)
        else:
            site = web.SockSite(runner, listening, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError as error:
            raise _cannot_listen(error, config) from error
        host, port = runner.addresses[0][:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}{config.base_path}"
        await site.stop()
        _logger.info("Stopping: running requests may finish, new ones are not accepted.")
        await drain.wait(config.shutdown_seconds)
    finally:
        await runner.cleanup()


def listen(config: ServeConfig) -> socket.socket:
    """Return a socket that listens on the configured address, for several processes to share.

    Raises:
        CannotListen: the address cannot be listened on.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise _cannot_listen(error, config) from error


def _cannot_listen(error: OSError, config: ServeConfig) -> CannotListen:
    where = f"{config.host} port {config.port}"
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"{where} is in use; choose another with --port, or 0 for a free one.")
    reason = error.strerror or str(error)
    if error.errno is not None and error.errno > 0:
        # Else it is about a name that is not found. asyncio has a text of its own in `strerror`.
        reason = os.strerror(error.errno)
    advice = {
        errno.EACCES: "Choose a --port from 1024 on.",
        errno.EADDRNOTAVAIL: "Choose a --host that is an address of this machine.",
    }.get(error.errno or 0, "")
    return CannotListen(f"Listening on {where} is not possible: {reason}. {advice}".rstrip())


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
