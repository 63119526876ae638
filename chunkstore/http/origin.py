"""Refusing requests that another site's page makes a browser send (cross-site request forgery).

Browsers say where a request comes from, in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/)
or at least in `Origin` (RFC 6454 §7); other clients send neither and have no user to be abused.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from chunkstore.errors import Forbidden

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})


@web.middleware
async def same_origin_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request that may change something pass only from this server's own pages.

    Raises:
        Forbidden: it comes from elsewhere.
    """
    if request.method not in _SAFE_METHODS and not _is_from_here(request):
        raise Forbidden("A page of another site asked for this; it is refused.")
    return await handler(request)


def _is_from_here(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site.strip().lower() in _OWN_SITE
    origin = request.headers.get("Origin")
    return origin is None or _authority(origin) == _authority(f"{request.scheme}://{request.host}")


def _authority(origin: str) -> tuple[str | None, int | None]:
    """Return host and port; two origins of no host at all are not the same."""
    try:
        url = URL(origin)
    except ValueError:
        return None, None
    return url.host, url.port
