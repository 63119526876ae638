"""Coming by a link: what a request under `/s/{link}` brings, and where its names lie.

All that such a request does is that of other requests, with what its URL says relative to the
link's folder. Whether somebody has signed in makes no difference here.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from aiohttp import hdrs, web

from chunkstore.core.errors import StoreError
from chunkstore.http.message.request import BASE, MOST_BYTES, Base, app_root
from chunkstore.http.message.sending import REQUIRE_VALID, RequireValid
from chunkstore.http.runtime.senders import address_of, scheme_of
from chunkstore.http.security.credentials import credentials_of
from chunkstore.service.access.links import Link, Visit
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import NewCookie, NoCredentials, Principal, Via
from chunkstore.service.access.sign_ins import FAILURES
from chunkstore.service.access.visiting import Arrival

_COOKIE: Final = "chunkstore-link"
_FILES: Final = "files/"
_VISIT: Final = "/v/"
# Methods that put something.
_PUTTING: Final = frozenset({"PUT", "POST"})
_NOTHING: Final = NoCredentials()


async def enter_by_link(request: web.Request, people: People) -> Principal:
    """Return who comes by the link of the URL, and have names lie in the link's folder.

    Raises: as `Visiting.enter`.
    """
    try:
        principal = await people.visiting.enter(_arrival_of(request))
    except FAILURES as error:
        people.sign_ins.failed(Via.LINK, error, address_of(request))
        raise
    visit = principal.visit
    assert visit is not None
    request[BASE] = base_of_visit(request, visit)
    require_valid: RequireValid = partial(_require_valid, people, principal)
    request[REQUIRE_VALID] = require_valid
    if visit.room is not None:
        request[MOST_BYTES] = visit.room
    return principal


def _arrival_of(request: web.Request) -> Arrival:
    match = request.match_info
    return Arrival(
        token=match["link"],
        credentials=credentials_of(request) if hdrs.AUTHORIZATION in request.headers else _NOTHING,
        address=address_of(request),
        agent=request.headers.get(hdrs.USER_AGENT, ""),
        cookie=request.cookies.get(link_cookie_name(request), ""),
        visit=match.get("visit", "").removeprefix(_VISIT),
        puts=request.method in _PUTTING and "visit" in match and "upload" not in match,
    )


def base_of_visit(request: web.Request, visit: Visit) -> Base:
    """Return where the names of somebody lie who came by a link."""
    path = visit_path(request, visit.text)
    return Base(f"{path}{_FILES}", visit.folder, f"{path}uploads/", visit.link.only)


def visit_path(request: web.Request, visit: str = "") -> str:
    """Return the URL path of the page of the request's link, or of a visit."""
    token = request.match_info["link"]
    return f"{app_root(request.app)}s/{token}{_VISIT if visit else ''}{visit}/"


def link_cookie_name(request: web.Request) -> str:
    """Return the name of the cookie of a link, each of which has a path of its own."""
    return f"__Secure-{_COOKIE}" if scheme_of(request) == "https" else _COOKIE


def set_link_cookie(request: web.Request, response: web.StreamResponse, cookie: NewCookie) -> None:
    """Have the browser keep a cookie for the request's link alone."""
    secure = "; Secure" if scheme_of(request) == "https" else ""
    response.headers.add(
        hdrs.SET_COOKIE,
        f"{link_cookie_name(request)}={cookie.value}; Path={visit_path(request)}"
        f"; Max-Age={cookie.max_age_seconds}; HttpOnly; SameSite=Lax{secure}",
    )


def add_link_headers(request: web.Request, response: web.StreamResponse, link: Link | None) -> None:
    """Keep a link's answer from search engines, and its URL from the sites that it leads to."""
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Referrer-Policy"] = "no-referrer"
    if link is None or link.password is not None:
        response.headers[hdrs.CACHE_CONTROL] = "no-store"


async def _require_valid(people: People, principal: Principal) -> None:
    """Refuse to go on sending by a link that is not valid any more.

    Raises:
        NoSuchLink: it is not.
    """
    # While the store does not tell, what has begun goes on.
    with suppress(StoreError):
        await people.access_now(principal)
