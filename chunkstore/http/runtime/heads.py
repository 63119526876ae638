"""A bound on the heads of requests that one connection holds, and an order that errors keep to.

aiohttp bounds each line and the number of lines, which together is a megabyte for each of up to 32
requests that wait on a connection, beside the memory budget. Here the bytes are counted. And where
a malformed request comes in one piece with others before it, aiohttp forgets those; here they are
parsed one by one, and the error is kept until they have been passed on.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import StreamReader
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.web import RequestPayloadError

MOST_BYTES: Final = 64 * 1024
MOST_FIELDS: Final = 128
# All heads of pipelined requests that wait on a connection (RFC 9112 §9.3.2).
MOST_WAITING_BYTES: Final = 2 * MOST_BYTES
# aiohttp parses no further while so many requests wait (`web_protocol.MAX_MSG_QUEUE_SIZE`).
_MOST_WAITING: Final = 32
# Heads of up to this size cannot exceed the bound together.
_SMALL: Final = MOST_WAITING_BYTES // _MOST_WAITING
# The colon and the line end of a field, with a space.
_LINE_OVERHEAD: Final = 4
_HEAD_END: Final = b"\r\n\r\n"
_LINE_ENDS: Final = re.compile(rb"[\r\n]+")
# What aiohttp's parsers say of more fields than those; they have no class of error for that.
_TOO_MANY_FIELDS: Final = "Too many headers received"

Messages = Sequence[tuple[RawRequestMessage, StreamReader]]


class HeadTooLarge(HttpProcessingError):
    """The head of a request has more bytes or fields than any client needs."""

    code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class BoundedParser:
    """Stands in the place of aiohttp's parser of requests, and refuses heads that are too large.

    A whole head has at most `MOST_BYTES`. One that does not end is refused when as many have come,
    not counting those in one piece with the end of the request before. So are trailers.

    `count` is how many requests and errors were passed on. While `error_is_pending` the next call
    of `feed_data` raises, whatever it is given: the requests before the malformed one go first.
    """

    def __init__(self, parser: HttpRequestParser) -> None:
        self._parser = parser
        self._payload: StreamReader | None = None
        self._body_size = 0
        self._unfinished = 0
        self._waiting: deque[int] = deque()
        self._error: HttpProcessingError | None = None
        # The last bytes of a head that has begun, too few to be its end.
        self._last = b""
        self.count = 0
        self.error_is_pending = False
        self.pause_reading = parser.pause_reading
        self.set_upgraded = parser.set_upgraded

    def message_consumed(self) -> None:
        """Forget the head of the oldest request that waited: a handler has it now."""
        self._parser.message_consumed()
        if self._waiting:
            self._waiting.popleft()

    def feed_data(self, data: bytes) -> tuple[Messages, bool, bytes]:
        """Parse the next bytes; see aiohttp's `HttpParser`.

        Raises:
            HttpProcessingError: they are no request; HeadTooLarge: its head is too large.
        """
        messages: list[tuple[RawRequestMessage, StreamReader]] = []
        start = 0
        while self._error is None:
            stop = min(start + self._piece_size(data, start), len(data))
            try:
                parsed, upgraded, tail = self._parse(data[start:stop])
            except HttpProcessingError as error:
                self._error = error
                break
            messages += parsed
            start = stop
            if upgraded or start == len(data):
                self.count += len(messages)
                return messages, upgraded, tail + data[start:]
        self.error_is_pending = bool(messages)
        self.count += len(messages) or 1
        if not messages:
            raise self._error
        return messages, False, b""

    def _piece_size(self, data: bytes, start: int) -> int:
        """Return how much to parse at once: one head, of at most `MOST_BYTES`, or all of a body."""
        if self._payload is not None and not self._payload.is_eof():
            return len(data)
        if len(self._waiting) >= _MOST_WAITING:
            return MOST_BYTES  # aiohttp keeps it until one of them is answered.
        begin = start
        if self._last:
            # The line end that closes the head may have begun in the piece before.
            end = (self._last + data[start : start + len(_HEAD_END) - 1]).find(_HEAD_END)
            if end >= 0:
                return end + len(_HEAD_END) - len(self._last)
        elif (line_ends := _LINE_ENDS.match(data, start)) is not None:
            # RFC 9112 §2.2: in front of a request they are ignored.
            begin = line_ends.end()
        end = data.find(_HEAD_END, begin, start + MOST_BYTES)
        return MOST_BYTES if end < 0 else end + len(_HEAD_END) - start

    def _parse(self, piece: bytes) -> tuple[Messages, bool, bytes]:
        try:
            messages, upgraded, tail = self._parser.feed_data(piece)
        except HttpProcessingError as error:
            # Where the trailers are malformed, aiohttp leaves the reader of the body waiting.
            self._fail_body("malformed")
            if error.message == _TOO_MANY_FIELDS:
                raise HeadTooLarge from error
            raise
        head, self._last = self._last, b""
        if messages:
            self._payload = messages[-1][1]
            if len(messages) == 1 and self._unfinished + len(piece) <= _SMALL:
                # The size of the piece is no less, and is there without work.
                self._waiting.append(self._unfinished + len(piece))
            else:
                self._waiting += [_size_of(message) for message, _ in messages]
            self._unfinished = 0
            self._check_size()
        elif self._payload is not None and self._payload.total_bytes > self._body_size:
            self._unfinished = 0
        else:
            # A head, or trailers behind a body (RFC 9112 §7.1.2), which aiohttp keeps as well.
            self._unfinished += len(piece)
            self._last = (head + piece if head else piece.lstrip(b"\r\n"))[1 - len(_HEAD_END) :]
            self._check_size()
        self._body_size = 0 if self._payload is None else self._payload.total_bytes
        return messages, upgraded, tail

    def _check_size(self) -> None:
        largest = max(self._waiting, default=0)
        if max(largest, self._unfinished) > MOST_BYTES or sum(self._waiting) > MOST_WAITING_BYTES:
            self._fail_body("too many trailers")
            raise HeadTooLarge

    def _fail_body(self, reason: str) -> None:
        """Let the reader of the body fail: the rest of it will not come."""
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(RequestPayloadError(reason))
            # Else aiohttp would read the rest, which no handler wants, and log that as a failure.
            payload.feed_eof()


def _size_of(message: RawRequestMessage) -> int:
    fields = message.raw_headers
    return (
        len(message.path)
        + sum(len(name) + len(value) for name, value in fields)
        + _LINE_OVERHEAD * (len(fields) + 1)
    )
