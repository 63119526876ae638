"""Header fields of WebDAV (RFC 4918 §10)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from aiohttp import web

from chunkstore.core.errors import InvalidRequest
from chunkstore.http.message.headers import parse_lock_token

_TIMEOUT: Final = re.compile(r"(?:(infinite)(?:-\d+)?|second-(\d{1,20}))", re.IGNORECASE | re.ASCII)


def timeouts_of(request: web.Request) -> Sequence[int | None]:
    """Return the times, in seconds, that a lock is asked for, the best first; None is for ever.

    What is no time is left out (§10.7).
    """
    times: list[int | None] = []
    for part in ",".join(request.headers.getall("Timeout", [])).split(","):
        match = _TIMEOUT.fullmatch(part.strip(" \t"))
        if match is not None:
            times.append(None if match[1] else int(match[2]))
    return times


def lock_token_of(request: web.Request) -> str:
    """Return the token in the Lock-Token header; the angle brackets may be missing.

    Raises:
        InvalidRequest: there is none, or several.
    """
    lines = request.headers.getall("Lock-Token", [])
    token = parse_lock_token(lines[0]) if len(lines) == 1 else None
    if token is None:
        raise InvalidRequest("Lock-Token is the token of a lock in angle brackets.")
    return token


def minimal_is_preferred(request: web.Request) -> bool:
    """Whether properties that are not there are not to be told of (RFC 8144 §2.1)."""
    if request.headers.get("Brief", "").strip().lower() == "t":
        return True
    preferences = ",".join(request.headers.getall("Prefer", [])).lower()
    return any(each.strip() == "return=minimal" for each in re.split("[,;]", preferences))
