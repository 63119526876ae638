"""Header fields of every answer: by these, browsers keep answers from pages of other sites.

To add a field to every answer, add a row to `ANSWER_HEADERS`. One whose value depends on the
request is added by `app._add_headers`.
"""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web
from multidict import istr

RESOURCE_POLICY: Final = istr("Cross-Origin-Resource-Policy")

# An `istr` is compared without being lowered again for each answer.
ANSWER_HEADERS: Final[dict[str, str]] = {
    hdrs.SERVER: "chunkstore",  # without versions, which would help an attacker
    istr("X-Content-Type-Options"): "nosniff",
    # A file may not run scripts, and no other site's page may show it in a frame.
    istr("Content-Security-Policy"): "sandbox; default-src 'none'; frame-ancestors 'self'",
    # Nor as an image or a script, by which a page would learn that it exists, and its size.
    RESOURCE_POLICY: "same-origin",
}


def add_answer_headers(response: web.StreamResponse) -> None:
    """Add the fields to an answer that is about to leave, except where it has its own value."""
    headers = response.headers
    headers[hdrs.SERVER] = ANSWER_HEADERS[hdrs.SERVER]
    for name, value in ANSWER_HEADERS.items():
        headers.setdefault(name, value)
