"""Dead properties (RFC 4918 §4): what clients keep with a name, of which the server knows nothing.

Each is an XML element, kept as text that says all of its namespaces, so that it can stand in any
document. Those of one name are one value of bounded size, in the name's own row: whoever copies,
moves or deletes the name does so with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from chunkstore.core.errors import StoreDamaged, TooManyProperties

MAX_PROPERTIES_SIZE: Final = 64 * 1024
"""Bytes that the properties of one name may have together, as they are kept."""


class PropertyName(NamedTuple):
    """The name of a property, or of any XML element; `namespace` "" is none."""

    namespace: str
    local: str


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """One step of a change: a property is set to an element, or removed where that is None."""

    name: PropertyName
    element: str | None


def parse_properties(kept: bytes | None) -> dict[PropertyName, str]:
    """Return the elements of properties, as they are kept, by name.

    Raises:
        StoreDamaged: it is nothing that `format_properties` has returned.
    """
    if kept is None:
        return {}
    try:
        rows = json.loads(kept)
        return {PropertyName(str(ns), str(local)): str(element) for ns, local, element in rows}
    except (ValueError, TypeError) as error:
        raise StoreDamaged("The properties of a name are damaged; remove them.") from error


def format_properties(properties: Mapping[PropertyName, str]) -> bytes | None:
    """Return properties as they are kept; None for none.

    Raises:
        TooManyProperties: they are too large.
    """
    if not properties:
        return None
    rows = [[*name, element] for name, element in properties.items()]
    kept = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
    if len(kept) > MAX_PROPERTIES_SIZE:
        raise TooManyProperties
    return kept


def property_changes(there: bytes | None, wanted: bytes | None) -> list[PropertyChange]:
    """Return what makes properties, as they are kept, those that are wanted.

    Raises:
        StoreDamaged: as `parse_properties`.
    """
    found, elements = parse_properties(there), parse_properties(wanted)
    changes = [PropertyChange(name, None) for name in found if name not in elements]
    return changes + [
        PropertyChange(name, element)
        for name, element in elements.items()
        if found.get(name) != element
    ]


def changed_properties(kept: bytes | None, changes: Iterable[PropertyChange]) -> bytes | None:
    """Return what is to be kept once changes were made, in their order.

    Raises:
        TooManyProperties: that is too large. StoreDamaged: as `parse_properties`.
    """
    properties = parse_properties(kept)
    for change in changes:
        if change.element is None:
            properties.pop(change.name, None)
        else:
            properties[change.name] = change.element
    return format_properties(properties)
