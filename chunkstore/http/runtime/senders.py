"""Whom a request is of, as far as trusted proxies tell, and the id by which the log knows it."""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random, SystemRandom
from typing import Final, cast

from aiohttp import web

from chunkstore.core.current_request import CURRENT_REQUEST
from chunkstore.core.hosts import parse_local_address
from chunkstore.core.proxies import UNIX_PROXY, ProxyPolicy, Sender

# The proxies that an application trusts.
PROXIES: Final = web.AppKey("proxies", ProxyPolicy)
# Whether credentials are taken from other machines also without TLS.
INSECURE_LOGIN: Final = web.AppKey("insecure_login", bool)
REQUEST_ID_FIELD: Final = "X-Request-ID"

# The account of who is signed in, for the log.
ACCOUNT: Final = web.RequestKey("account", str)

_SENDER: Final = web.RequestKey("sender", Sender)
_REQUEST_ID: Final = web.RequestKey("request_id", str)
_TAKEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

# Ids tell requests apart, and are no secrets.
_random: Final = Random(SystemRandom().getrandbits(128))


def identify(request: web.BaseRequest, policy: ProxyPolicy | None) -> str | None:
    """Note whom a request is of, and its id; return what is wrong with what a proxy tells."""
    request_id = f"{_random.getrandbits(64):016x}"
    request[_REQUEST_ID] = request_id
    CURRENT_REQUEST.set(request_id)
    peer = _peer_of(request)
    if policy is None or not policy.trusts(peer):
        return None
    given = request.headers.getall(REQUEST_ID_FIELD, ())
    if len(given) == 1 and _TAKEN_ID.fullmatch(given[0]):
        request[_REQUEST_ID] = given[0]
        CURRENT_REQUEST.set(given[0])
    try:
        sender = policy.sender_of(peer, lambda field: request.headers.getall(field, []))
    except ValueError as error:
        return f"{error}."
    if sender is not None:
        request[_SENDER] = sender
    return None


def request_id_of(request: web.BaseRequest) -> str | None:
    """Return the id of a request; None where another runner took it in."""
    return cast("str | None", request.get(_REQUEST_ID))


def _peer_of(request: web.BaseRequest) -> str:
    """Return the address of the other end, empty if it was gone before anybody asked.

    Then it must not pass for a client of the Unix socket, which has no address either.
    """
    if request.remote:
        return request.remote
    own = request.get_extra_info("sockname")
    return UNIX_PROXY if isinstance(own, str | bytes) else ""


def _sender_of(request: web.BaseRequest) -> Sender | None:
    return cast("Sender | None", request.get(_SENDER))


def address_of(request: web.BaseRequest) -> str:
    """Return the address of the client; `unix` for one of the Unix socket."""
    sender = _sender_of(request)
    return sender.address if sender is not None else _peer_of(request)


def scheme_of(request: web.BaseRequest) -> str | None:
    """Return the scheme of the URL that the client used; None where only a proxy would know."""
    sender = _sender_of(request)
    if sender is not None and sender.scheme is not None:
        return sender.scheme
    return "https" if request.secure else None


def is_private(request: web.Request) -> bool:
    """Whether nobody on the way can read the request: it came by TLS, or from this machine.

    Where a trusted proxy is in between, its client's way counts, as far as the proxy tells of it.
    An application may have said that it does not matter.
    """
    if scheme_of(request) == "https" or request.app.get(INSECURE_LOGIN, False):
        return True
    return _is_this_machine(address_of(request))


# It is asked for each request, and to parse an address takes as long as to check a token.
@lru_cache(maxsize=1024)
def _is_this_machine(address: str) -> bool:
    if address == UNIX_PROXY:
        return True
    host = parse_local_address(address)
    return host is not None and not isinstance(host, str) and host.is_loopback


def forwarded_authority_of(request: web.BaseRequest) -> str | None:
    """Return the `host[:port]` that a trusted proxy was asked for, None where none told it."""
    sender = _sender_of(request)
    return None if sender is None else sender.authority


def add_request_id(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Tell the client the request's id, by which the operator finds it in the log."""
    request_id = request_id_of(request)
    if request_id is not None:
        response.headers[REQUEST_ID_FIELD] = request_id
