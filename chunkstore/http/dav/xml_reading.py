"""Reading XML that anybody may send (RFC 4918 §17), by expat, within bounds.

A document type declaration is refused, so there are no entities but the five of XML itself, and
nothing is expanded or fetched. Bytes, elements and their depth are bounded before anything is built
of them. Expat 2.5 takes quadratic time for one long token, which the bound on bytes bounds too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias
from xml.parsers import expat

from chunkstore.core.dav.properties import PropertyName
from chunkstore.core.errors import Forbidden, InvalidRequest

MAX_BODY_SIZE: Final = 128 * 1024
"""Bytes that the XML of a request may have; dead properties of a name have half of that at most."""
MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 4096
"""Elements, attributes and declarations of namespaces together."""
MAX_NAMESPACES: Final = 64
"""Namespaces in scope at once, each of which is kept with every property."""

# No document can have this character, not even as a reference.
_SEPARATOR: Final = "\f"
_XML_PREFIX: Final = "xml"
_LANG: Final = "lang"
XML_NAMESPACE: Final = "http://www.w3.org/XML/1998/namespace"


class ExternalEntities(Forbidden):
    """A document type declaration is not accepted, nor are the entities that it could have."""


class Attribute(NamedTuple):
    """An attribute, with the prefix that it was written with, "" for none."""

    name: PropertyName
    prefix: str
    value: str


@dataclass(slots=True)
class Element:
    """An element as it was written: `prefix` "" stands for the default namespace.

    `scope` are the namespaces in scope, by prefix, those that `declared` has among them.
    """

    name: PropertyName
    prefix: str
    attributes: list[Attribute]
    declared: Mapping[str, str]
    scope: Mapping[str, str]
    lang: str | None
    children: list[Child] = field(default_factory=list)

    @property
    def elements(self) -> Iterator[Element]:
        """The elements among its children."""
        return (child for child in self.children if isinstance(child, Element))

    def find(self, namespace: str, local: str) -> Element | None:
        """Return the first child of this name, None if there is none."""
        return next((each for each in self.elements if each.name == (namespace, local)), None)

    @property
    def text(self) -> str:
        """The text in it, without that of elements in it."""
        return "".join(child for child in self.children if isinstance(child, str))


Child: TypeAlias = Element | str


def parse_xml(body: bytes) -> Element:
    """Return the root element of a document, in whatever encoding expat reads.

    Raises:
        InvalidRequest: it is not well-formed, uses a prefix that it does not declare, or exceeds
            the bounds.
        ExternalEntities: it has a document type declaration.
    """
    reading = _Reading()
    try:
        reading.parser.Parse(body, True)
    # An encoding that Python does not know is a LookupError.
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise InvalidRequest(f"The body is not well-formed XML: {error}.") from error
    assert reading.root is not None
    return reading.root


class _Reading:
    """The element that is open, and those around it, while a document is parsed."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._declared: dict[str, str] = {}
        self._count = 0
        self.parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self.parser.namespace_prefixes = True
        self.parser.ordered_attributes = True
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.StartNamespaceDeclHandler = self._declare
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._take_text

    def _refuse_doctype(self, *_: object) -> None:
        raise ExternalEntities

    def _count_one(self) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise InvalidRequest(f"The XML can have {MAX_ELEMENTS} elements and attributes here.")

    def _declare(self, prefix: str | None, namespace: str | None) -> None:
        self._count_one()
        self._declared[prefix or ""] = namespace or ""

    def _start(self, qualified: str, attributes: list[str]) -> None:
        self._count_one()
        if len(self._open) == MAX_DEPTH:
            raise InvalidRequest(f"The XML can have {MAX_DEPTH} elements in each other here.")
        outer = self._open[-1] if self._open else None
        declared, self._declared = self._declared, {}
        scope = {} if outer is None else outer.scope
        if declared:
            scope = {**scope, **declared}
        if len(scope) > MAX_NAMESPACES:
            raise InvalidRequest(f"The XML can have {MAX_NAMESPACES} namespaces in scope here.")
        name, prefix = _split(qualified)
        element = Element(
            name,
            prefix,
            [],
            declared,
            scope,
            None if outer is None else outer.lang,
        )
        for place in range(0, len(attributes), 2):
            self._count_one()
            attribute = Attribute(*_split(attributes[place]), attributes[place + 1])
            element.attributes.append(attribute)
            if attribute.name == (XML_NAMESPACE, _LANG):
                element.lang = attribute.value
        if outer is None:
            self.root = element
        else:
            outer.children.append(element)
        self._open.append(element)

    def _end(self, qualified: str) -> None:
        self._open.pop()

    def _take_text(self, text: str) -> None:
        self._open[-1].children.append(text)


def _split(qualified: str) -> tuple[PropertyName, str]:
    """Return the name that expat tells as namespace, local name and prefix."""
    parts = qualified.split(_SEPARATOR)
    if len(parts) == 1:
        return PropertyName("", parts[0]), ""
    return PropertyName(parts[0], parts[1]), parts[2] if len(parts) > 2 else ""


def format_element(element: Element) -> str:
    """Return an element as text that stands for itself, wherever it is put.

    It has the namespaces, prefixes, attributes, language and white space that it was sent with
    (RFC 4918 §4.3); comments and processing instructions are left out.
    """
    lang = element.lang
    if any(attribute.name == (XML_NAMESPACE, _LANG) for attribute in element.attributes):
        lang = None
    scope = dict(element.scope)
    # Where it is put, another default namespace may hold.
    scope.setdefault("", "")
    return "".join(_pieces(element, scope, lang))


def _pieces(element: Element, declared: Mapping[str, str], lang: str | None) -> Iterator[str]:
    tag = _qualified(element.prefix, element.name.local)
    yield f"<{tag}"
    for prefix, namespace in declared.items():
        if prefix != _XML_PREFIX:
            yield f' {f"xmlns:{prefix}" if prefix else "xmlns"}="{escape_attribute(namespace)}"'
    if lang is not None:
        yield f' xml:lang="{escape_attribute(lang)}"'
    for name, prefix, value in element.attributes:
        yield f' {_qualified(prefix, name.local)}="{escape_attribute(value)}"'
    if not element.children:
        yield "/>"
        return
    yield ">"
    for child in element.children:
        if isinstance(child, str):
            yield escape_text(child)
        else:
            yield from _pieces(child, child.declared, None)
    yield f"</{tag}>"


def _qualified(prefix: str, local: str) -> str:
    return f"{prefix}:{local}" if prefix else local


def escape_text(text: str) -> str:
    """Return text as it stands between tags."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # A parser reads the character itself as a line feed.
    return text.replace("\r", "&#13;")


def escape_attribute(text: str) -> str:
    """Return text as it stands in double quotes."""
    text = escape_text(text).replace('"', "&quot;")
    return text.replace("\t", "&#9;").replace("\n", "&#10;")
