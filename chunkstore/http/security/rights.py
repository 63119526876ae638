"""Who makes a request, and what they may do: found before its need is judged (`needs`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from aiohttp import hdrs, web

from chunkstore.core.access import Verbs
from chunkstore.core.errors import (
    ChunkstoreError,
    Forbidden,
    StoreError,
)
from chunkstore.core.names import ROOT
from chunkstore.http.message.request import (
    comes_by_link,
)
from chunkstore.http.runtime.senders import ACCOUNT, address_of
from chunkstore.http.security.credentials import credentials_of, set_cookie
from chunkstore.http.security.link_entry import add_link_headers, enter_by_link
from chunkstore.service.access.people import People
from chunkstore.service.access.principal import ANYBODY, Principal, Via
from chunkstore.service.access.sign_ins import FAILURES, method_of
from chunkstore.service.rights import Rights

Need: TypeAlias = Callable[[web.Request, Rights], None]

_RIGHTS: Final = web.RequestKey("rights", Rights)
# The file that the URL names, once it is known that it may be read.
READABLE: Final = web.RequestKey("readable", str)


PEOPLE: Final = web.AppKey("people", People)
ROUTE_NEEDS: Final = web.AppKey("route_needs", dict[web.AbstractRoute, Need])


def rights_of(request: web.Request) -> Rights:
    """Return the rights of a request, which the gate has found."""
    return request[_RIGHTS]


async def enter(request: web.Request) -> Rights:
    """Find the rights of a request by what it brings.

    Raises:
        SignInFailed, TooManyAttempts, SignInBusy: as `People.sign_in`.
        NoSuchLink, LinkUsedUp: as `Visiting.enter`, of a link.
        InvalidRequest: it brings two.
        StoreError: the store does not tell.
    """
    people = request.app[PEOPLE]
    if comes_by_link(request):
        principal = await enter_by_link(request, people)
    elif (await people.directory.current()).is_open:
        principal = ANYBODY
    else:
        principal = await _sign_in(request, people)
    rights = Rights(principal, people, address_of(request))
    request[_RIGHTS] = rights
    return rights


async def _sign_in(request: web.Request, people: People) -> Principal:
    """Return who asks, and count who could not be told."""
    credentials, address = None, address_of(request)
    try:
        credentials = credentials_of(request)
        principal = await people.sign_in(credentials, address)
    except FAILURES as error:
        people.sign_ins.failed(method_of(credentials), error, address)
        raise
    if principal.via is not Via.NONE:
        people.sign_ins.accepted(principal.via)
    if principal.account is not None:
        request[ACCOUNT] = principal.account.name
    return principal


def become(request: web.Request, principal: Principal) -> None:
    """Let the request be of somebody else from now on, whose cookie the answer has."""
    request[_RIGHTS] = Rights(principal, request.app[PEOPLE])


def need_of(request: web.Request) -> Need:
    """Return what the request's route needs."""
    return request.app[ROUTE_NEEDS].get(request.match_info.route, refused)


def has_cookie(request: web.Request) -> bool:
    """Whether a request may have rights by a cookie alone, which browsers add by themselves."""
    rights = request.get(_RIGHTS)
    if rights is None:
        return False
    visit = rights.principal.visit
    # The password of a link may have been given by one.
    return rights.principal.via is Via.SESSION or (
        visit is not None and visit.link.password is not None
    )


def add_access_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Keep shared caches from an answer that depends on rights; renew the session's cookie."""
    rights = request.get(_RIGHTS)
    if comes_by_link(request):
        visit = None if rights is None else rights.principal.visit
        add_link_headers(request, response, None if visit is None else visit.link)
    if rights is None or rights.is_open:
        return
    if response.headers.get(hdrs.CACHE_CONTROL, "no-cache") == "no-cache":
        response.headers[hdrs.CACHE_CONTROL] = "private, no-cache"
    if rights.principal.cookie is not None:
        set_cookie(request, response, rights.principal.cookie)
        response.headers[hdrs.CACHE_CONTROL] = "no-store"


async def may_see_details(request: web.Request) -> bool:
    """Whether somebody may know how the store is: everybody, or else its administrators."""
    try:
        rights = await enter(request)
    except StoreError:
        latest = request.app[PEOPLE].directory.latest
        return latest is not None and latest.is_open
    except ChunkstoreError:
        return False
    return rights.is_open or Verbs.ADMIN in rights.access.verbs(ROOT)


def refused(request: web.Request, rights: Rights) -> None:
    """Refuse what nobody has said a need of."""
    raise Forbidden("Nobody may do this here.")


def nothing(request: web.Request, rights: Rights) -> None:
    """Need nothing, as the answer depends on nothing in the store: nobody is even asked who."""
