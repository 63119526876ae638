"""`/login` and `/logout`: sessions of browsers."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from chunkstore.core.errors import InvalidRequest, NoSuchAccount, TooLarge
from chunkstore.http.message.bodies import read_body
from chunkstore.http.message.headers import essence_of
from chunkstore.http.message.problems import UnsupportedMedia
from chunkstore.http.message.request import names_root
from chunkstore.http.page.sign_in import SIGN_IN, SignIn, login_page
from chunkstore.http.runtime.senders import address_of, is_private
from chunkstore.http.security.credentials import require_private_way, set_cookie
from chunkstore.http.security.csrf import require_own_origin
from chunkstore.http.security.rights import PEOPLE, enter
from chunkstore.service.access.principal import CLEARED

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_SIZE: Final = 8 * 1024
_MAX_FIELDS: Final = 8
_LONGEST_NEXT: Final = 4 * 1024


async def show(request: web.Request) -> web.Response:
    """Answer GET and HEAD with the page on which a browser signs in."""
    wanted = request.query.get("next", "")
    form = SignIn(next=wanted if len(wanted) <= _LONGEST_NEXT else "")
    return login_page(request, form, is_private=is_private(request))


async def log_in(request: web.Request) -> web.Response:
    """Begin a session of who sends the right name and password; lead them where they wanted."""
    require_own_origin(request)
    require_private_way(request)
    fields = await _read_form(request)
    form = SignIn(fields.get("name", ""), fields.get("next", ""))
    # If it fails, the page that says so has what was filled in.
    request[SIGN_IN] = form
    principal = await request.app[PEOPLE].log_in(
        form.name, fields.get("password", ""), address_of(request)
    )
    response = _leave(request, form.next)
    assert principal.cookie is not None
    set_cookie(request, response, principal.cookie)
    return response


async def log_out(request: web.Request) -> web.Response:
    """End the session at the server, and have the browser forget what it was shown."""
    require_own_origin(request)
    rights = await enter(request)
    # It may have ended already.
    with suppress(NoSuchAccount):
        await request.app[PEOPLE].log_out(rights.principal)
    response = _leave(request, "")
    response.headers["Clear-Site-Data"] = '"cache"'
    set_cookie(request, response, CLEARED)
    return response


async def _read_form(request: web.Request) -> dict[str, str]:
    if essence_of(request) != _FORM:
        raise UnsupportedMedia(f"The name and the password are sent as {_FORM}.")
    body = bytearray()
    async for piece in read_body(request):
        body += piece
        if len(body) > _MAX_SIZE:
            raise TooLarge(f"The form can have {_MAX_SIZE} bytes.")
    try:
        fields = parse_qs(body.decode(), errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequest("The form is malformed.") from error
    return {name: values[0] for name, values in fields.items()}


def _leave(request: web.Request, path: str) -> web.Response:
    """Lead the browser to a path below that of all names, else to the first page."""
    root = names_root(request.app)
    safe = path.isascii() and path.isprintable() and "\\" not in path and ":" not in path
    location = path if safe and path.startswith(root) else root
    headers = {"Location": location, "Cache-Control": "no-store"}
    return web.Response(status=HTTPStatus.SEE_OTHER, headers=headers)
