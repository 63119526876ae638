"""Choosing between two media types by the Accept header (RFC 9110 §12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

_HTML: Final = ("*/*", "text/*", "text/html")
_TEXT: Final = ("*/*", "text/*", "text/plain")
_JSON: Final = ("*/*", "application/*", "application/json")
# Media ranges beyond these are ignored; browsers list eight.
_MOST_RANGES: Final = 100


def prefers_html(request: web.Request) -> bool:
    """Whether the client prefers HTML to JSON; without a preference it gets JSON."""
    return _prefers(request, _HTML, _JSON)


def prefers_text(request: web.Request, media_type: str) -> bool:
    """Whether the client prefers plain text to an `application/` type, which it gets otherwise."""
    return _prefers(request, _TEXT, ("*/*", "application/*", media_type))


def _prefers(request: web.Request, wanted: Sequence[str], other: Sequence[str]) -> bool:
    """Whether the client prefers one type to another, each given with its ranges, widest first."""
    accept = ",".join(request.headers.getall("Accept", ())).lower()
    first = second = (-1, 0.0)
    for part in accept.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        media_range, _, parameters = part.partition(";")
        media_range = media_range.strip()
        if media_range in wanted:
            first = max(first, (wanted.index(media_range), _weight(parameters)))
        if media_range in other:
            second = max(second, (other.index(media_range), _weight(parameters)))
    return first[1] > second[1]


def _weight(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def accepts_gzip(request: web.Request) -> bool:
    """Whether the client takes an answer with the coding gzip (RFC 9110 §12.5.3)."""
    codings = ",".join(request.headers.getall("Accept-Encoding", ())).lower()
    for part in codings.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        coding, _, parameters = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip", "*"):
            return _weight(parameters) > 0
    return False
