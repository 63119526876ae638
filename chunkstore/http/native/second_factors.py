"""`/account/second-factor`: the page on which somebody adds a second factor, and removes it.

All of it works by links and forms. What it shows of secrets is shown once, and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from chunkstore.core.errors import AlreadyExists, CodeRefused, InvalidRequest, NotFound
from chunkstore.http.message.browsers import browser_of
from chunkstore.http.message.request import authority_of
from chunkstore.http.message.whole_bodies import read_form
from chunkstore.http.page.qr import qr_code
from chunkstore.http.page.render import SECOND_FACTOR_RESOURCE, render
from chunkstore.http.security.credentials import set_cookie
from chunkstore.http.security.csrf import require_own_origin
from chunkstore.http.security.rights import PEOPLE, rights_of
from chunkstore.service.access.people import SIGN_IN_FAILED

_GROUP: Final = 4

Form = Mapping[str, str]


async def show(request: web.Request) -> web.Response:
    """Answer GET and HEAD with the page."""
    return await _page(request)


async def change(request: web.Request) -> web.Response:
    """Do what a form of the page asks for; the page says what came of it."""
    require_own_origin(request)
    form = await read_form(request)
    action = _ACTIONS.get(form.get("action", ""))
    if action is None:
        raise InvalidRequest("The form asks for nothing that there is.")
    people, rights = request.app[PEOPLE], rights_of(request)
    try:
        response = await action(request, form)
    except CodeRefused as error:
        await people.audit.note(rights.who, SIGN_IN_FAILED, by="code")
        # Who adds one has seen its secret already.
        begun = {"factor": form["factor"]} if "factor" in form else {}
        return await _page(request, str(error), HTTPStatus.FORBIDDEN, **begun)
    except (AlreadyExists, NotFound) as error:
        return await _page(request, str(error), HTTPStatus.CONFLICT)
    if form["action"] in _TOLD:
        await people.audit.note(rights.who, _TOLD[form["action"]])
    return response


async def _begin(request: web.Request, form: Form) -> web.Response:
    place = authority_of(request) or "chunkstore"
    begun = await request.app[PEOPLE].totp.begin(rights_of(request).principal, place)
    secret = " ".join(begun.secret[at : at + _GROUP] for at in range(0, len(begun.secret), _GROUP))
    return await _page(request, factor=begun.id, secret=secret, qr=qr_code(begun.uri))


async def _confirm(request: web.Request, form: Form) -> web.Response:
    principal = rights_of(request).principal
    enrolled = await request.app[PEOPLE].totp.confirm(
        principal, form.get("factor", ""), form.get("code", "")
    )
    await request.app[PEOPLE].sessions.note_browser(enrolled.digest, browser_of(request))
    response = await _page(request, recovery_codes=enrolled.recovery_codes)
    set_cookie(request, response, enrolled.cookie)
    return response


async def _renew(request: web.Request, form: Form) -> web.Response:
    codes = await request.app[PEOPLE].totp.renew_recovery_codes(
        rights_of(request).principal, form.get("code", "")
    )
    return await _page(request, recovery_codes=codes)


async def _remove(request: web.Request, form: Form) -> web.Response:
    await request.app[PEOPLE].totp.remove(rights_of(request).principal, form.get("code", ""))
    return await _page(request)


async def _page(
    request: web.Request,
    problem: str = "",
    status: HTTPStatus = HTTPStatus.OK,
    **shown: Any,  # noqa: ANN401 - what the template shows
) -> web.Response:
    """Return the page, as the account is now."""
    people, principal = request.app[PEOPLE], rights_of(request).principal
    snapshot = await people.directory.current()
    known = principal.account
    account = None if known is None else snapshot.find_valid(known.key, known.id)
    if account is None:
        raise NotFound("There are no accounts here.")
    context = {
        "text": "",
        "problem": problem,
        "name": account.name,
        "here": str(request.app.router[SECOND_FACTOR_RESOURCE].url_for()),
        "may_change": principal.may_change_credentials(people.clock.now()),
        "has_password": account.password is not None,
        "codes_left": await people.totp.recovery_codes_left(account),
        "recovery_codes": (),
        "factor": None,
        "secret": None,
        "qr": None,
        **shown,
    }
    response = render(request, "second-factor.html", context, status)
    response.headers["Cache-Control"] = "no-store"
    return response


# What the audit log tells.
_TOLD: Final = {
    "confirm": "user totp add",
    "renew": "user totp codes",
    "remove": "user totp remove",
}
_ACTIONS: Final[Mapping[str, Callable[[web.Request, Form], Awaitable[web.Response]]]] = {
    "begin": _begin,
    "confirm": _confirm,
    "renew": _renew,
    "remove": _remove,
}
