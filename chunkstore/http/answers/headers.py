"""Header fields by which browsers keep answers of this server from pages of other sites."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web
from multidict import istr

RESOURCE_POLICY: Final = istr("Cross-Origin-Resource-Policy")

# Names that are compared in lower case already, which each answer is spared.
ANSWER_HEADERS: Final[dict[str, str]] = {
    hdrs.SERVER: "chunkstore",  # and no versions
    istr("X-Content-Type-Options"): "nosniff",
    # Content is nothing that may run, and no other site's page may hold it in a frame.
    istr("Content-Security-Policy"): "sandbox; default-src 'none'; frame-ancestors 'self'",
    # Nor as an image or a script, which would tell that it is there, and how large.
    RESOURCE_POLICY: "same-origin",
}


def add_answer_headers(response: web.StreamResponse) -> None:
    """Add the fields to an answer that is about to leave, but those that it has of its own."""
    headers = response.headers
    headers[hdrs.SERVER] = ANSWER_HEADERS[hdrs.SERVER]
    for name, value in ANSWER_HEADERS.items():
        headers.setdefault(name, value)
