"""What a PROPPATCH asks for (RFC 4918 §14.19), and what of it can be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Final

from chunkstore.core.dav.properties import (
    MAX_PROPERTIES_SIZE,
    PropertyChange,
    PropertyName,
)
from chunkstore.core.errors import InvalidRequest, TooManyProperties
from chunkstore.http.dav.live_properties import CREATED_BY, MODIFIED_BY, PROTECTED
from chunkstore.http.dav.multistatus import DAV, dav, format_names, format_propstat
from chunkstore.http.dav.xml_reading import Element, format_element, parse_xml

_ROOT: Final = dav("propertyupdate")
# Characters that the properties of one request may come to.
_MOST_TEXT: Final = 2 * MAX_PROPERTIES_SIZE


@dataclass(slots=True)
class PropertyUpdate:
    """Changes of properties, in the order of the document.

    `changes` are those of dead properties; `created` and `modified` what comes of others. `names`
    are those of all, and `refused` the status of each that cannot be changed so. `size` is that of
    the elements in `changes`: each has all namespaces that were in scope, so they may be much
    longer than the body.
    """

    changes: list[PropertyChange] = field(default_factory=list)
    created: datetime | None = None
    modified: datetime | None = None
    names: dict[PropertyName, None] = field(default_factory=dict)
    refused: dict[PropertyName, HTTPStatus] = field(default_factory=dict)
    size: int = 0

    def set(self, element: Element) -> None:
        """Add that a property is set."""
        name = element.name
        self.names[name] = None
        if name in PROTECTED:
            self.refused[name] = HTTPStatus.FORBIDDEN
        elif name in CREATED_BY or name in MODIFIED_BY:
            self._set_time(name, element.text)
        else:
            text = format_element(element)
            self.changes.append(PropertyChange(name, text))
            self.size += len(text)

    def _set_time(self, name: PropertyName, text: str) -> None:
        time = (CREATED_BY.get(name) or MODIFIED_BY[name])(text)
        if time is None or time.year < 1970:
            self.refused[name] = HTTPStatus.CONFLICT
        elif name in CREATED_BY:
            self.created = time
        else:
            self.modified = time

    def remove(self, name: PropertyName) -> None:
        """Add that a property is removed; that it is not there is no error (§14.23)."""
        self.names[name] = None
        if name in PROTECTED or name in CREATED_BY or name in MODIFIED_BY:
            self.refused[name] = HTTPStatus.FORBIDDEN
        else:
            self.changes.append(PropertyChange(name, None))


def parse_update(body: bytes) -> PropertyUpdate:
    """Return what a body asks for.

    Raises:
        InvalidRequest: it is none. ExternalEntities: as `parse_xml`. TooManyProperties: no name can
            have so many.
    """
    root = parse_xml(body)
    if root.name != _ROOT:
        raise InvalidRequest("The body of PROPPATCH is a propertyupdate element of DAV:.")
    update = PropertyUpdate()
    for step in root.elements:
        prop = step.find(DAV, "prop")
        if step.name not in (dav("set"), dav("remove")) or prop is None:
            continue
        for element in prop.elements:
            if step.name == dav("remove"):
                update.remove(element.name)
                continue
            update.set(element)
            if update.size > _MOST_TEXT:
                raise TooManyProperties
    return update


def format_propstats(
    names: Sequence[PropertyName], refused: dict[PropertyName, HTTPStatus]
) -> list[str]:
    """Return what became of properties (§9.2); if some are `refused`, nothing of any."""
    if not refused:
        return [format_propstat(format_names(names), HTTPStatus.OK)]
    told = []
    for status in dict.fromkeys(refused.values()):
        those = [name for name in names if refused.get(name) is status]
        condition = "cannot-modify-protected-property" if status == HTTPStatus.FORBIDDEN else ""
        told.append(format_propstat(format_names(those), status, condition))
    others = [name for name in names if name not in refused]
    if others:
        told.append(format_propstat(format_names(others), HTTPStatus.FAILED_DEPENDENCY))
    return told
