"""Structured fields (RFC 9651) of requests about uploads: integers and booleans."""

from __future__ import annotations

import http_sf
from aiohttp import web


def boolean_of(request: web.Request, field: str) -> bool | None:
    """Return the value of a boolean field; None if malformed, as if not given."""
    value = _item_of(request, field)
    return value if isinstance(value, bool) else None


def integer_of(request: web.Request, field: str) -> int | None:
    """Return the value of a field that is an integer from 0 on; None if malformed, likewise."""
    value = _item_of(request, field)
    usable = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if usable else None  # type: ignore[return-value]


def format_boolean(value: bool) -> str:
    """Return the value of a boolean field."""
    return "?1" if value else "?0"


def _item_of(request: web.Request, field: str) -> object:
    if field not in request.headers:
        return None
    try:
        item = http_sf.parse(request.headers[field].encode(errors="replace"), tltype="item")
    except http_sf.StructuredFieldError:
        return None
    # An item is a pair of its value and its parameters.
    return item[0] if isinstance(item, tuple) else None
