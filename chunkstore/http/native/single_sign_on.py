"""`/login/oidc`: signing in with a provider of OpenID Connect, and `/login/oidc/begin`."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from chunkstore.core.errors import NotFound, SignOnFailed, UnknownIdentity
from chunkstore.http.message.request import authority_of
from chunkstore.http.native.sessions import let_in, see_other
from chunkstore.http.page.render import SIGN_ON_RESOURCE
from chunkstore.http.runtime.senders import address_of, scheme_of
from chunkstore.http.security.credentials import cookie_name, require_private_way, set_cookie
from chunkstore.http.security.provider import PROVIDER, Provider
from chunkstore.http.security.rights import PEOPLE
from chunkstore.service.access.oidc import (
    ATTEMPT_SECONDS,
    Attempt,
    authorization_url,
    code_of,
)
from chunkstore.service.access.principal import CLEARED, CodeNeeded, NewCookie, Principal
from chunkstore.service.access.sign_ins import SIGN_ON

# The cookie of a sign-in that was begun.
_BEGUN: Final = "-sign-on"

_logger = logging.getLogger(__name__)


async def begin(request: web.Request) -> web.Response:
    """Send a browser to the provider; with `again`, to sign in there though it has a session.

    It changes nothing but a cookie of the browser, so any link may lead here.
    """
    require_private_way(request)
    provider = _provider_of(request)
    metadata = await provider.metadata()
    attempt = Attempt.new(request.query.get("next", ""))
    again = "again" in request.query
    uri = _redirect_uri(request)
    url = authorization_url(metadata, provider.registration, attempt, uri, again=again)
    response = see_other(url)
    set_cookie(request, response, NewCookie(attempt.to_cookie(), ATTEMPT_SECONDS), _BEGUN)
    return response


async def come_back(request: web.Request) -> web.Response:
    """Begin a session of whom the provider has signed in and sent back here."""
    provider, people = _provider_of(request), request.app[PEOPLE]
    try:
        with people.sign_ins.counting(SIGN_ON, address_of(request)):
            require_private_way(request)
            attempt = Attempt.from_cookie(request.cookies.get(cookie_name(request, _BEGUN), ""))
            found = await _sign_in(request, provider, attempt)
    except (SignOnFailed, UnknownIdentity) as error:
        # What is wrong with a provider, or its registration, is for the operator.
        _logger.warning("%s signed nobody in: %s", provider.registration.name, error)
        raise
    response = await let_in(request, found, attempt.next)
    set_cookie(request, response, CLEARED, _BEGUN)
    return response


async def _sign_in(
    request: web.Request, provider: Provider, attempt: Attempt
) -> Principal | CodeNeeded:
    people, registration = request.app[PEOPLE], provider.registration
    if len(set(request.query)) < len(request.query):
        raise SignOnFailed("The answer has something twice.")
    code = code_of(request.query, attempt, registration, await provider.metadata())
    # Codes of strangers are counted, as each asks the provider something.
    counted = people.limiter.attempt(address_of(request))
    claims = await provider.redeem(code, attempt, _redirect_uri(request))
    people.limiter.succeeded(counted)
    return await people.log_in_as(
        claims, address_of(request), attempt.next, creates=registration.creates
    )


def _provider_of(request: web.Request) -> Provider:
    provider = request.app.get(PROVIDER)
    if provider is None:
        raise NotFound("Nobody else signs people in here.")
    return provider


def _redirect_uri(request: web.Request) -> str:
    """Return where the provider sends browsers back to; it knows that already, and no other."""
    path = request.app.router[SIGN_ON_RESOURCE].url_for()
    return f"{scheme_of(request) or 'http'}://{authority_of(request) or ''}{path}"
