"""Bodies: reading that of a request, sending a file as that of an answer."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Final

from aiohttp import HttpVersion11, web

from chunkstore.core.client_limits import SlowClientAllowance
from chunkstore.core.errors import InvalidRequest
from chunkstore.core.manifest import Manifest
from chunkstore.core.ranges import ByteRange
from chunkstore.http.message.problems import EncodedBody, SlowBody, UnsupportedMedia
from chunkstore.http.message.sending import BodySender, Part
from chunkstore.http.runtime.exchange import (
    LIMITS,
    bytes_received,
    paced_connection,
    send_interim,
)
from chunkstore.service.service import Service

_BOUNDARY_BYTES: Final = 16
_SHORT_PIECE: Final = 4 * 1024


async def defer_continue(request: web.Request) -> None:
    """Leave `Expect: 100-continue` unanswered for now (RFC 9110 §10.1.1).

    `read_body` sends `100 Continue` once the handler has found nothing to refuse.
    """


async def send_continue(request: web.Request) -> None:
    """Tell a client that waits for `100 Continue` to send the body now."""
    if "Expect" in request.headers and request.version >= HttpVersion11:
        await send_interim(request, "HTTP/1.1 100 Continue")


class BodyTimer:
    """Measures the time that a request's body is waited for, and ends it when that is too much.

    Only the time within `waiting` is the client's. While the server works on what has come, or
    waits for memory or its store, the client's time does not run.
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._allowance = SlowClientAllowance(request.app[LIMITS])
        self._seen = 0
        self.seconds = 0.0

    @asynccontextmanager
    async def waiting(self, most_seconds: float = math.inf) -> AsyncIterator[None]:
        """Limit the time of a read within the context to `most_seconds`, and count it.

        Raises:
            SlowBody: the client's time is used up.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        left = self._allowance.timeout_seconds
        timeout = min(most_seconds, math.inf if left is None else left)
        try:
            async with asyncio.timeout(None if math.isinf(timeout) else timeout):
                yield
        except TimeoutError as error:
            if timeout < most_seconds:
                raise SlowBody from error
        finally:
            self.seconds += loop.time() - began
        seen, self._seen = self._seen, bytes_received(self._request)
        self._allowance.spend(loop.time() - began, self._seen - seen)


async def read_body(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the request's body as it comes, and an empty piece for each `stall_seconds` of waiting.

    The waits add up: by an empty piece, the caller learns that its client is slow.

    Raises:
        SlowBody: it does not come, or too slowly.
        RequestPayloadError: it is malformed.
    """
    await send_continue(request)
    content, timer, taken = request.content, BodyTimer(request), 0
    stall_seconds = request.app[LIMITS].stall_seconds or math.inf
    stalled = stall_seconds
    while not content.at_eof():
        piece = b""
        # Pieces stay as the socket gave them: to join or to cut them would be one more copy.
        if bytes_received(request) > taken:
            piece, _ = await content.readchunk()
        else:
            async with timer.waiting(stalled - timer.seconds):
                piece, _ = await content.readchunk()
        if 0 < len(piece) < _SHORT_PIECE:
            # Short pieces are joined, or each byte could cost a round of the event loop.
            piece += content.read_nowait()
        taken += len(piece)
        if piece:
            with _reading_held(request):
                yield piece
        if timer.seconds >= stalled:
            stalled = timer.seconds + stall_seconds
            yield b""
    _require_well_formed(request)


def _require_well_formed(request: web.Request) -> None:
    """Refuse a body that is malformed: aiohttp takes what came before for all of it.

    Raises:
        RequestPayloadError: it is.
    """
    error = request.content.exception()
    # Others are of connections that were lost, which matters to a body only while it is read.
    if isinstance(error, web.RequestPayloadError):
        raise error


def _reading_held(request: web.Request) -> AbstractContextManager[None]:
    """Stop reading from the socket within the context, where the connection is paced."""
    connection = paced_connection(request)
    return nullcontext() if connection is None else connection.reading_held()


def require_identity_coding(request: web.Request) -> None:
    """Refuse an encoded body: what is stored is what was sent.

    Raises:
        EncodedBody: it has a Content-Encoding.
    """
    codings = ",".join(request.headers.getall("Content-Encoding", [])).split(",")
    if any(coding.strip().lower() not in ("", "identity") for coding in codings):
        raise EncodedBody("Content-Encoding is not supported; send the file as it is.")


def require_no_body(request: web.Request) -> None:
    """Refuse a request that has a body.

    Raises:
        UnsupportedMedia: there is one.
        RequestPayloadError: it is malformed.
    """
    _require_well_formed(request)
    if request.can_read_body:
        raise UnsupportedMedia("This request takes no body.")


def require_whole_put(request: web.Request) -> None:
    """Refuse a PUT of a part of a file (RFC 9110 §14.5).

    Raises:
        InvalidRequest: the request has a Content-Range.
    """
    if "Content-Range" in request.headers:
        raise InvalidRequest("PUT replaces the whole file; Content-Range is not possible.")


async def send_content(
    request: web.Request,
    response: web.StreamResponse,
    service: Service,
    manifest: Manifest,
    bounds: ByteRange,
) -> web.StreamResponse:
    """Send one range of a file as the body of `response`, which is not prepared yet."""
    response.content_length = len(bounds)
    sender = BodySender(request, response, [Part(b"", bounds.start, bounds.stop)])
    await sender.send(service.reader, manifest)
    await response.write_eof()
    return response


async def send_multipart(
    request: web.Request,
    response: web.StreamResponse,
    service: Service,
    manifest: Manifest,
    ranges: Sequence[ByteRange],
    media_type: str,
) -> web.StreamResponse:
    """Send several ranges as multipart/byteranges (RFC 9110 §14.6)."""
    boundary = secrets.token_hex(_BOUNDARY_BYTES)
    heads = [
        (
            f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n"
            f"Content-Range: {bounds.to_header(manifest.size)}\r\n\r\n"
        ).encode()
        for bounds in ranges
    ]
    tail = f"\r\n--{boundary}--\r\n".encode()
    response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    response.content_length = sum(map(len, heads)) + sum(map(len, ranges)) + len(tail)
    parts = [
        Part(head, bounds.start, bounds.stop) for head, bounds in zip(heads, ranges, strict=True)
    ]
    await BodySender(request, response, parts).send(service.reader, manifest)
    await response.write_eof(tail)
    return response
