"""Who holds a lock, in the words of the program that took it (RFC 4918 §14.17).

The owner element is whatever XML that program has sent, and nobody has checked it. People are told
its text, on one line of bounded length.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from chunkstore.core.dav.locks import Lock
from chunkstore.core.errors import Held

_LONGEST: Final = 80
# Control characters, and those by which text that follows would be read in another direction.
_MISLEADING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def owner_text(owner: str) -> str:
    """Return what an owner element says, "" if that is nothing."""
    parts: list[str] = []
    parser = expat.ParserCreate()
    parser.CharacterDataHandler = parts.append
    # Words of elements that stand side by side are not one word.
    parser.StartElementHandler = lambda *_: parts.append(" ")
    parser.EndElementHandler = parser.StartElementHandler
    try:
        parser.Parse(owner, True)
    except expat.ExpatError:
        return ""
    text = " ".join(_MISLEADING.sub(" ", "".join(parts)).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def held(lock: Lock) -> Held:
    """Return what is told of a lock."""
    return Held(lock.name, owner_text(lock.owner), lock.principal, lock.expires)
