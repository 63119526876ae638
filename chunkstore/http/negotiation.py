"""Choosing between HTML and JSON by the Accept header (RFC 9110 §12.5.1)."""

from __future__ import annotations

from aiohttp import web


def prefers_html(request: web.Request) -> bool:
    """Whether the client would rather have a page than JSON; without a preference it gets JSON."""
    accept = ",".join(request.headers.getall("Accept", []))
    return _quality(accept, "text/html") > _quality(accept, "application/json")


def _quality(accept: str, media_type: str) -> float:
    """Return the weight of the most specific media range that fits, 0 if none does."""
    ranges = ("*/*", media_type.partition("/")[0] + "/*", media_type)
    best = (-1, 0.0)
    for part in accept.lower().split(","):
        media_range, *parameters = (piece.strip() for piece in part.split(";"))
        if media_range in ranges:
            best = max(best, (ranges.index(media_range), _weight(parameters)))
    return best[1]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
