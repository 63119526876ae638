"""One request and its answer: what aiohttp knows of them and has no documented way to tell."""

from __future__ import annotations

from typing import Final, cast

from aiohttp import HttpVersion10, HttpVersion11, hdrs, web
from aiohttp.http import StreamWriter
from yarl import URL

from chunkstore.core.client_limits import Limits
from chunkstore.http.runtime.paced import PacedConnection

# The limits on clients of an application, which its runner and its handlers keep to.
LIMITS: Final = web.AppKey("limits", Limits)
_KNOWN_VERSIONS: Final = (HttpVersion10, HttpVersion11)


class FileResponse(web.StreamResponse):
    """An answer whose head leaves with the first bytes of its body, in one packet."""

    _send_headers_immediately = False


def bytes_received(request: web.BaseRequest) -> int:
    """Return how many bytes of the request's body have come."""
    return request.content.total_bytes


def bytes_sent(request: web.BaseRequest) -> int:
    """Return how many bytes of the answer have been written; interim answers do not count."""
    return request.writer.output_size


async def send_interim(request: web.BaseRequest, head: str) -> None:
    """Send an interim answer (RFC 9110 §15.2), of which `head` is all but the empty line.

    Raises:
        ConnectionError: the connection is lost.
    """
    await request.writer.write(f"{head}\r\n\r\n".encode())
    # aiohttp does so behind its own `100 Continue`: the final answer has not begun.
    request.writer.output_size = 0


def has_known_version(request: web.BaseRequest) -> bool:
    """Whether the request is in HTTP/1.0 or HTTP/1.1.

    If not, its answer will be in HTTP/1.1: aiohttp names the request's version in it. That is
    settled where `request.version` is first read, so ask this before.
    """
    if request._version in _KNOWN_VERSIONS:
        return True
    request._version = HttpVersion11
    return False


def absolute_target(request: web.BaseRequest) -> URL | None:
    """Return the request's target where it has an authority, None where it is only a path.

    RFC 9112 §3.2.2 and §3.2.3. `request.url` puts Host and scheme of its own in their place.
    """
    target = request.raw_path
    if request.method == hdrs.METH_CONNECT:
        return URL.build(authority=target, encoded=True)
    url = None if target.startswith("/") else URL(target, encoded=True)
    return url if url is not None and url.absolute else None


def paced_connection(request: web.BaseRequest) -> PacedConnection | None:
    """Return the request's connection if it is one of this server's, not of another runner's."""
    connection = request.protocol
    return connection if isinstance(connection, PacedConnection) else None


def let_read(request: web.BaseRequest) -> None:
    """Have the connection read again, once nobody reads the request's body any more.

    Python ends a generator that was left when it is collected, which can be much later.
    """
    connection = paced_connection(request)
    if connection is not None:
        connection.let_read()


def send_now(request: web.BaseRequest, connection: PacedConnection, octets: memoryview) -> int:
    """Send as much of an answer's body as the kernel takes at once; see `PacedConnection`."""
    sent = connection.send_now(octets)
    request.writer.output_size += sent
    return sent


def frame_by_hand(request: web.BaseRequest) -> bool:
    """Leave the chunked coding of an answer that has begun to who writes it (RFC 9112 §7.1).

    Return whether there is one: HTTP/1.0 has none.
    """
    writer = cast(StreamWriter, request.writer)
    chunked, writer.chunked = writer.chunked, False
    return chunked


async def write_without_waiting(request: web.BaseRequest, octets: bytes) -> None:
    """Write a piece of an answer's body, and do not wait for the client to take it."""
    await cast(StreamWriter, request.writer).write(octets, drain=False)
