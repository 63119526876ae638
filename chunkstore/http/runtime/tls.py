"""Accepting connections over TLS: how many handshakes there may be, and how slow.

asyncio hands a connection over when its handshake has ended; until then nobody would count it, or
could refuse it. Here the socket is accepted first, and the first byte looked at.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from chunkstore.http.answers.documents import Problem
from chunkstore.http.runtime.connections import MAX_REFUSALS, ConnectionMonitor

# For the peer to answer the end of the TLS connection.
_SHUTDOWN_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.5
_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_TLS_REQUIRED: Final = Problem(HTTPStatus.BAD_REQUEST, "tls-required")

_logger = logging.getLogger(__name__)


class TlsListener:
    """Accepts connections from `listening` for `server`, each with the context of that moment.

    A handshake may take as long as the head of a request; those under way count as connections.
    """

    def __init__(
        self,
        server: ConnectionMonitor,
        listening: socket.socket,
        context: Callable[[], ssl.SSLContext],
    ) -> None:
        self._server = server
        self._listening = listening
        self._context = context
        self._seconds = server.limits.head_seconds or None
        self._most = server.limits.max_connections + MAX_REFUSALS
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self, backlog: int) -> None:
        """Listen, and accept from now on."""
        self._listening.setblocking(False)
        self._listening.listen(backlog)
        self._accepting = self._loop.create_task(self._accept())

    async def stop(self) -> None:
        """Accept no more, and end the handshakes under way; connections stay."""
        tasks = [*self._handshakes, *filter(None, [self._accepting])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()

    async def _accept(self) -> None:
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listening)
            except OSError as error:
                if error.errno in _OUT_OF_FILES:
                    _logger.error("No connection can be accepted: %s.", error.strerror)  # noqa: TRY400 - no defect
                    await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._handshakes) + len(self._server.connections) >= self._most:
                self._server.log_refusal(_peer_of(connection))
                connection.close()
                continue
            task = self._loop.create_task(self._admit(connection))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _admit(self, connection: socket.socket) -> None:
        peer = _peer_of(connection)
        try:
            async with asyncio.timeout(self._seconds):
                first = await self._first_byte(connection)
                if first.isalpha():
                    await self._refuse_plain(connection)
                elif first:
                    await self._shake_hands(connection)
                else:
                    connection.close()
        except (OSError, asyncio.CancelledError) as error:
            connection.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            self._server.log_failed_handshake(peer, _reason_of(error))

    async def _first_byte(self, connection: socket.socket) -> bytes:
        """Wait for a byte that the peer sends, and leave it in the socket; b"" at the end."""
        while True:
            try:
                return connection.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                readable = self._loop.create_future()
                self._loop.add_reader(connection, _resolve, readable)
                try:
                    await readable
                finally:
                    self._loop.remove_reader(connection)

    async def _shake_hands(self, connection: socket.socket) -> None:
        await self._loop.connect_accepted_socket(
            self._server,
            connection,
            ssl=self._context(),
            ssl_handshake_timeout=self._seconds,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
        )

    async def _refuse_plain(self, connection: socket.socket) -> None:
        transport, _ = await self._loop.connect_accepted_socket(asyncio.Protocol, connection)
        self._server.refuse(
            transport, _TLS_REQUIRED, "This port speaks TLS; the URL begins with https://."
        )


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _peer_of(connection: socket.socket) -> str:
    try:
        return str(connection.getpeername()[0])
    except OSError:
        return "a client that has gone"


def _reason_of(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return "it took too long" if isinstance(error, TimeoutError) else "the connection was lost"
