"""What is refused before anything else is done with a request: it is not meant for this server, or
can be understood in more than one way.

All answers are problem documents, also for browsers: a page would be read by whoever brought the
browser here.
"""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler

from chunkstore.core.hosts import Host, HostPolicy, parse_authority, parse_local_address
from chunkstore.http.answers.documents import Problem
from chunkstore.http.message.problems import InvalidMessage
from chunkstore.http.message.request import authority_of
from chunkstore.http.runtime.exchange import absolute_target, has_known_version

HOSTS: Final = web.AppKey("hosts", HostPolicy)

_Refusal: TypeAlias = tuple[Problem, str]

_MISDIRECTED: Final = Problem(HTTPStatus.MISDIRECTED_REQUEST, "misdirected-request")
_MALFORMED: Final = Problem(HTTPStatus.BAD_REQUEST, "malformed-request")
_UNKNOWN_CODING: Final = Problem(HTTPStatus.NOT_IMPLEMENTED, "unknown-transfer-coding")
_OTHER_VERSION: Final = Problem(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "unknown-version")

_SCHEMES: Final = ("http", "https")


@web.middleware
async def gate_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let pass only what is meant for this server, and can be understood in one way alone."""
    try:
        check_message(request)
    except InvalidMessage as error:
        return error.to_response()
    return await handler(request)


def check_message(request: web.Request) -> None:
    """Refuse what is not meant for this server, or can be understood in several ways.

    Raises:
        InvalidMessage: it is so.
    """
    refusal = _framing_fault(request) or _host_fault(request) or _target_fault(request)
    if refusal is not None:
        raise InvalidMessage(*refusal)


def close_after_upgrade(request: web.Request, response: web.StreamResponse) -> None:
    """Let the answer, which is about to leave, be the last if the client would change protocols.

    RFC 9110 §7.8 lets a server ignore that. But aiohttp's parser loses what came behind such a
    request, and takes the next bytes from the socket for the beginning of one.
    """
    if hdrs.UPGRADE in request.headers:
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


def _framing_fault(request: web.Request) -> _Refusal | None:
    """Refuse what other parsers could take for a message of another length (RFC 9112 §6.1)."""
    if not has_known_version(request):
        return _OTHER_VERSION, "Only HTTP/1.0 and HTTP/1.1 are spoken here."
    if hdrs.TRANSFER_ENCODING not in request.headers:
        return None
    values = ",".join(request.headers.getall(hdrs.TRANSFER_ENCODING)).lower().split(",")
    codings = [value.strip(" \t") for value in values]
    if codings == ["chunked"] and request.version == HttpVersion11:
        return None
    if any(set(codings) - {"chunked"}):
        return _UNKNOWN_CODING, "The only Transfer-Encoding that is understood is chunked."
    return _MALFORMED, "Transfer-Encoding is `chunked`, once, and not there in HTTP/1.0."


def _host_fault(request: web.Request) -> _Refusal | None:
    policy = request.app.get(HOSTS)
    if policy is None:
        return None
    authority = authority_of(request)
    if authority is None:
        # Only an old program leaves it out, no browser.
        return None
    if _is_always_answered_for(policy, authority):
        return None
    host = parse_authority(authority)
    if host is None:
        return _MALFORMED, "Host is not a host name or an IP address, with a port or without."
    if policy.is_answered_for(host, _local_address(request)):
        return None
    return (
        _MISDIRECTED,
        f"This server does not answer for {host}. Whoever runs it can let it, by the option"
        f" --allow-host {host}.",
    )


@lru_cache(maxsize=256)
def _is_always_answered_for(policy: HostPolicy, authority: str) -> bool:
    """Whether to answer whatever the address is that the connection came in on."""
    host = parse_authority(authority)
    return host is not None and policy.is_answered_for(host)


def _local_address(request: web.Request) -> Host | None:
    """Return the address that the connection came in on, which is one the machine has."""
    name = request.get_extra_info("sockname")
    return parse_local_address(name[0]) if isinstance(name, tuple) else None


def _target_fault(request: web.Request) -> _Refusal | None:
    """Refuse a target that a client cannot mean (RFC 9112 §3.2)."""
    if "#" in request.raw_path:
        return _MALFORMED, "A fragment is no part of a request; write # in a name as %23."
    target = absolute_target(request)
    if target is None or request.method == hdrs.METH_CONNECT:
        return None
    if target.scheme not in _SCHEMES:
        return _MALFORMED, "The scheme of the target is neither http nor https."
    return None
