"""What a request brings to prove who asks: Basic, a token, or the cookie of a session."""

from __future__ import annotations

import binascii
import re
import unicodedata
from base64 import b64decode
from hashlib import sha256
from typing import Final

from aiohttp import hdrs, web

from chunkstore.core.errors import InsecureLogin, InvalidRequest, SignInFailed
from chunkstore.http.message.request import names_root
from chunkstore.http.runtime.senders import is_private, scheme_of
from chunkstore.service.access.principal import (
    Basic,
    Bearer,
    Credentials,
    NewCookie,
    NoCredentials,
    SessionCookie,
)

# RFC 6750 §2.1.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_NOTHING: Final = NoCredentials()


def credentials_of(request: web.Request) -> Credentials:
    """Return what the request brings; a cookie does not count beside Authorization.

    Over a way that others can read, nothing counts: a cookie is none, and all else is refused,
    right or not, so that nobody gets used to sending it.

    Raises:
        InsecureLogin: others could read it on the way.
        InvalidRequest: Authorization comes twice.
        SignInFailed: it is malformed, or of another scheme.
    """
    if hdrs.AUTHORIZATION in request.headers:
        require_private_way(request)
        lines = request.headers.getall(hdrs.AUTHORIZATION)
        if len(lines) > 1:
            raise InvalidRequest("Authorization is given more than once.")
        return _parse(lines[0])
    if hdrs.COOKIE in request.headers and is_private(request):
        value = request.cookies.get(cookie_name(request))
        if value and value.isascii():
            return SessionCookie(value)
    return _NOTHING


def require_private_way(request: web.Request) -> None:
    """Refuse to take what proves who somebody is from where others can read it.

    Raises:
        InsecureLogin: they can.
    """
    if not is_private(request):
        raise InsecureLogin


def _parse(line: str) -> Credentials:
    scheme, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer" if _TOKEN.fullmatch(rest):
            return Bearer(rest)
        case "basic":
            return _parse_basic(rest)
    raise SignInFailed("Authorization is Basic, or Bearer with a token.")


def _parse_basic(encoded: str) -> Basic:
    """Return the name and the password, in NFC (RFC 7617 §2.1)."""
    try:
        text = b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise SignInFailed("Basic has a name and a password, in UTF-8 and Base64.") from error
    name, colon, password = unicodedata.normalize("NFC", text).partition(":")
    if not colon:
        raise SignInFailed("Basic has a name and a password, with a colon in between.")
    return Basic(name, password)


def cookie_name(request: web.Request, purpose: str = "") -> str:
    """Return the name of the cookie; servers at other paths of the same host have another.

    One with a `purpose` is no session's. Over https it has the prefix by which browsers take it
    from this host alone.
    """
    place = sha256(names_root(request.app).encode()).hexdigest()[:8]
    prefix = "__Host-" if scheme_of(request) == "https" else ""
    return f"{prefix}chunkstore-{place}{purpose}"


def set_cookie(
    request: web.Request, response: web.StreamResponse, cookie: NewCookie, purpose: str = ""
) -> None:
    """Have the browser keep another cookie, or none; also in an answer that is about to leave."""
    secure = "; Secure" if scheme_of(request) == "https" else ""
    response.headers.add(
        hdrs.SET_COOKIE,
        f"{cookie_name(request, purpose)}={cookie.value}; Path=/; Max-Age={cookie.max_age_seconds}"
        f"; HttpOnly; SameSite=Lax{secure}",
    )
