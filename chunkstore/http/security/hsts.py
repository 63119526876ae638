"""HSTS (RFC 6797): browsers that came over https are told to come over nothing else."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from chunkstore.http.runtime.senders import scheme_of

# The value of the field.
HSTS: Final = web.AppKey("hsts", str)


def add_https_only(request: web.Request, response: web.StreamResponse) -> None:
    """Add the field to an answer over https; over http it must not be (RFC 6797 §7.2)."""
    value = request.app.get(HSTS)
    if value is not None and scheme_of(request) == "https":
        response.headers["Strict-Transport-Security"] = value
