"""How many requests there are, how long they take, and what goes over their connections."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from logging import Logger
from typing import ClassVar, Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from chunkstore.core.metrics import MICROSECOND, Family, Kind, Labels, Slot
from chunkstore.core.timings import SECONDS
from chunkstore.http.runtime.exchange import bytes_received

# Of a path, method or status that has no series of its own; clients choose the first two.
OTHER: Final = "_OTHER"
METHODS: Final = (
    *(OTHER, "GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "COPY", "MOVE", "MKCOL"),
    *("PROPFIND", "PROPPATCH", "LOCK", "UNLOCK"),
)
_STATUSES: Final = (OTHER, *(str(int(status)) for status in HTTPStatus))
_WIDTH: Final = len(SECONDS) + 2

REQUESTS: Final = "chunkstore_http_requests_total"
REQUEST_SECONDS: Final = "chunkstore_http_request_seconds"
BROKEN_OFF: Final = "chunkstore_http_requests_broken_off_total"
IN_FLIGHT: Final = "chunkstore_http_requests_in_flight"
RECEIVED: Final = "chunkstore_http_received_bytes_total"
SENT: Final = "chunkstore_http_sent_bytes_total"


def request_families(routes: Sequence[str]) -> list[Family]:
    """Return the families of requests to these routes, templates of paths, and to others."""
    pairs = tuple((route, method) for route in (OTHER, *routes) for method in METHODS)
    answered = tuple((*pair, status) for pair in pairs for status in _STATUSES)
    by_pair = ("route", "method")

    def counted(
        name: str, text: str, labels: Labels = by_pair, series: tuple[Labels, ...] = pairs
    ) -> Family:
        return Family(name, Kind.COUNTER, text, labels, series, shows_zero=False)

    return [
        counted(REQUESTS, "Requests answered.", (*by_pair, "status"), answered),
        Family(
            REQUEST_SECONDS,
            Kind.HISTOGRAM,
            "Time from the head of a request to the end of its answer.",
            by_pair,
            pairs,
            MICROSECOND,
            SECONDS,
            shows_zero=False,
        ),
        counted(BROKEN_OFF, "Requests without a whole answer, as the connection was lost."),
        Family(IN_FLIGHT, Kind.GAUGE, "Requests that are being answered."),
        counted(RECEIVED, "Bytes of the bodies of requests."),
        counted(SENT, "Bytes of answers, with their heads."),
    ]


class RequestCounter:
    """Counts the requests of a process in its `slot`; `routes` is as in `request_families`."""

    def __init__(self, slot: Slot, routes: Sequence[str]) -> None:
        self._rows = slot.rows
        self._in_flight = slot.first(IN_FLIGHT)
        self._requests = slot.first(REQUESTS)
        self._seconds = slot.first(REQUEST_SECONDS)
        self._broken_off = slot.first(BROKEN_OFF)
        self._received = slot.first(RECEIVED)
        self._sent = slot.first(SENT)
        self._templates = {route: number for number, route in enumerate((OTHER, *routes))}
        self._methods = {method: number for number, method in enumerate(METHODS)}
        self._statuses = {int(status): at for at, status in enumerate(HTTPStatus, 1)}
        self._resources: dict[web.AbstractResource | None, int] = {}

    def know(self, app: web.Application) -> None:
        """Note the routes of an application, before it is mounted below a path."""
        for resource in app.router.resources():
            self._resources[resource] = self._templates.get(resource.canonical, 0)

    def began(self) -> None:
        """Count a request that is being answered from now on."""
        self._rows[self._in_flight] += 1

    def ended(self) -> None:
        """Count it no more."""
        self._rows[self._in_flight] -= 1

    def answered(
        self, request: web.BaseRequest, response: web.StreamResponse, seconds: float
    ) -> None:
        """Count an answer that has been written, `seconds` after the head of its request."""
        rows, pair = self._rows, self._pair_of(request)
        status = self._statuses.get(response.status, 0)
        rows[self._requests + pair * len(_STATUSES) + status] += 1
        histogram = self._seconds + pair * _WIDTH
        rows[histogram + bisect_left(SECONDS, seconds)] += 1
        rows[histogram + _WIDTH - 1] += int(seconds / MICROSECOND)
        rows[self._received + pair] += bytes_received(request)
        rows[self._sent + pair] += response.body_length

    def broken_off(self, request: web.BaseRequest) -> None:
        """Count a request whose connection was lost before it had its answer."""
        pair = self._pair_of(request)
        self._rows[self._broken_off + pair] += 1
        self._rows[self._received + pair] += bytes_received(request)

    def _pair_of(self, request: web.BaseRequest) -> int:
        method = self._methods.get(request.method, 0)
        # aiohttp asserts that a route was looked for, which it is not for what is refused before.
        with suppress(AssertionError):
            if isinstance(request, web.Request):
                resource = request.match_info.route.resource
                return self._resources.get(resource, 0) * len(METHODS) + method
        return method


# What counts the requests of an application's server, if that has one.
COUNTER: Final = web.AppKey("counter", RequestCounter)


class CountingLogger(AbstractAccessLogger):
    """Counts each answer by `counter`, and logs as a `log_class` does; without one, not at all."""

    counter: ClassVar[RequestCounter]
    log_class: ClassVar[type[AbstractAccessLogger] | None]

    def __init__(self, logger: Logger, log_format: str) -> None:
        super().__init__(logger, log_format)
        log_class = self.log_class
        self._logged = None if log_class is None else log_class(logger, log_format)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Count one request, answered in `time` seconds, and log it."""
        self.counter.answered(request, response, time)
        if self._logged is not None:
            self._logged.log(request, response, time)


def counting_logger(
    counter: RequestCounter, log_class: type[AbstractAccessLogger] | None
) -> type[AbstractAccessLogger]:
    """Return a class of access loggers that count, and log as `log_class` does, or not at all."""
    # aiohttp takes a class, and passes it nothing of ours.
    return type("Logger", (CountingLogger,), {"counter": counter, "log_class": log_class})
