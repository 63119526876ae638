"""A bound on the heads of requests that one connection holds.

aiohttp bounds each line and the number of lines, which together is a megabyte for each of up to 32
requests that wait on a connection, beside the memory budget. Here they are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import StreamReader
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.web import RequestPayloadError

MOST_BYTES: Final = 64 * 1024
# Heads of requests that wait for the answers to those before (RFC 9112 §9.3.2).
MOST_WAITING_BYTES: Final = 2 * MOST_BYTES
# So many that all requests that may wait on a connection would not exceed that.
_SMALL: Final = MOST_WAITING_BYTES // 32
# The colon and the line end of a field, with a space.
_LINE_OVERHEAD: Final = 4

Messages = Sequence[tuple[RawRequestMessage, StreamReader]]


class HeadTooLarge(HttpProcessingError):
    """The head of a request is larger than any that could be meant."""

    code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


class BoundedParser:
    """Stands in the place of aiohttp's parser of requests, and refuses heads that are too large.

    One that is whole has at most `MOST_BYTES`. One that does not end is given up when as many have
    come, not counting those in one piece with the end of the request before. So are trailers.
    """

    def __init__(self, parser: HttpRequestParser) -> None:
        self._parser = parser
        self._payload: StreamReader | None = None
        self._body_size = 0
        self._unfinished = 0
        self._waiting: deque[int] = deque()
        self._failed = False
        self.pause_reading = parser.pause_reading
        self.set_upgraded = parser.set_upgraded

    def message_consumed(self) -> None:
        """Let the next request come: one that waited does no more."""
        self._parser.message_consumed()
        if self._waiting:
            self._waiting.popleft()

    def feed_data(self, data: bytes) -> tuple[Messages, bool, bytes]:
        """Parse the next bytes; see aiohttp's `HttpParser`.

        Raises:
            HttpProcessingError: they are no request; HeadTooLarge: its head is too large.
        """
        messages: list[tuple[RawRequestMessage, StreamReader]] = []
        while True:
            # Bodies pass whole; of a head no more is parsed than it may have.
            piece = data[:MOST_BYTES] if self._is_in_head else data
            come, upgraded, tail = self._parse(piece)
            messages += come
            data = data[len(piece) :]
            if upgraded or not data:
                return messages, upgraded, tail + data

    @property
    def _is_in_head(self) -> bool:
        return self._payload is None or self._payload.is_eof()

    def _parse(self, piece: bytes) -> tuple[Messages, bool, bytes]:
        if self._failed:
            raise HeadTooLarge
        try:
            messages, upgraded, tail = self._parser.feed_data(piece)
        except HttpProcessingError:
            # aiohttp leaves who reads the body waiting where its trailers are what is malformed.
            self._fail_body("malformed")
            raise
        if messages:
            self._payload = messages[-1][1]
            if len(messages) == 1 and self._unfinished + len(piece) <= _SMALL:
                # Counted by all that came with it, which is less work, and no less.
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
            self._check_size()
        self._body_size = 0 if self._payload is None else self._payload.total_bytes
        return messages, upgraded, tail

    def _check_size(self) -> None:
        largest = max(self._waiting, default=0)
        if max(largest, self._unfinished) > MOST_BYTES or sum(self._waiting) > MOST_WAITING_BYTES:
            self._failed = True
            self._fail_body("too many trailers")
            raise HeadTooLarge

    def _fail_body(self, reason: str) -> None:
        """Tell who reads the body that the rest of it will not come."""
        payload = self._payload
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(RequestPayloadError(reason))
            # Else aiohttp would read the rest, which nobody wants, and log that as a failure.
            payload.feed_eof()


def _size_of(message: RawRequestMessage) -> int:
    fields = message.raw_headers
    return (
        len(message.path)
        + sum(len(name) + len(value) for name, value in fields)
        + _LINE_OVERHEAD * (len(fields) + 1)
    )
