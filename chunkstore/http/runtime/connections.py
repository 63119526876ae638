"""Connections of clients that are slow, silent or too many.

aiohttp waits without limit for a client to take an answer, and for up to the keep-alive timeout for
the head of a request. Here one timer checks all connections, several times within the shortest
limit, which costs less than a timer for each. The time that a body takes is limited by its reader
(`message/bodies`), who alone knows when it is the client that is waited for.
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
from chunkstore.core.proxies import UNIX_PROXY
from chunkstore.http.answers.documents import RETRY_AFTER_SECONDS, Problem, problem_document
from chunkstore.http.runtime.heads import BoundedParser
from chunkstore.http.runtime.paced import PacedConnection

_CHECKS_PER_LIMIT: Final = 4
# Unsent bytes that the kernel may hold. Without a bound it is megabytes, and a slow client is seen
# to take nothing for as long as it needs for those.
_UNSENT_SIZE: Final = 128 * 1024
# Refused connections that are kept open until their client has read why: how many, and how long.
MAX_REFUSALS: Final = 64
_REFUSAL_SECONDS: Final = 1.0
# A flood of connections has one line in the log for so long.
_REPORT_SECONDS: Final = 60.0

_SLOW_HEAD: Final = Problem(HTTPStatus.REQUEST_TIMEOUT, "slow-request")
_TOO_MANY: Final = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too-many-connections")

_logger = logging.getLogger(__name__)


class MonitoredConnection(PacedConnection):
    """A connection that its monitor checks from time to time."""

    __slots__ = (
        "_allowance",
        "_bytes_taken",
        "_checked",
        "_drained",
        "_head_begun",
        "_head_since",
        "_heads",
        "_monitor",
        "_reading_held",
        "_socket",
        "_stream",
        "_unsent",
        "_waited",
    )

    def __init__(self, monitor: ConnectionMonitor, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        super().__init__(monitor, **options)
        # It has the methods of aiohttp's parser that are called, but is none by its class.
        self._heads = BoundedParser(cast(HttpRequestParser, self._parser))
        self._parser = cast(HttpRequestParser, self._heads)
        self._monitor = monitor
        self._allowance = SlowClientAllowance(monitor.limits)
        self._checked = 0.0
        self._unsent = 0
        self._waited = 0.0
        self._bytes_taken = 0
        self._reading_held = False
        self._socket: int | None = None
        # aiohttp forgets the transport when it closes it; what was written may not be sent by then.
        self._stream: asyncio.Transport | None = None
        self._drained: asyncio.Future[bool] | None = None
        self._head_begun = False
        self._head_since: float | None = monitor.loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by their class.
        stream = cast(asyncio.Transport, transport)
        if self._monitor.is_full:
            self._monitor.refuse_for_many(stream)
            return
        self._monitor.taken += 1
        _bound_unsent(stream)
        # A writer waits until the transport has passed on all that the kernel did not take at once.
        if stream.get_extra_info("sslcontext") is None:
            stream.set_write_buffer_limits(high=0)
            self._socket = stream.get_extra_info("socket").fileno()
        else:
            # With 0, a transport of TLS pauses its writer also when it holds nothing.
            stream.set_write_buffer_limits(high=1)
        self._stream = stream
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stream = None
        super().connection_lost(exc)
        self._end_drain(True)

    def data_received(self, data: bytes) -> None:
        requests = self._heads.count
        super().data_received(data)
        if self._heads.error_is_pending:
            # The requests before it are queued by now.
            super().data_received(b"")
        if self._heads.count > requests:
            self._head_begun, self._head_since = False, None
        elif data and (self._awaits_request or not requests):
            self._head_begun = True
            if self._head_since is None:
                self._head_since = self._monitor.loop.time()

    @contextmanager
    def reading_held(self) -> Iterator[None]:
        self._reading_held = True
        self._pause_transport_reading()
        try:
            yield
        finally:
            self.let_read()

    def let_read(self) -> None:
        self._reading_held = False
        self._resume_transport_reading()

    def _resume_transport_reading(self) -> None:
        if not (self._reading_held or self._reading_paused or self._buffer_paused):
            super()._resume_transport_reading()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._checked = self._monitor.loop.time()
        self._unsent = 0 if self.transport is None else self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._waited += self._monitor.loop.time() - self._checked
        self._bytes_taken += self._unsent
        self._end_drain(True)

    def send_now(self, octets: memoryview) -> int:
        # As asyncio's sendfile does, this writes past the transport while that holds nothing back.
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("Connection lost")
        if self._socket is None or self.transport.get_write_buffer_size():
            return 0
        try:
            sent = os.write(self._socket, octets)
        except BlockingIOError:
            return 0
        self._bytes_taken += sent
        return sent

    async def wait_drained(self, seconds: float | None) -> bool:
        # aiohttp's own wait cannot be given up.
        if self.writing_paused and self.transport is not None:
            loop = self._monitor.loop
            self._drained = loop.create_future()
            timer = None
            if seconds is not None:
                timer = loop.call_later(seconds, self._end_drain, False)
            try:
                if not await self._drained:
                    return False
            finally:
                self._drained = None
                if timer is not None:
                    timer.cancel()
        if self.transport is None:
            raise ConnectionResetError("Connection lost")
        return True

    def _end_drain(self, drained: bool) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(drained)

    def check(self, now: float, most_seconds: float) -> None:
        """Break the connection off if its client has used up its time.

        At most `most_seconds` are counted, so that no client pays for a server that was suspended.
        """
        stream = self._stream
        if stream is None:
            return  # It is lost, and its handler has not found out yet.
        seconds, taken, self._waited, self._bytes_taken = self._waited, self._bytes_taken, 0.0, 0
        if not self.writing_paused and not stream.is_closing():
            self._allowance.renew()
            self._end_slow_head(now)
            return
        seconds, self._checked = seconds + min(now - self._checked, most_seconds), now
        unsent, self._unsent = self._unsent, stream.get_write_buffer_size()
        self._allowance.spend(seconds, taken + max(0, unsent - self._unsent))
        if self._allowance.exhausted:
            _logger.info("%s stopped reading its answer; the connection is closed.", self.peername)
            stream.abort()

    @property
    def _awaits_request(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _end_slow_head(self, now: float) -> None:
        """Answer 408 where a head has begun (RFC 9110 §15.5.9); only close where none has."""
        limit = self._monitor.limits.head_seconds or math.inf
        if not self._awaits_request or self._head_since is None or now - self._head_since <= limit:
            return
        if self._head_begun and self.transport is not None:
            _logger.info("%s sent no whole request in time; it is answered 408.", self.peername)
            self.transport.write(_closing_answer(_SLOW_HEAD, "The request did not come in time."))
        self.force_close()


class Flood:
    """Logs the first of many events at once, and how many came since after a while.

    `first` is the format of that line, `more` the one of the number.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        first: str,
        more: str,
        *,
        level: int = logging.WARNING,
    ) -> None:
        self._loop = loop
        self._first = first
        self._more = more
        self._level = level
        self._unreported = 0
        self._timer: asyncio.TimerHandle | None = None

    def log(self, *values: object) -> None:
        """Log an event with the values of its line, or count it."""
        if self._timer is not None:
            self._unreported += 1
            return
        _logger.log(self._level, self._first, *values)
        self._timer = self._loop.call_later(_REPORT_SECONDS, self._report)

    def close(self) -> None:
        """Log what was only counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._report()

    def _report(self) -> None:
        count, self._unreported, self._timer = self._unreported, 0, None
        if count:
            _logger.log(self._level, self._more, count)


class ConnectionMonitor(web.Server):
    """A server that checks its connections, and has no more of them than its limit."""

    def __init__(self, *arguments: Any, limits: Limits, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **options)
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        # How many connections were taken, and were not.
        self.taken = self.refused = self.failed_handshakes = 0
        self._refusals: set[_Refusal] = set()
        self._refusal_log = Flood(
            self.loop,
            "A connection from %s was refused: all %d that --max-connections allows are in use.",
            "%d more connections were refused since.",
        )
        self._handshake_log = Flood(
            self.loop,
            "A TLS handshake with %s failed: %s.",
            "%d more TLS handshakes failed since.",
            level=logging.INFO,
        )
        self._check_seconds = limits.shortest_seconds / _CHECKS_PER_LIMIT
        self._next_check: asyncio.TimerHandle | None = None
        self._schedule_check()

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self.connections) >= self.limits.max_connections

    def refuse_for_many(self, transport: asyncio.Transport) -> None:
        """Answer 503 on a connection that is one too many, and close it."""
        peer = transport.get_extra_info("peername")
        self.log_refusal(str(peer[0] if isinstance(peer, tuple) else peer or UNIX_PROXY))
        self.refuse(transport, _TOO_MANY, "The server has no connection left; try again.")

    def refuse(self, transport: asyncio.Transport, problem: Problem, detail: str) -> None:
        """Answer with a problem on a connection that no request is read from, and close it."""
        transport.write(_closing_answer(problem, detail))
        if len(self._refusals) >= MAX_REFUSALS or not transport.can_write_eof():
            # TLS has an end of its own, behind which an answer can still be read.
            transport.close()
        else:
            transport.set_protocol(_Refusal(self._refusals, transport, self.loop))

    def log_refusal(self, peer: str) -> None:
        """Log that a connection was refused, because all are in use."""
        self.refused += 1
        self._refusal_log.log(peer, self.limits.max_connections)

    def log_failed_handshake(self, peer: str, reason: str) -> None:
        """Log that a client did not come as far as a request."""
        self.failed_handshakes += 1
        self._handshake_log.log(peer, reason)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's
        if self._next_check is not None:
            self._next_check.cancel()
        self._refusal_log.close()
        self._handshake_log.close()
        await super().shutdown(timeout)

    def _schedule_check(self) -> None:
        if self._check_seconds:
            self._next_check = self.loop.call_later(self._check_seconds, self._check)

    def _check(self) -> None:
        self._schedule_check()
        now = self.loop.time()
        for connection in self.connections:
            if isinstance(connection, MonitoredConnection):
                connection.check(now, 2 * self._check_seconds)


class _Refusal(asyncio.Protocol):
    """A refused connection, which stays open for a moment, until its client has read why.

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
    """Bound the unsent bytes that the kernel holds, where the system has an option for it."""
    with suppress(AttributeError, OSError):
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_SIZE
        )


def _closing_answer(problem: Problem, detail: str) -> bytes:
    """Return the bytes of an answer that ends its connection, where there is no request yet."""
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
