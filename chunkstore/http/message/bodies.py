"""Bodies: reading a request's, sending a content's."""

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
from chunkstore.http.message.connection import PacedConnection
from chunkstore.http.message.problems import EncodedBody, SlowBody, UnsupportedMedia
from chunkstore.http.message.request import LIMITS
from chunkstore.http.message.sending import Part, Sending
from chunkstore.service.service import Service

_BOUNDARY_BYTES: Final = 16
_SHORT_PIECE: Final = 4 * 1024


async def defer_continue(request: web.Request) -> None:
    """Say nothing yet to `Expect: 100-continue` (RFC 9110 §10.1.1).

    `read_body` invites the body once the handler has found nothing to refuse.
    """


async def invite_body(request: web.Request) -> None:
    """Tell a client that waits for it to send the body now."""
    if "Expect" in request.headers and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # So that the final answer still counts as not begun.
        request.writer.output_size = 0


class BodyWaits:
    """The waits for one request's body, which all go to the account of the client.

    Only what is read within `waiting` counts. While the server is busy with what has come, or
    waits for memory or its store, the client loses no time.
    """

    def __init__(self, request: web.Request) -> None:
        self._content = request.content
        self._allowance = SlowClientAllowance(request.app[LIMITS])
        self._seen = 0
        self.seconds = 0.0

    @asynccontextmanager
    async def waiting(self, most_seconds: float = math.inf) -> AsyncIterator[None]:
        """Read within the context, which is left after `most_seconds`, be there something or not.

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
        seen, self._seen = self._seen, self._content.total_bytes
        self._allowance.spend(loop.time() - began, self._seen - seen)


async def read_body(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the request's body as it comes, and an empty piece each time it made the server wait.

    That is after `stall_seconds` spent on waiting for it, at one time or another.

    Raises:
        SlowBody: it does not come, or too slowly.
    """
    await invite_body(request)
    content, waits, taken = request.content, BodyWaits(request), 0
    stall_seconds = request.app[LIMITS].stall_seconds or math.inf
    stalled = stall_seconds
    while not content.at_eof():
        piece = b""
        # Piece by piece as the socket gave them: to join or to cut them would be one more copy.
        if content.total_bytes > taken:
            piece, _ = await content.readchunk()
        else:
            async with waits.waiting(stalled - waits.seconds):
                piece, _ = await content.readchunk()
        if 0 < len(piece) < _SHORT_PIECE:
            # A client that cuts its body small has it joined, or each byte would cost a turn.
            piece += content.read_nowait()
        taken += len(piece)
        if piece:
            with _reading_held(request):
                yield piece
        if waits.seconds >= stalled:
            stalled = waits.seconds + stall_seconds
            yield b""


def _reading_held(request: web.Request) -> AbstractContextManager[None]:
    """Keep more of a body from being read within the context, where the server can."""
    if isinstance(request.protocol, PacedConnection):
        return request.protocol.reading_held()
    return nullcontext()


def require_identity_coding(request: web.Request) -> None:
    """Refuse a body that would have to be decoded: what is stored is what was sent.

    Raises:
        EncodedBody: it has a Content-Encoding.
    """
    codings = ",".join(request.headers.getall("Content-Encoding", [])).split(",")
    if any(coding.strip().lower() not in ("", "identity") for coding in codings):
        raise EncodedBody("Content-Encoding is not taken; send the content as it is.")


def require_no_body(request: web.Request) -> None:
    """Refuse a body where none has a meaning.

    Raises:
        UnsupportedMedia: there is one.
    """
    if request.can_read_body:
        raise UnsupportedMedia("This request takes no body.")


def require_whole_put(request: web.Request) -> None:
    """Refuse to take a part of a content for the whole (RFC 9110 §14.5).

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
    """Send one range of a content as the body of `response`, which is not prepared yet."""
    response.content_length = len(bounds)
    sending = Sending(request, response, [Part(b"", bounds.start, bounds.stop)])
    await sending.send(service.reader, manifest)
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
    await Sending(request, response, parts).send(service.reader, manifest)
    await response.write_eof(tail)
    return response
