"""`/login`, `/login/code` and `/logout`: sessions of browsers."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web

from chunkstore.core.errors import CodeRefused, NoSuchAccount
from chunkstore.http.message.browsers import browser_of
from chunkstore.http.message.negotiation import prefers_html
from chunkstore.http.message.request import names_root
from chunkstore.http.message.whole_bodies import read_form
from chunkstore.http.page.render import (
    ACCOUNT_RESOURCE,
    ADMIN_RESOURCE,
    CODE_RESOURCE,
    LOGIN_RESOURCE,
    SECOND_FACTOR_RESOURCE,
)
from chunkstore.http.page.sign_in import SIGN_IN, SignIn, code_page, login_page
from chunkstore.http.runtime.senders import address_of, is_private
from chunkstore.http.security.credentials import cookie_name, require_private_way, set_cookie
from chunkstore.http.security.csrf import require_own_origin
from chunkstore.http.security.rights import PEOPLE, enter
from chunkstore.service.access.principal import CLEARED, CodeNeeded, Principal
from chunkstore.service.access.sign_ins import CODE, FORM

_LONGEST_NEXT: Final = 4 * 1024
# The cookie of a sign-in that waits for a code.
_WAITING: Final = "-code"


async def show(request: web.Request) -> web.Response:
    """Answer GET and HEAD with the page on which a browser signs in."""
    form = SignIn(next=_bounded(request.query.get("next", "")))
    return login_page(request, form, is_private=is_private(request))


async def log_in(request: web.Request) -> web.Response:
    """Begin a session of who sends the right name and password; lead them where they wanted."""
    require_own_origin(request)
    with request.app[PEOPLE].sign_ins.counting(FORM, address_of(request)):
        return await _log_in(request)


async def _log_in(request: web.Request) -> web.Response:
    require_private_way(request)
    fields = await read_form(request)
    form = SignIn(fields.get("name", ""), _bounded(fields.get("next", "")))
    # If it fails, the page that says so has what was filled in.
    request[SIGN_IN] = form
    found = await request.app[PEOPLE].log_in(
        form.name, fields.get("password", ""), address_of(request), form.next
    )
    return await let_in(request, found, form.next)


async def let_in(
    request: web.Request, found: Principal | CodeNeeded, next_path: str
) -> web.Response:
    """Lead somebody where they wanted, or to where a code is asked for."""
    if isinstance(found, CodeNeeded):
        response = see_other(str(request.app.router[CODE_RESOURCE].url_for()))
        set_cookie(request, response, found.cookie, _WAITING)
        return response
    await request.app[PEOPLE].sessions.note_browser(found.digest, browser_of(request))
    response = _leave(request, next_path)
    assert found.cookie is not None
    set_cookie(request, response, found.cookie)
    return response


async def show_code(request: web.Request) -> web.Response:
    """Answer GET and HEAD with the page on which somebody gives a code who waits for that."""
    if cookie_name(request, _WAITING) not in request.cookies:
        return see_other(str(request.app.router[LOGIN_RESOURCE].url_for()))
    return code_page(request)


async def take_code(request: web.Request) -> web.Response:
    """Begin the session that waits for a code."""
    require_own_origin(request)
    try:
        with request.app[PEOPLE].sign_ins.counting(CODE, address_of(request)):
            return await _take_code(request)
    except CodeRefused as error:
        if not prefers_html(request):
            raise
        return code_page(request, str(error), HTTPStatus.FORBIDDEN)


async def _take_code(request: web.Request) -> web.Response:
    require_private_way(request)
    fields = await read_form(request)
    cookie = request.cookies.get(cookie_name(request, _WAITING), "")
    principal, next_path = await request.app[PEOPLE].give_code(
        cookie, fields.get("code", ""), address_of(request)
    )
    response = await let_in(request, principal, next_path)
    set_cookie(request, response, CLEARED, _WAITING)
    return response


async def log_out(request: web.Request) -> web.Response:
    """End the session at the server, and have the browser forget what it was shown."""
    require_own_origin(request)
    rights = await enter(request)
    # It may have ended already.
    with suppress(NoSuchAccount):
        await request.app[PEOPLE].log_out(rights.principal)
        await request.app[PEOPLE].audit.note(rights.who, "sign-out")
    response = _leave(request, "")
    response.headers["Clear-Site-Data"] = '"cache"'
    set_cookie(request, response, CLEARED)
    return response


def _bounded(path: str) -> str:
    return path if len(path) <= _LONGEST_NEXT else ""


def _leave(request: web.Request, path: str) -> web.Response:
    """Lead the browser to one of the pages for people, else to the first one."""
    root, router = names_root(request.app), request.app.router
    own = [str(router[name].url_for()) for name in (ACCOUNT_RESOURCE, SECOND_FACTOR_RESOURCE)]
    admin = str(router[ADMIN_RESOURCE].url_for(section=""))
    safe = path.isascii() and path.isprintable() and "\\" not in path and ":" not in path
    known = path.partition("?")[0] in own or path.startswith((root, admin))
    return see_other(path if safe and known else root)


def see_other(location: str) -> web.Response:
    """Return a redirect to another page."""
    headers = {"Location": location, "Cache-Control": "no-store"}
    return web.Response(status=HTTPStatus.SEE_OTHER, headers=headers)
