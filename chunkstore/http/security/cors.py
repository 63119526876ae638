"""What lets pages of other origins use the server (https://fetch.spec.whatwg.org/#http-cors-protocol).

No origin may, unless the server was told so; none may send credentials, as there are none.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.http.answers.headers import RESOURCE_POLICY

ORIGINS: Final = web.AppKey("origins", frozenset[str])
ANY_ORIGIN: Final = "*"

_MAX_AGE_SECONDS: Final = "86400"
_METHODS: Final = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS, COPY, MOVE, MKCOL"
_REQUEST_HEADERS: Final = (
    "Content-Type, Content-Digest, Repr-Digest, Depth, Destination, If-Match, If-Modified-Since,"
    " If-None-Match, If-Range, If-Unmodified-Since, Overwrite, Range, Tus-Resumable,"
    " Upload-Checksum, Upload-Complete, Upload-Concat, Upload-Defer-Length,"
    " Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, Upload-Offset,"
    " X-HTTP-Method-Override, X-Request-ID, X-Requested-With"
)
_RESPONSE_HEADERS: Final = (
    "Accept-Patch, Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Location,"
    " Content-Range, ETag, Link, Location, Retry-After, Tus-Checksum-Algorithm, Tus-Extension,"
    " Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Complete, Upload-Concat,"
    " Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Length,"
    " Upload-Limit, Upload-Metadata, Upload-New-Size, Upload-Offset"
)


def allowed_origin(request: web.Request) -> str | None:
    """Return the other origin that the request comes from, if it may use this server."""
    origin = request.headers.get("Origin")
    origins = request.app[ORIGINS]
    return origin if origin is not None and origins & {origin, ANY_ORIGIN} else None


def is_open_to_all(request: web.Request) -> bool:
    """Whether pages of any origin may use this server, also by requests that do not tell it."""
    return ANY_ORIGIN in request.app[ORIGINS]


def is_allowed_preflight(request: web.Request) -> bool:
    """Whether a browser asks here if a page may send a request, and it may."""
    return (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and allowed_origin(request) is not None
    )


def preflight_response() -> web.Response:
    """Return the answer to such a question."""
    return web.Response(
        status=HTTPStatus.NO_CONTENT,
        headers={
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": _MAX_AGE_SECONDS,
        },
    )


def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Let a page of an origin that may use the server read the answer."""
    if not request.app[ORIGINS]:
        return
    response.headers.add("Vary", "Origin")
    if is_open_to_all(request):
        response.headers[RESOURCE_POLICY] = "cross-origin"
    origin = allowed_origin(request)
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
        response.headers[RESOURCE_POLICY] = "cross-origin"
