"""Accepting connections from the sockets of a server, until it stops."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.log import access_logger

from chunkstore.http.runtime.access_log import AccessLogger, FieldsAccessLogger
from chunkstore.http.runtime.connections import ConnectionMonitor
from chunkstore.http.runtime.counting import COUNTER, counting_logger
from chunkstore.http.runtime.draining import Drain
from chunkstore.http.runtime.runner import ProblemRunner
from chunkstore.http.runtime.tls import TlsListener
from chunkstore.server.certificate import Certificate
from chunkstore.server.config import LogFormat, ServeConfig
from chunkstore.server.listening import BACKLOG, Listening, cannot_listen, is_unix

_KEEPALIVE_SECONDS: Final = 75.0
# For requests that are still running then to be cancelled.
_CUT_OFF_SECONDS: Final = 1.0
_ACCESS_LOGGERS: Final[dict[LogFormat, type[AbstractAccessLogger]]] = {
    LogFormat.TEXT: AccessLogger,
    LogFormat.JSON: FieldsAccessLogger,
}

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def accepting(
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
