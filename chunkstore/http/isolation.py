"""Header fields by which browsers keep answers of this server from pages of other sites."""

from __future__ import annotations

from typing import Final

from aiohttp import web

RESOURCE_POLICY: Final = "Cross-Origin-Resource-Policy"

ISOLATION: Final = {
    "Server": "chunkstore",  # and no versions
    "X-Content-Type-Options": "nosniff",
    # Content is nothing that may run, and no other site's page may hold it in a frame.
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'self'",
    # Nor as an image or a script, which would tell that it is there, and how large.
    RESOURCE_POLICY: "same-origin",
}


def isolate(response: web.StreamResponse) -> None:
    """Add the fields to an answer that is about to leave, but those that it has of its own."""
    headers = response.headers
    headers["Server"] = ISOLATION["Server"]
    for name, value in ISOLATION.items():
        headers.setdefault(name, value)
