"""Requests to one server: pooled connections, retries, limits of bandwidth, credentials.

What can be repeated is repeated: requests whose connection was lost or that were answered 408,
429, 502, 503 or 504, up to `Settings.retries` times, after as long as `Retry-After` says or else a
growing time with jitter. Bodies are bytes or files, so they can be sent again.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, InvalidHeader, LocationParseError
from urllib3.util import Retry, Timeout, make_headers

import chunkstore
from chunkstore.client.bandwidth import PIECE_SIZE, TokenBucket
from chunkstore.client.credentials import authorization_for, origin_of, without_credentials
from chunkstore.client.errors import (
    InvalidPlace,
    Mismatch,
    Refused,
    Stopped,
)
from chunkstore.client.lost import error_of, reason_of, tls_error
from chunkstore.client.settings import Settings

_AGAIN: Final = frozenset({408, 429, 502, 503, 504})
_SAFE: Final = frozenset({"GET", "HEAD"})
_BACKOFF_SECONDS: Final = 0.25
_LONGEST_BACKOFF_SECONDS: Final = 30
_NEAR_SECONDS: Final = 0.02
# Of a server that nothing was ever heard of, which rather is not there.
_FIRST_RETRIES: Final = 2
_LONGEST_RETRY_AFTER_SECONDS: Final = 300
# By what a body is read from a file, and a download from its connection.
_BLOCK_SIZE: Final = 256 * 1024
_USER_AGENT: Final = f"chunkstore/{chunkstore.__version__}"
# RFC 9110 §5.5.
_FIELD_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Body(Protocol):
    """A file to be sent."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, none at the end."""

    def tell(self) -> int:
        """Return the offset."""

    def seek(self, offset: int, /) -> int:
        """Go back, to be sent again."""


class Answer:
    """The answer to a request; its body is read once, and close() is called in any case."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, bucket: TokenBucket, url: str, *, is_signed: bool
    ) -> None:
        self._response = response
        self._bucket = bucket
        self._url = url
        self.status = response.status
        self.is_repeated = bool(response.retries and response.retries.history)
        # Whether it was told who asks.
        self.is_signed = is_signed
        self.is_over_tls = url.startswith("https:")
        # Where the answer comes from, after all redirections.
        self.path = urlsplit(response.geturl() or url).path
        self.headers: Mapping[str, str] = response.headers

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises:
            ServerAway: the connection was lost before its end.
        """
        try:
            for piece in self._response.stream(_BLOCK_SIZE, decode_content=False):
                self._bucket.take(len(piece))
                yield piece
        except (HTTPError, OSError) as error:
            raise error_of(self._url, error) from error

    def read(self, most: int | None = None) -> bytes:
        """Return the whole body.

        Raises:
            Mismatch: it has more than `most` bytes.
            ServerAway: the connection was lost before its end.
        """
        content = bytearray()
        for piece in self.pieces():
            content += piece
            if most is not None and len(content) > most:
                raise Mismatch(f"The answer of {origin_of(self._url)} has no end.")
        return bytes(content)

    def close(self) -> None:
        """Give the connection back, or close it if there is more of the body."""
        if self._response.length_remaining == 0:
            self._response.release_conn()
        else:
            self._response.close()
            self._response.release_conn()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Connections to the server whose URL is `base`."""

    def __init__(self, base: str, settings: Settings) -> None:
        """Connect to nothing yet.

        Raises:
            InvalidPlace: the URL, a proxy's or the file of netrc cannot be used.
        """
        # The least time between a request and its answer, which bounds a round trip.
        self.round_trip_seconds = math.inf
        # Is told what the user may want to know while a request is tried again.
        self.warn: Callable[[str], object] = lambda message: None
        self._origin = origin_of(base)
        self._stopped = threading.Event()
        self._retries = settings.retries
        self._told = False
        self._up = TokenBucket(settings.bandwidth.up, self._stopped)
        self._down = TokenBucket(settings.bandwidth.down, self._stopped)
        self._headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
        if (authorization := authorization_for(base, settings)) is not None:
            self._headers["Authorization"] = authorization
        try:
            self._pool = _pool(base, settings)
        except (LocationParseError, ValueError) as error:
            raise InvalidPlace(f"{self._origin} cannot be reached: {error}.") from error

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Body | None = None,
        size: int | None = None,
        retries: int | None = None,
    ) -> Answer:
        """Send a request; return the answer, whatever its status, once its head is there.

        `size` is that of a body that is a file, None if it is not known. `retries` is how often it
        is tried again, by default as the settings say.

        Raises:
            InvalidPlace: a header field cannot be sent.
            Refused: the server redirects a request that is not safe (RFC 9110 §15.4): no content is
                sent to where the user has not sent it.
            ServerAway: the server was not reached, or stayed busy, however often it was tried.
        """
        retries = self._retries if retries is None else retries
        fields = {**self._headers, **(headers or {})}
        for name, value in fields.items():
            require_field_value(name, value)
        if isinstance(body, bytes):
            size = len(body)
            body = _Bytes(body)
        if body is not None:
            if size is not None:
                fields["Content-Length"] = str(size)
            body = _Limited(body, self._up)
        began = time.monotonic()
        try:
            response = self._pool.urlopen(
                method, url, body=body, headers=fields, preload_content=False,
                decode_content=False, retries=self._retries_of(url, retries),
                redirect=method in _SAFE,
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            raise error_of(url, error) from error
        self.round_trip_seconds = min(self.round_trip_seconds, time.monotonic() - began)
        answer = Answer(response, self._down, url, is_signed="Authorization" in fields)
        if location := response.get_redirect_location():
            answer.close()
            where = without_credentials(urljoin(url, location))
            raise Refused(answer.status, "", f"The server redirects to {where}; use that URL.")
        return answer

    def _retries_of(self, url: str, total: int) -> _Retries:
        """Return how often a request is tried again; less often if nothing ever answered."""
        has_answered = self.round_trip_seconds < math.inf
        retries = _retries(total, total if has_answered else min(total, _FIRST_RETRIES))
        retries.stopped = self._stopped
        retries.on_lost = partial(self._tell_of_retry, url)
        return retries

    def _tell_of_retry(self, url: str, error: Exception) -> None:
        """Have the user told, once for all connections, that a request is tried again."""
        if not self._told:
            self._told = True
            self.warn(f"{reason_of(url, error)} Trying again.")

    @property
    def is_near(self) -> bool:
        """Whether the server has answered so soon that one connection can carry all there is."""
        return self.round_trip_seconds <= _NEAR_SECONDS

    def stop(self) -> None:
        """Have each request fail at its next step, from any thread."""
        self._stopped.set()

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()


class _Bytes:
    """Bytes as a file."""

    def __init__(self, content: bytes) -> None:
        self._view = memoryview(content)
        self._offset = 0

    def read(self, size: int = -1, /) -> bytes:
        start = self._offset
        self._offset = len(self._view) if size < 0 else min(start + size, len(self._view))
        return bytes(self._view[start : self._offset])

    def tell(self) -> int:
        return self._offset

    def seek(self, offset: int, /) -> int:
        self._offset = offset
        return offset


class _Limited:
    """A body that waits for its turn; without `__len__`, so urllib3 reads it as a file."""

    def __init__(self, body: Body, bucket: TokenBucket) -> None:
        self._body = body
        self._bucket = bucket

    def read(self, size: int = -1, /) -> bytes:
        size = _BLOCK_SIZE if size < 0 else size
        piece = self._body.read(min(size, PIECE_SIZE) if self._bucket.rate else size)
        self._bucket.take(len(piece))
        return piece

    def tell(self) -> int:
        return self._body.tell()

    def seek(self, offset: int, /) -> int:
        return self._body.seek(offset)


class _Retries(Retry):
    """urllib3's retries, whose waits end when the transport is stopped.

    `on_lost` is told of errors of connections that are tried again; those of TLS are not, since
    they would be the same.
    """

    stopped: threading.Event
    on_lost: Callable[[Exception], object]

    def new(self, **changes: Any) -> _Retries:  # noqa: ANN401 - as the base has it
        """Return those that are left."""
        left = super().new(**changes)
        left.stopped, left.on_lost = self.stopped, self.on_lost
        return left

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: urllib3.BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: urllib3.connectionpool.ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> _Retries:
        """Return what is left after one more try.

        Raises:
            HTTPError: nothing is left, or TLS failed.
        """
        if error is not None and tls_error(error) is not None:
            raise error
        left = super().increment(method, url, response, error, _pool, _stacktrace)
        if error is not None:
            self.on_lost(error)
        return left

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        """Return how long the server wants to be left alone; None if that is not to be read."""
        with suppress(InvalidHeader):
            return super().get_retry_after(response)
        return None

    def sleep(self, response: urllib3.BaseHTTPResponse | None = None) -> None:
        """Wait as long as the server says, or a growing time.

        Raises:
            Stopped: the transport was stopped.
        """
        told = self.get_retry_after(response) if response is not None else None
        if self.stopped.wait(told or self.get_backoff_time()):
            raise Stopped


def _retries(total: int, connect: int) -> _Retries:
    return _Retries(
        total=total,
        connect=connect,
        redirect=min(total, 5),
        status_forcelist=_AGAIN,
        # All requests of these protocols may be repeated when an answer was lost.
        allowed_methods=None,
        backoff_factor=_BACKOFF_SECONDS,
        backoff_jitter=_BACKOFF_SECONDS,
        backoff_max=_LONGEST_BACKOFF_SECONDS,
        retry_after_max=_LONGEST_RETRY_AFTER_SECONDS,
        raise_on_status=False,
    )


def require_field_value(name: str, value: str) -> None:
    """Make sure that a value can be that of a header field; it may be secret, and is not told.

    Raises:
        InvalidPlace: it has a control character, or one that is not in Latin-1.
    """
    if not _FIELD_VALUE.fullmatch(value):
        raise InvalidPlace(f"What was given for {name} has characters that it cannot have.")


def _pool(base: str, settings: Settings) -> urllib3.PoolManager:
    common: dict[str, Any] = {
        "num_pools": 4,
        "maxsize": settings.connections,
        # More threads than connections wait for one.
        "block": True,
        "timeout": Timeout(connect=settings.connect_seconds, read=settings.read_seconds),
        "blocksize": _BLOCK_SIZE,
    }
    parts = urlsplit(base)
    proxy = getproxies().get(parts.scheme) or getproxies().get("all")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return urllib3.PoolManager(**common)
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    found = urlsplit(proxy)
    login = f"{found.username}:{found.password or ''}" if found.username else None
    return urllib3.ProxyManager(
        proxy, proxy_headers=make_headers(proxy_basic_auth=login) if login else None, **common
    )
