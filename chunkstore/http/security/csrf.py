"""Cross-site protection: refuse changes that another site's page makes a browser request (CSRF),
and files that such a page embeds, from which it could learn names and sizes.

Browsers say where a request comes from, in `Sec-Fetch-Site` (https://www.w3.org/TR/fetch-metadata/)
or at least in `Origin` (RFC 6454 §7); other clients send neither and have no user to be abused.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chunkstore.core.errors import Forbidden
from chunkstore.http.message.request import comes_by_link, is_this_server
from chunkstore.http.security.cors import allowed_origin, is_open_to_all
from chunkstore.http.security.rights import has_cookie

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})
_OPAQUE: Final = "null"
# Destinations in which a page shows another inside itself.
_EMBEDDED: Final = frozenset({"embed", "fencedframe", "frame", "iframe", "object"})


def require_own_page(request: web.Request) -> None:
    """Refuse a request that may change something unless a page that may use this server sent it.

    A request that only reads may come from any page that does not embed the answer: without CORS
    its script cannot read it.

    Raises:
        Forbidden: it comes from another page.
    """
    if request.method not in _SAFE_METHODS:
        if not _is_from_here(request):
            raise Forbidden("Pages of other sites may not change anything here.")
    elif _is_embedded_elsewhere(request):
        raise Forbidden("Pages of other sites may not embed files of this server.")


def require_own_origin(request: web.Request) -> None:
    """Refuse what another page than the server's own has sent, also one that CORS lets in.

    Raises:
        Forbidden: it comes from another page.
    """
    if not _is_same_origin(request):
        raise Forbidden("Only the pages of this server may do this.")


def _is_from_here(request: web.Request) -> bool:
    # A page that CORS lets in has no use of a cookie, which the browser adds by itself.
    if allowed_origin(request) is not None and not has_cookie(request):
        return True
    return _is_same_origin(request)


def _is_same_origin(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site.strip().lower() in _OWN_SITE
    origin = request.headers.get("Origin")
    if origin == _OPAQUE and comes_by_link(request):
        # So is that of a link's own form, whose page keeps its URL to itself. Another page would
        # have to know the link, and gets no cookie of it sent (SameSite).
        return True
    return origin is None or is_this_server(request, origin)


def _is_embedded_elsewhere(request: web.Request) -> bool:
    headers = request.headers
    site = headers.get("Sec-Fetch-Site")
    if site is None or site.strip().lower() != "cross-site":
        return False
    mode = headers.get("Sec-Fetch-Mode", "").strip().lower()
    embedded = headers.get("Sec-Fetch-Dest", "").strip().lower() in _EMBEDDED
    if mode != "no-cors" and not embedded:
        return False
    return not is_open_to_all(request) and allowed_origin(request) is None
