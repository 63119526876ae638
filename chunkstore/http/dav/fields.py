"""Header fields of WebDAV (RFC 4918 §10)."""

from __future__ import annotations

import re
from typing import Final
from urllib.request import parse_http_list

from aiohttp import web

from chunkstore.core.dav.locks import LOCK_SECONDS, MAX_LOCK_SECONDS, clamped_seconds
from chunkstore.core.errors import InvalidRequest
from chunkstore.http.message.headers import parse_lock_token

_TIMEOUT: Final = re.compile(r"(?:(infinite)(?:-\d+)?|second-(\d{1,20}))", re.IGNORECASE | re.ASCII)


def lock_seconds_of(request: web.Request) -> int:
    """Return the time that a lock is given: the first that the request asks for, within bounds.

    What is no time is left out (§10.7).
    """
    for part in ",".join(request.headers.getall("Timeout", [])).split(","):
        match = _TIMEOUT.fullmatch(part.strip(" \t"))
        if match is not None:
            return MAX_LOCK_SECONDS if match[1] else clamped_seconds(int(match[2]))
    return LOCK_SECONDS


def lock_token_of(request: web.Request) -> str:
    """Return the token in the Lock-Token header; the angle brackets may be missing.

    Raises:
        InvalidRequest: there is none, or several.
    """
    lines = request.headers.getall("Lock-Token", [])
    token = parse_lock_token(lines[0]) if len(lines) == 1 else None
    if token is None:
        raise InvalidRequest("Send the token of the lock in Lock-Token, in angle brackets.")
    return token


MINIMAL_APPLIED: Final = {"Preference-Applied": "return=minimal"}
"""What tells that an answer is as short as was preferred (RFC 7240 §3)."""


def minimal_is_preferred(request: web.Request) -> bool:
    """Whether what the client can infer is not to be told of (RFC 8144 §2)."""
    for preference in parse_http_list(", ".join(request.headers.getall("Prefer", []))):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "return":
            # Of one that comes twice the first counts (RFC 7240 §2).
            return value.strip().strip('"').lower() == "minimal"
    return False


def absence_is_left_out(request: web.Request) -> bool:
    """Whether properties that are not there are not to be told of: Exchange's field says so too."""
    is_brief = request.headers.get("Brief", "").strip().lower() == "t"
    return is_brief or minimal_is_preferred(request)
