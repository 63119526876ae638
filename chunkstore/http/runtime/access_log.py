"""An entry in the log for each request."""

from __future__ import annotations

from contextlib import suppress

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from chunkstore.http.runtime.senders import ACCOUNT, address_of, request_id_of
from chunkstore.http.runtime.targets import shown_target


class AccessLogger(AbstractAccessLogger):
    """Logs client, request line, status, bytes sent, seconds, user agent, and the request's id.

    aiohttp's own makes such a line from a format string, which takes several times as long.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one request, answered in `time` seconds."""
        version = request.version
        self.logger.info(
            '%s "%s %s HTTP/%d.%d" %d %d %.6fs "%s" %s',
            address_of(request) or "-",
            request.method,
            escape(shown_target(request)),
            version.major,
            version.minor,
            response.status,
            response.body_length,
            time,
            escape(request.headers.get("User-Agent", "-")),
            request_id_of(request) or "-",
        )


class FieldsAccessLogger(AbstractAccessLogger):
    """Logs the same as named fields, and the route, for a formatter that writes these."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one request, answered in `time` seconds."""
        fields = {
            "request_id": request_id_of(request),
            "method": request.method,
            "route": _route_of(request),
            "target": shown_target(request),
            "status": response.status,
            "bytes": response.body_length,
            "seconds": round(time, 6),
            "remote": address_of(request),
            "account": request.get(ACCOUNT),
            "user_agent": request.headers.get("User-Agent"),
        }
        self.logger.info("request", extra={"fields": fields})


def _route_of(request: web.BaseRequest) -> str | None:
    """Return the template of the request's route, which has no name of a file in it."""
    # aiohttp asserts that a route was looked for, which it is not for what is refused before.
    with suppress(AssertionError):
        if isinstance(request, web.Request):
            resource = request.match_info.route.resource
            return None if resource is None else resource.canonical
    return None


def escape(text: str) -> str:
    r"""Return the text escaped for a quoted part of a line, also where a terminal shows it.

    Characters that are not printable ASCII become `\xNN`, `\uNNNN` or `\UNNNNNNNN`, or `\t`, `\r`
    or `\n`; quotes and backslashes get a backslash.
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode().replace('"', '\\"')
