"""The target of a request as logs show it: without what lets somebody in who reads them."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

# However the path is spelled: what is refused is logged too.
_SLASH: Final = "(?:/|%2[Ff])"
_CHARACTER: Final = "(?:[0-9A-Za-z]|%[0-7][0-9A-Fa-f])"
_LINK: Final = re.compile(rf"({_SLASH}(?:s|%73){_SLASH}){_CHARACTER}{{22}}(?!{_CHARACTER})")
_VISIT: Final = re.compile(r"(/s/\*/v/)[^/?]+")
MASK: Final = "*"


def shown_target(request: web.BaseRequest) -> str:
    """Return the path and query of a request, with `*` for the token of a link, and for a visit."""
    target: str = request.path_qs
    return mask_links(target)


def mask_links(target: str) -> str:
    """Return a path, percent-encoded, likewise."""
    masked = _LINK.sub(rf"\1{MASK}", target)
    return target if masked is target else _VISIT.sub(rf"\1{MASK}", masked)
