"""CORS: which pages of other origins may use the server (https://fetch.spec.whatwg.org/#http-cors-protocol).

By default none. Credentials are never allowed: a page may send a token of its own in Authorization,
and have no use of a cookie.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.http.answers.headers import RESOURCE_POLICY

ORIGINS: Final = web.AppKey("origins", frozenset[str])
ANY_ORIGIN: Final = "*"

_MAX_AGE_SECONDS: Final = "86400"
_METHODS: Final = (
    "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS, COPY, MOVE, MKCOL, PROPFIND, PROPPATCH,"
    " LOCK, UNLOCK"
)
_REQUEST_HEADERS: Final = (
    "Authorization, Base, Cache-Control, Content-Type, Content-Digest, Repr-Digest, Depth,"
    " Destination, File-Type, If, If-Match, If-Modified-Since, If-None-Match, If-Range,"
    " If-Unmodified-Since, Lock-Token, OC-Checksum, Overwrite, Prefer, Range, Timeout,"
    " Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat,"
    " Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata,"
    " Upload-Offset, X-HTTP-Method-Override, X-OC-Mtime, X-Request-ID,"
    " X-Requested-With"
)
_RESPONSE_HEADERS: Final = (
    "Accept-Patch, Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Location,"
    " Content-Range, Content-Size, DAV, ETag, Link, Location, Lock-Token, Retry-After,"
    " Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version,"
    " Upload-Complete, Upload-Concat,"
    " Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, Upload-Length,"
    " Upload-Limit, Upload-Metadata, Upload-New-Size, Upload-Offset, X-Request-ID"
)


def allowed_origin(request: web.Request) -> str | None:
    """Return the request's Origin if it is one of those that may use this server."""
    origin = request.headers.get("Origin")
    origins = request.app[ORIGINS]
    return origin if origin is not None and origins & {origin, ANY_ORIGIN} else None


def is_open_to_all(request: web.Request) -> bool:
    """Whether pages of any origin may use this server, even if a request has no Origin."""
    return ANY_ORIGIN in request.app[ORIGINS]


def is_allowed_preflight(request: web.Request) -> bool:
    """Whether the request is a preflight of a page that may use this server."""
    return (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and allowed_origin(request) is not None
    )


def preflight_response() -> web.Response:
    """Return the answer to such a preflight."""
    return web.Response(
        status=HTTPStatus.NO_CONTENT,
        headers={
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": _MAX_AGE_SECONDS,
        },
    )


def add_cors_headers(
    request: web.Request, response: web.StreamResponse, *, by_cookie: bool
) -> None:
    """Add the fields that let an allowed page read the answer, which is about to leave.

    None may read or embed what a request was told `by_cookie`, which its browser has added.
    """
    if not request.app[ORIGINS]:
        return
    response.headers.add("Vary", "Origin")
    if by_cookie:
        return
    if is_open_to_all(request):
        response.headers[RESOURCE_POLICY] = "cross-origin"
    origin = allowed_origin(request)
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _RESPONSE_HEADERS
        response.headers[RESOURCE_POLICY] = "cross-origin"
