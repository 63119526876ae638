"""A line in the log for each request."""

from __future__ import annotations

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from chunkstore.http.runtime.connections import UNIX


class AccessLogger(AbstractAccessLogger):
    """Logs client, request line, status, bytes sent, seconds and user agent.

    aiohttp's own makes the same line from a format string, which takes several times as long.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one request, answered in `time` seconds."""
        version = request.version
        self.logger.info(
            '%s "%s %s HTTP/%d.%d" %d %d %.6fs "%s"',
            request.remote or UNIX,
            request.method,
            escape(request.path_qs),
            version.major,
            version.minor,
            response.status,
            response.body_length,
            time,
            escape(request.headers.get("User-Agent", "-")),
        )


def escape(text: str) -> str:
    r"""Return the text escaped for a quoted part of a line, also where a terminal shows it.

    Characters that are not printable ASCII become `\xNN`, `\uNNNN` or `\UNNNNNNNN`, or `\t`, `\r`
    or `\n`; quotes and backslashes get a backslash.
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode().replace('"', '\\"')
