"""A runner whose server answers malformed requests, which reach no handler, with problem documents.

aiohttp answers them with plain text, in a method of its connection class, and has no public way to
put another class in its place. The runner here overrides the private method that makes the server.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMethod, HttpProcessingError, LineTooLong

from chunkstore.core.client_limits import DEFAULT_LIMITS
from chunkstore.core.proxies import ProxyPolicy
from chunkstore.http.answers.documents import Problem, problem_document
from chunkstore.http.runtime.connections import ConnectionMonitor, MonitoredConnection
from chunkstore.http.runtime.counting import COUNTER, RequestCounter
from chunkstore.http.runtime.exchange import LIMITS
from chunkstore.http.runtime.heads import MOST_BYTES, MOST_FIELDS, HeadTooLarge
from chunkstore.http.runtime.senders import PROXIES, add_request_id, address_of, identify

# They differ, for only by the limit does the parser's error tell a target from a field.
_MAX_TARGET_SIZE: Final = 8191
_MAX_FIELD_SIZE: Final = 8190
# A connection buffers up to twice this, and one read of its socket, of a body whose upload waits
# for memory or for the store.
_READ_SIZE: Final = 16 * 1024

_BaseHandler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_logger = logging.getLogger(__name__)


class _Protocol(MonitoredConnection):
    """A connection on which every error is a problem document."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            # The client has gone, which the middleware has logged. At this error aiohttp closes the
            # connection; its own method would log a traceback, and a 500 in the access log.
            raise exc
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        identify(request, None)
        _logger.info("Malformed request from %s: %s", address_of(request), type(exc).__name__)
        problem, detail = _explain(HTTPStatus(status), exc)
        response = problem_document(problem, detail)
        add_request_id(request, response)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ANN401 - aiohttp's
        if isinstance(kw.get("exc_info"), web.RequestPayloadError):
            # aiohttp reads the rest of a body whose request has been answered.
            _logger.info("%s sent a malformed body; the connection is closed.", self.peername)
            return
        super().log_exception(*args, **kw)


def _explain(status: HTTPStatus, error: HttpProcessingError) -> tuple[Problem, str]:
    if isinstance(error, BadHttpMethod):
        return Problem(HTTPStatus.NOT_IMPLEMENTED, "unknown-method"), "The method is unknown."
    if isinstance(error, HeadTooLarge):
        problem = Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header-too-large")
        return problem, f"A request's head can have {MOST_BYTES} bytes, {MOST_FIELDS} fields."
    if isinstance(error, LineTooLong):
        return _explain_length(limit=error.args[1])
    return Problem(status, "malformed-request"), "This is not a request that HTTP allows."


def _explain_length(limit: int) -> tuple[Problem, str]:
    if limit == _MAX_TARGET_SIZE:
        problem = Problem(HTTPStatus.REQUEST_URI_TOO_LONG, "target-too-long")
        return problem, f"The URL is longer than {limit} bytes."
    problem = Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header-too-large")
    return problem, f"A line of the header is longer than {limit} bytes."


class _Server(ConnectionMonitor):
    """Makes connections of that class."""

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self.loop, **self._kwargs)


def _routable(handler: _BaseHandler, proxies: ProxyPolicy | None) -> _BaseHandler:
    """Return a handler that notes whom each request is of, and refuses some.

    Those are requests that aiohttp answers itself, past all middleware: that have no path, and
    those with an Expect that is not ASCII, at which it would fail; and those of which a trusted
    proxy does not tell clearly whom it forwards them of.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        fault = identify(request, proxies)
        if fault is not None:
            problem = Problem(HTTPStatus.BAD_REQUEST, "malformed-request")
            response = problem_document(problem, fault)
        elif not request.headers.get(hdrs.EXPECT, "").isascii():
            problem = Problem(HTTPStatus.EXPECTATION_FAILED, "unknown-expectation")
            response = problem_document(problem, "Only 100-continue can be expected.")
        elif not request.rel_url.raw_path.startswith("/"):
            problem = Problem(HTTPStatus.NOT_FOUND, "not-found")
            response = problem_document(problem, "Nothing is here; the target has no path.")
        else:
            return await handler(request)
        add_request_id(request, response)
        response.force_close()
        return response

    return answer


def _counted(handler: _BaseHandler, counter: RequestCounter) -> _BaseHandler:
    """Return a handler that counts the requests under way, and those that get no answer."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        counter.began()
        try:
            return await handler(request)
        except (ConnectionError, asyncio.CancelledError):
            counter.broken_off(request)
            raise
        finally:
            counter.ended()

    return answer


class ProblemRunner(web.AppRunner):
    """Runs an application: every error is a problem document, and its `LIMITS` are kept to."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        handler = _routable(server.request_handler, self.app.get(PROXIES))
        counter = self.app.get(COUNTER)
        return _Server(
            handler if counter is None else _counted(handler, counter),
            limits=self.app.get(LIMITS, DEFAULT_LIMITS),
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            max_headers=MOST_FIELDS,
            max_line_size=_MAX_TARGET_SIZE,
            max_field_size=_MAX_FIELD_SIZE,
            **{"read_bufsize": _READ_SIZE, **server._kwargs},
        )

    @property
    def connections(self) -> ConnectionMonitor:
        """What makes the protocol of each connection, once the runner is set up."""
        assert isinstance(self.server, ConnectionMonitor)
        return self.server
