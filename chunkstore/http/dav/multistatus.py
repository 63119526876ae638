"""Writing XML: a multistatus of properties (RFC 4918 §13), and bodies that name an error (§16).

It is short, as some clients read a megabyte of it at most: one prefix of one letter, no white
space, and only what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Final

from chunkstore.core.dav.properties import PropertyName
from chunkstore.http.dav.xml_reading import XML_NAMESPACE, escape_attribute, escape_text

DAV: Final = "DAV:"
XML_TYPE: Final = 'application/xml; charset="utf-8"'
DECLARATION: Final = '<?xml version="1.0" encoding="utf-8"?>'
HEAD: Final = f'{DECLARATION}<D:multistatus xmlns:D="DAV:">'
TAIL: Final = "</D:multistatus>"


def dav(local: str) -> PropertyName:
    """Return a name in the namespace of WebDAV."""
    return PropertyName(DAV, local)


def format_empty(name: PropertyName) -> str:
    """Return an empty element of this name."""
    return "<{}{}/>".format(*_qualified(name))


def format_tags(name: PropertyName) -> tuple[str, str]:
    """Return the tags around the content of an element of this name."""
    tag, declaration = _qualified(name)
    return f"<{tag}{declaration}>", f"</{tag}>"


def _qualified(name: PropertyName) -> tuple[str, str]:
    """Return a name as it stands in a tag, and the declaration that it needs there."""
    if name.namespace == DAV:
        return f"D:{name.local}", ""
    if name.namespace == XML_NAMESPACE:
        # It is declared everywhere, and must not be by another prefix, or none.
        return f"xml:{name.local}", ""
    return name.local, f' xmlns="{escape_attribute(name.namespace)}"'


def format_names(names: Iterable[PropertyName]) -> str:
    """Return empty elements of these names."""
    return "".join(map(format_empty, names))


def format_propstat(properties: str, status: HTTPStatus, error: str = "") -> str:
    """Return what became of properties; `error` is the local name of a precondition (§16)."""
    cause = f"<D:error><D:{error}/></D:error>" if error else ""
    return (
        f"<D:propstat><D:prop>{properties}</D:prop>"
        f"<D:status>HTTP/1.1 {status.value} {status.phrase}</D:status>{cause}</D:propstat>"
    )


def format_href(href: str) -> str:
    """Return an address, which is percent-encoded."""
    return f"<D:href>{escape_text(href)}</D:href>"


def format_response(href: str, *propstats: str) -> str:
    """Return what is told of one resource."""
    return f"<D:response>{format_href(href)}{''.join(propstats)}</D:response>"


def format_error(condition: str, hrefs: Sequence[str] = ()) -> bytes:
    """Return the body of an answer that names the precondition which does not hold (§16)."""
    within = "".join(map(format_href, hrefs))
    inner = f"<D:{condition}>{within}</D:{condition}>" if within else f"<D:{condition}/>"
    return f'{DECLARATION}<D:error xmlns:D="DAV:">{inner}</D:error>'.encode()
