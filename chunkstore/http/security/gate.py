"""The first check of a request: it is for this server, and can be parsed in one way only.

What is refused is answered with a problem document, to browsers too: a page could be read by the
site that sent the browser here.
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
from chunkstore.http.message.request import own_authority_of
from chunkstore.http.runtime.exchange import absolute_target, has_known_version
from chunkstore.http.runtime.senders import forwarded_authority_of

HOSTS: Final = web.AppKey("hosts", HostPolicy)

_Fault: TypeAlias = tuple[Problem, str]

_MISDIRECTED: Final = Problem(HTTPStatus.MISDIRECTED_REQUEST, "misdirected-request")
_MALFORMED: Final = Problem(HTTPStatus.BAD_REQUEST, "malformed-request")
_UNKNOWN_CODING: Final = Problem(HTTPStatus.NOT_IMPLEMENTED, "unknown-transfer-coding")
_OTHER_VERSION: Final = Problem(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "unknown-version")

_SCHEMES: Final = ("http", "https")


@web.middleware
async def gate_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Pass on only requests that `check_message` does not refuse."""
    try:
        check_message(request)
    except InvalidMessage as error:
        return error.to_response()
    return await handler(request)


def check_message(request: web.Request) -> None:
    """Refuse a request that is for another server, or can be parsed in more than one way.

    Raises:
        InvalidMessage: it is one.
    """
    fault = _framing_fault(request) or _host_fault(request) or _target_fault(request)
    if fault is not None:
        raise InvalidMessage(*fault)


def close_after_upgrade(request: web.Request, response: web.StreamResponse) -> None:
    """Close the connection behind an answer, about to leave, to a request with Upgrade.

    RFC 9110 §7.8 lets a server ignore the field. But aiohttp's parser loses what came behind such a
    request, and parses the next bytes from the socket as the beginning of one.
    """
    if hdrs.UPGRADE in request.headers:
        response.force_close()
        response.headers[hdrs.CONNECTION] = "close"


def _framing_fault(request: web.Request) -> _Fault | None:
    """Find what lets other parsers see a message of another length (RFC 9112 §6.1)."""
    if not has_known_version(request):
        return _OTHER_VERSION, "Only HTTP/1.0 and HTTP/1.1 are supported."
    if hdrs.TRANSFER_ENCODING not in request.headers:
        return None
    values = ",".join(request.headers.getall(hdrs.TRANSFER_ENCODING)).lower().split(",")
    codings = [value.strip(" \t") for value in values]
    if codings == ["chunked"] and request.version == HttpVersion11:
        return None
    if any(set(codings) - {"chunked"}):
        return _UNKNOWN_CODING, "The only Transfer-Encoding that is supported is chunked."
    return _MALFORMED, "Transfer-Encoding can be `chunked`, once, and not in HTTP/1.0."


def _host_fault(request: web.Request) -> _Fault | None:
    policy = request.app.get(HOSTS)
    if policy is None:
        return None
    # Both: a proxy that does not set what it forwards passes on what a page has sent.
    for authority in (own_authority_of(request), forwarded_authority_of(request)):
        # Old programs leave it out, browsers never do.
        fault = None if authority is None else _authority_fault(request, policy, authority)
        if fault is not None:
            return fault
    return None


def _authority_fault(request: web.Request, policy: HostPolicy, authority: str) -> _Fault | None:
    if _is_always_answered_for(policy, authority):
        return None
    host = parse_authority(authority)
    if host is None:
        return _MALFORMED, "Host is not a host name or an IP address, with a port or without."
    if policy.is_answered_for(host, _local_address(request)):
        return None
    return (
        _MISDIRECTED,
        f"This server does not answer for {host}. Its operator can allow that with"
        f" --allow-host {host}.",
    )


@lru_cache(maxsize=256)
def _is_always_answered_for(policy: HostPolicy, authority: str) -> bool:
    """Whether to answer for the authority, whatever address the connection came in on."""
    host = parse_authority(authority)
    return host is not None and policy.is_answered_for(host)


def _local_address(request: web.Request) -> Host | None:
    """Return the machine's address that the connection came in on."""
    name = request.get_extra_info("sockname")
    return parse_local_address(name[0]) if isinstance(name, tuple) else None


def _target_fault(request: web.Request) -> _Fault | None:
    """Find what no target may have (RFC 9112 §3.2)."""
    if "#" in request.raw_path:
        return _MALFORMED, "A fragment is no part of a request; write # in a name as %23."
    target = absolute_target(request)
    if target is None or request.method == hdrs.METH_CONNECT:
        return None
    if target.scheme not in _SCHEMES:
        return _MALFORMED, "The scheme of the target is neither http nor https."
    return None
