"""Connections of clients that are slow, silent or too many.

aiohttp waits as long as a client likes for it to take an answer, and up to the keep-alive timeout
for the head of a request. Here the server looks at all its connections several times within the
shortest limit, which costs less than timers on each. Bodies are watched by those who read
them, in `streaming`, for they know when it is the client that is waited for.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_parser import HttpRequestParser

from chunkstore.core.client_limits import Limits, SlowClientAllowance
from chunkstore.core.conditional import format_http_date
from chunkstore.http.message.connection import PacedConnection
from chunkstore.http.message.problems import RETRY_AFTER_SECONDS, Problem, problem_document
from chunkstore.http.runtime.heads import BoundedParser

_LOOKS: Final = 4
# What the kernel may hold that is not on its way yet. Without a bound it is megabytes, and much
# time passes before a slow client is seen to take anything.
_UNSENT_SIZE: Final = 128 * 1024
# Refused connections that are waited for at the same time, and for how long, to read the answer.
_MAX_REFUSALS: Final = 64
_REFUSAL_SECONDS: Final = 1.0

_SLOW_HEAD: Final = Problem(HTTPStatus.REQUEST_TIMEOUT, "slow-request")
_TOO_MANY: Final = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too-many-connections")

_logger = logging.getLogger(__name__)


class MonitoredConnection(PacedConnection):
    """A connection that is looked at from time to time."""

    __slots__ = (
        "_allowance",
        "_head_begun",
        "_head_since",
        "_looked",
        "_monitor",
        "_reading_held",
        "_socket",
        "_taken",
        "_taking",
        "_unsent",
        "_waited",
    )

    def __init__(self, monitor: ConnectionMonitor, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        super().__init__(monitor, **options)
        # It has the methods of the parser that are called, but is none by its class.
        self._parser = cast(HttpRequestParser, BoundedParser(cast(HttpRequestParser, self._parser)))
        self._monitor = monitor
        self._allowance = SlowClientAllowance(monitor.limits)
        self._looked = 0.0
        self._unsent = 0
        self._waited = 0.0
        self._taken = 0
        self._reading_held = False
        self._socket: int | None = None
        self._taking: asyncio.Future[bool] | None = None
        self._head_begun = False
        self._head_since: float | None = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by their class.
        stream = cast(asyncio.Transport, transport)
        if self._monitor.is_full:
            self._monitor.refuse(stream)
            return
        _bound_unsent(stream)
        # An answer waits until all that the kernel did not take at once has gone.
        stream.set_write_buffer_limits(high=0)
        if stream.get_extra_info("sslcontext") is None:
            self._socket = stream.get_extra_info("socket").fileno()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._end_taking(True)

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count > requests:
            self._head_begun, self._head_since = False, None
        elif data and (self._awaits_request or not requests):
            self._head_begun = True
            if self._head_since is None:
                self._head_since = self._loop.time()

    @contextmanager
    def reading_held(self) -> Iterator[None]:
        self._reading_held = True
        self._pause_transport_reading()
        try:
            yield
        finally:
            self._reading_held = False
            self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if not (self._reading_held or self._reading_paused or self._buffer_paused):
            super()._resume_transport_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._looked = self._loop.time()
        self._unsent = 0 if self.transport is None else self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._waited += self._loop.time() - self._looked
        self._taken += self._unsent
        self._end_taking(True)

    def send_now(self, octets: memoryview) -> int:
        # As asyncio's sendfile does, this passes by the transport, where that holds nothing back.
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("Connection lost")
        if self._socket is None or self.transport.get_write_buffer_size():
            return 0
        try:
            sent = os.write(self._socket, octets)
        except BlockingIOError:
            return 0
        self._taken += sent
        return sent

    async def has_taken(self, seconds: float | None) -> bool:
        # Unlike aiohttp's own wait this one can be given up.
        if self.writing_paused and self.transport is not None:
            self._taking = self._loop.create_future()
            timer = None
            if seconds is not None:
                timer = self._loop.call_later(seconds, self._end_taking, False)
            try:
                if not await self._taking:
                    return False
            finally:
                self._taking = None
                if timer is not None:
                    timer.cancel()
        if self.transport is None:
            raise ConnectionResetError("Connection lost")
        return True

    def _end_taking(self, taken: bool) -> None:
        if self._taking is not None and not self._taking.done():
            self._taking.set_result(taken)

    def look(self, now: float, most_seconds: float, transport: asyncio.Transport) -> None:
        """Break the connection off if its client has used up its time.

        At most `most_seconds` are counted, so that a server that was stopped blames no client.
        """
        if self._manager is None:
            return  # It is lost, and a handler has not found out yet.
        seconds, taken, self._waited, self._taken = self._waited, self._taken, 0.0, 0
        if not self.writing_paused and not transport.is_closing():
            self._allowance.renew()
            self._end_slow_head(now)
            return
        seconds, self._looked = seconds + min(now - self._looked, most_seconds), now
        unsent, self._unsent = self._unsent, transport.get_write_buffer_size()
        self._allowance.spend(seconds, taken + max(0, unsent - self._unsent))
        if self._allowance.exhausted:
            _logger.info("%s takes nothing any more, and is cut off.", self.peername)
            transport.abort()

    @property
    def _awaits_request(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _end_slow_head(self, now: float) -> None:
        """Answer 408 where a head has begun (RFC 9110 §15.5.9); only close where none has."""
        limit = self._monitor.limits.head_seconds or math.inf
        if not self._awaits_request or self._head_since is None or now - self._head_since <= limit:
            return
        if self._head_begun and self.transport is not None:
            _logger.info("%s sent no whole request in time, and is cut off.", self.peername)
            self.transport.write(_last_answer(_SLOW_HEAD, "The request did not come in time."))
        self.force_close()


class ConnectionMonitor(web.Server):
    """A server that looks at its connections, and has no more of them than its limit."""

    def __init__(self, *arguments: Any, limits: Limits, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.limits = limits
        self._refusals: set[_Refusal] = set()
        self._look_seconds = limits.shortest_seconds / _LOOKS
        self._looking: asyncio.TimerHandle | None = None
        self._look_later()

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self._connections) >= self.limits.max_connections

    def refuse(self, transport: asyncio.Transport) -> None:
        """Answer 503 on a connection that is one too many, and close it."""
        transport.write(_last_answer(_TOO_MANY, "The server has no connection left; try again."))
        if len(self._refusals) >= _MAX_REFUSALS:
            transport.close()
        else:
            transport.set_protocol(_Refusal(self._refusals, transport, self._loop))

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's
        if self._looking is not None:
            self._looking.cancel()
        await super().shutdown(timeout)

    def _look_later(self) -> None:
        if self._look_seconds:
            self._looking = self._loop.call_later(self._look_seconds, self._look)

    def _look(self) -> None:
        self._look_later()
        now = self._loop.time()
        for connection, transport in list(self._connections.items()):
            if isinstance(connection, MonitoredConnection):
                connection.look(now, 2 * self._look_seconds, transport)


class _Refusal(asyncio.Protocol):
    """A connection that was refused and stays until its client has read so, but not for long.

    Closed at once, with a request unread, it would be reset, and the answer lost.
    """

    def __init__(
        self,
        refusals: set[_Refusal],
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._refusals = refusals
        self._end = loop.call_later(_REFUSAL_SECONDS, transport.abort)
        refusals.add(self)
        transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._refusals.discard(self)


def _bound_unsent(transport: asyncio.Transport) -> None:
    """Let the kernel hold no more of an answer than it can send soon, where it knows how to."""
    with suppress(AttributeError, OSError):
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_SIZE
        )


def _last_answer(problem: Problem, detail: str) -> bytes:
    """Return an answer that ends its connection, for where there is no request to answer."""
    response = problem_document(problem, detail)
    assert isinstance(response.body, bytes)
    fields = {
        **response.headers,
        "Content-Length": str(len(response.body)),
        "Date": format_http_date(datetime.now(UTC)),
        "Connection": "close",
    }
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields["Retry-After"] = RETRY_AFTER_SECONDS
    status_line = f"HTTP/1.1 {int(problem.status)} {problem.phrase}"
    lines = [status_line, *(f"{field}: {value}" for field, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + response.body
