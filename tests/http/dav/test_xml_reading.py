"""XML that anybody may send: what is read, what is refused, and that values stay what they are."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.errors import InvalidRequest
from chunkstore.http.dav.propfind_body import Kind, parse_propfind
from chunkstore.http.dav.xml_reading import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_NAMESPACES,
    Element,
    ExternalEntities,
    escape_attribute,
    escape_text,
    format_element,
    parse_xml,
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"text",
        b"<a>",
        b"<a/><b/>",
        b"<p:a/>",
        b'<a xmlns:p=""/>',
        b"<a>&b;</a>",
        b"<a>\x00</a>",
        b'<?xml version="1.0" encoding="none"?><a/>',
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<a>\xff</a>",
    ],
)
def test_what_is_not_well_formed_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="well-formed"):
        parse_xml(body)


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        b'<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>',
    ],
)
def test_a_document_type_is_refused(body: bytes) -> None:
    with pytest.raises(ExternalEntities):
        parse_xml(body)


def test_bounds() -> None:
    parse_xml(b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH)
    with pytest.raises(InvalidRequest, match=str(MAX_DEPTH)):
        parse_xml(b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1))
    parse_xml(b"<a>" + b"<b/>" * (MAX_ELEMENTS - 1) + b"</a>")
    with pytest.raises(InvalidRequest, match=str(MAX_ELEMENTS)):
        parse_xml(b"<a>" + b"<b c='d'/>" * (MAX_ELEMENTS // 2) + b"</a>")
    declared = "".join(f' xmlns:n{number}="urn:x"' for number in range(MAX_NAMESPACES + 1))
    with pytest.raises(InvalidRequest, match=str(MAX_NAMESPACES)):
        parse_xml(f"<a{declared}/>".encode())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings(encoding: str) -> None:
    body = f'<?xml version="1.0" encoding="{encoding}"?><a>\xe4</a>'.encode(encoding)
    assert parse_xml(body).text == "\xe4"


def test_a_value_keeps_what_it_was_sent_with() -> None:
    body = (
        '<D:prop xmlns:D="DAV:" xml:lang="de"><Z:a xmlns:Z="urn:z" Z:b="1" c="&#10;&quot;">'
        '  x &lt;&#65536;<![CDATA[&]]>&#13;<d xmlns=""/><Z:e/>\n</Z:a></D:prop>'
    )
    [value] = parse_xml(body.encode()).elements
    assert format_element(value) == (
        '<Z:a xmlns:D="DAV:" xmlns:Z="urn:z" xmlns="" xml:lang="de" Z:b="1" c="&#10;&quot;">'
        '  x &lt;\U00010000&amp;&#13;<d xmlns=""/><Z:e/>\n</Z:a>'
    )


prefixes = st.sampled_from(["", "p", "q"])
namespaces = st.sampled_from(["urn:1", "urn:2", "DAV:"])
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r"),
    max_size=5,
)


@st.composite
def documents(draw: st.DrawFn, depth: int = 0) -> str:
    """Return an element that declares all prefixes that it may use."""
    prefix, namespace = draw(prefixes), draw(namespaces)
    tag = f"{prefix}:e" if prefix else "e"
    declared = f'xmlns:{prefix}="{namespace}"' if prefix else f'xmlns="{namespace}"'
    attribute = f'{prefix}:x="{escape_attribute(draw(texts))}"' if prefix else ""
    lang = draw(st.sampled_from(["", 'xml:lang="de"']))
    inner = escape_text(draw(texts))
    if depth < 3:
        inner += "".join(draw(st.lists(documents(depth + 1), max_size=2)))
    return f"<{tag} {declared} {attribute} {lang}>{inner}{escape_text(draw(texts))}</{tag}>"


def infoset(element: Element) -> object:
    """Return what RFC 4918 §4.3 has a server keep of an element."""
    text = [""]
    children: list[object] = []
    for child in element.children:
        if isinstance(child, str):
            text.append(child)
        else:
            children += ["".join(text), infoset(child)]
            text = [""]
    attributes = sorted(
        (name, value) for name, _, value in element.attributes if name.local != "lang"
    )
    return element.name, element.prefix, element.lang, attributes, [*children, "".join(text)]


@given(documents(), st.sampled_from(["", 'xml:lang="fr"']))
def test_a_value_is_the_same_wherever_it_is_put(document: str, lang: str) -> None:
    """§4.3, whatever namespaces hold there."""
    outer = f'<o xmlns="urn:o" xmlns:p="urn:op" {lang}>{document}</o>'
    [value] = parse_xml(outer.encode()).elements
    kept = format_element(value)
    [found] = parse_xml(f'<D:m xmlns:D="DAV:" xmlns="urn:m">{kept}</D:m>'.encode()).elements
    assert infoset(found) == infoset(value)
    assert format_element(found).count("xmlns:D=") <= 1


@given(
    st.binary(max_size=200) | st.text("<>ab/&;'\"= xmlns:?!-[]DOCTYPE", max_size=60).map(str.encode)
)
def test_any_body_is_read_or_refused(body: bytes) -> None:
    with suppress(InvalidRequest, ExternalEntities):
        parse_propfind(body)


@pytest.mark.parametrize(
    ("body", "kind", "names"),
    [
        ("", Kind.ALL, []),
        ("<D:allprop/>", Kind.ALL, []),
        ("<D:prop/>", Kind.ALL, []),
        ("<D:propname/>", Kind.NAMES, []),
        ("<x/><D:prop><D:a/><b/><D:a/></D:prop>", Kind.SOME, [("DAV:", "a"), ("", "b")]),
        ("<D:allprop/><D:include><D:a/></D:include>", Kind.ALL, [("DAV:", "a")]),
        # Only beside allprop.
        ("<D:propname/><D:include><D:a/></D:include>", Kind.NAMES, []),
    ],
)
def test_what_propfind_asks_for(body: str, kind: Kind, names: list[tuple[str, str]]) -> None:
    document = f'<D:propfind xmlns:D="DAV:">{body}</D:propfind>' if body else ""
    wanted = parse_propfind(document.encode())
    assert wanted.kind is kind
    assert list(wanted.names) == names


@pytest.mark.parametrize("body", ["<a/>", '<D:propfind xmlns:D="DAV:"/>', "<D:allprop/>"])
def test_what_is_no_propfind_is_refused(body: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_propfind(body.encode())
