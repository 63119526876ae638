"""Choosing between HTML and JSON by the Accept header (RFC 9110 §12.5.1)."""

from __future__ import annotations

from typing import Final

from aiohttp import web

_HTML: Final = ("*/*", "text/*", "text/html")
_JSON: Final = ("*/*", "application/*", "application/json")
# Media ranges beyond these are ignored; browsers list eight.
_MOST_RANGES: Final = 100


def prefers_html(request: web.Request) -> bool:
    """Whether the client prefers HTML to JSON; without a preference it gets JSON."""
    accept = ",".join(request.headers.getall("Accept", ())).lower()
    html = json = (-1, 0.0)
    for part in accept.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        media_range, _, parameters = part.partition(";")
        media_range = media_range.strip()
        if media_range in _HTML:
            html = max(html, (_HTML.index(media_range), _weight(parameters)))
        if media_range in _JSON:
            json = max(json, (_JSON.index(media_range), _weight(parameters)))
    return html[1] > json[1]


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
