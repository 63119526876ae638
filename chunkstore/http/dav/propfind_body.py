"""What a PROPFIND asks for (RFC 4918 §14.20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from chunkstore.core.dav.properties import PropertyName
from chunkstore.core.errors import InvalidRequest
from chunkstore.http.dav.multistatus import DAV, dav
from chunkstore.http.dav.xml_reading import parse_xml

_ROOT: Final = dav("propfind")


class Kind(Enum):
    """Which properties are asked for: all, the names of all, or those that are named."""

    ALL = auto()
    NAMES = auto()
    SOME = auto()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The properties that are asked for; `names` are those beside all, or else the only ones."""

    kind: Kind
    names: Sequence[PropertyName] = ()


def parse_propfind(body: bytes) -> Wanted:
    """Return what a body asks for: an empty one, all (§9.1).

    Elements that nobody knows are ignored (§17). A `prop` without any name is sent by programs that
    want all.

    Raises:
        InvalidRequest: it is none. ExternalEntities: as `parse_xml`.
    """
    if not body.strip():
        return Wanted(Kind.ALL)
    root = parse_xml(body)
    if root.name != _ROOT:
        raise InvalidRequest("The body of PROPFIND is a propfind element of DAV:.")
    if root.find(DAV, "propname") is not None:
        return Wanted(Kind.NAMES)
    prop = root.find(DAV, "prop")
    if prop is not None:
        names = tuple(dict.fromkeys(each.name for each in prop.elements))
        return Wanted(Kind.SOME, names) if names else Wanted(Kind.ALL)
    if root.find(DAV, "allprop") is None:
        raise InvalidRequest("A propfind has one of allprop, propname and prop.")
    include = root.find(DAV, "include")
    names = () if include is None else tuple(dict.fromkeys(each.name for each in include.elements))
    return Wanted(Kind.ALL, names)
