"""PROPPATCH (RFC 4918 §9.2): in order, all or nothing, and what becomes of each property."""

from __future__ import annotations

import pytest

from chunkstore.http.dav.xml_reading import XML_NAMESPACE
from tests.http.dav.steps import (
    DAV,
    ask,
    make,
    propfind,
    proppatch,
    removing,
    set_to,
    update_of,
)
from tests.http.steps import Client, on_shared_server, put

X = "{urn:x}"


async def properties(client: Client, path: str) -> dict[str, str | None]:
    """Return the dead properties of a name."""
    [told] = (await propfind(client, path)).values()
    return {name: each.text for name, each in told.found.items() if name.startswith(X)}


@on_shared_server
@pytest.mark.parametrize("kind", ["", "/"])
async def test_properties_are_set_and_removed_in_order(
    shared: Client, name: str, kind: str
) -> None:
    path = f"/dav/{name}{kind}"
    await make(shared, f"{name}{kind}")
    told = await proppatch(shared, path, set_to("<x:a>1</x:a><x:b/>"))
    assert (set(told.found), told.refused) == ({f"{X}a", f"{X}b"}, {})
    assert all(each.text is None for each in told.found.values())
    assert await properties(shared, path) == {f"{X}a": "1", f"{X}b": None}
    both = set_to("<x:a>2</x:a>") + removing("<x:a/><x:c/>") + set_to("<x:b>3</x:b>")
    told = await proppatch(shared, path, both)
    assert (set(told.found), told.refused) == ({f"{X}a", f"{X}b", f"{X}c"}, {})
    assert await properties(shared, path) == {f"{X}b": "3"}
    await proppatch(shared, path, removing("<x:b/>") + set_to("<x:b>4</x:b>"))
    assert await properties(shared, path) == {f"{X}b": "4"}


@on_shared_server
@pytest.mark.parametrize(
    "protected",
    [
        "getetag",
        "getcontentlength",
        "getcontenttype",
        "resourcetype",
        "lockdiscovery",
        "supportedlock",
        "quota-used-bytes",
    ],
)
async def test_nothing_is_changed_if_one_cannot_be(
    shared: Client, name: str, protected: str
) -> None:
    await make(shared, name)
    for update in (
        set_to(f"<x:a>1</x:a><D:{protected}/><x:b/>"),
        removing(f"<x:a/><D:{protected}/><x:b/>"),
    ):
        told = await proppatch(shared, f"/dav/{name}", update)
        assert told.found == {}
        assert told.refused == {f"{X}a": 424, f"{DAV}{protected}": 403, f"{X}b": 424}
    assert await properties(shared, f"/dav/{name}") == {}
    answer = await ask(
        shared,
        "PROPPATCH",
        f"/dav/{name}",
        body='<propertyupdate xmlns="DAV:"><set><prop><getetag/></prop></set></propertyupdate>',
    )
    assert b"<D:error><D:cannot-modify-protected-property/></D:error>" in answer.body


DATE = "Sun, 09 Sep 2001 01:46:40 GMT"


@on_shared_server
@pytest.mark.parametrize(
    ("element", "of", "told"),
    [
        ("<D:lastmodified>1000000000</D:lastmodified>", "getlastmodified", True),
        ("<D:lastmodified>1000000000.25</D:lastmodified>", "getlastmodified", True),
        (f"<D:getlastmodified>{DATE}</D:getlastmodified>", "", True),
        (f"<w:Win32LastModifiedTime>{DATE}</w:Win32LastModifiedTime>", "", True),
        ("<D:creationdate>2001-09-09T01:46:40Z</D:creationdate>", "creationdate", True),
        ("<D:creationdate>2001-09-09T03:46:40+02:00</D:creationdate>", "creationdate", True),
        (f"<w:Win32CreationTime>{DATE}</w:Win32CreationTime>", "creationdate", True),
        ("<D:lastmodified>soon</D:lastmodified>", "", False),
        ("<D:creationdate/>", "", False),
        ("<D:creationdate>1601-01-01T00:00:00Z</D:creationdate>", "", False),
        ("<D:creationdate>0001-01-01T00:00:00+23:59</D:creationdate>", "", False),
        ("<D:getlastmodified>9999-12-31T23:59:59-23:59</D:getlastmodified>", "", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["", "/"])
async def test_times_are_those_of_the_file(
    shared: Client, name: str, element: str, of: str, told: bool, kind: str
) -> None:
    path = f"/dav/{name}{kind}"
    await make(shared, f"{name}{kind}")
    [before] = (await propfind(shared, path)).values()
    answer = await proppatch(shared, path, set_to(f"<x:a/>{element}"))
    assert set(answer.refused.values()) == (set() if told else {409, 424})
    [after] = (await propfind(shared, path)).values()
    assert (f"{X}a" in after.found) is told
    changed = "creationdate" if of == "creationdate" else "getlastmodified"
    dates = {"2001-09-09T01:46:40Z", DATE}
    assert (after.text(changed) in dates) is told
    other = "getlastmodified" if changed == "creationdate" else "creationdate"
    assert after.text(other) == before.text(other)
    assert f"{DAV}lastmodified" not in after.found
    if not kind:
        assert after.text("getetag") == before.text("getetag")
    # It cannot be without one.
    element_name = element.partition(">")[0].removesuffix("/")
    answer = await proppatch(shared, path, removing(f"{element_name}/>"))
    assert set(answer.refused.values()) == {403}


@on_shared_server
async def test_a_folder_that_has_properties_stays(shared: Client, name: str) -> None:
    """Though it was never made, and its last file goes where nothing else would keep it."""
    await put(shared, f"{name}/x", b"")
    assert not (await proppatch(shared, f"/dav/{name}", set_to("<x:a>1</x:a>"))).refused
    assert (await ask(shared, "DELETE", f"/files/{name}/x")).status == 204
    assert await properties(shared, f"/dav/{name}/") == {f"{X}a": "1"}


@on_shared_server
async def test_names_for_people_and_languages_can_be_set(shared: Client, name: str) -> None:
    """§15.2, §15.3: they are as they were set, and not there before."""
    path = f"/dav/{name}"
    await make(shared, name)
    asked = "<D:prop><D:displayname/><D:getcontentlanguage/></D:prop>"
    names = {f"{DAV}displayname", f"{DAV}getcontentlanguage"}
    [told] = (await propfind(shared, path, "0", asked)).values()
    assert (told.found, told.refused) == ({}, dict.fromkeys(names, 404))
    update = set_to(
        "<D:displayname>Anna's</D:displayname><D:getcontentlanguage>de</D:getcontentlanguage>"
    )
    assert not (await proppatch(shared, path, update)).refused
    copied = await ask(shared, "COPY", path, f"Destination: {path}-b")
    assert copied.status == 201
    # What is put in its place stays the same resource (§9.7.1).
    assert (await ask(shared, "PUT", path, body=b"anew")).status == 204
    for each in (path, f"{path}-b"):
        for body in (asked, "<D:allprop/>", ""):
            [told] = (await propfind(shared, each, "0", body)).values()
            assert names <= told.found.keys()
            assert (told.text("displayname"), told.text("getcontentlanguage")) == ("Anna's", "de")
    assert not (await proppatch(shared, path, removing("<D:displayname/>"))).refused
    [told] = (await propfind(shared, path, "0", asked)).values()
    assert told.refused == {f"{DAV}displayname": 404}


@on_shared_server
async def test_success_can_be_told_in_few_words(shared: Client, name: str) -> None:
    """RFC 8144 §2.2; what fails is told in full."""
    await make(shared, name)
    path, line = f"/dav/{name}", "Prefer: return=minimal"
    answer = await ask(shared, "PROPPATCH", path, line, body=update_of(set_to("<x:a>1</x:a>")))
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Preference-Applied"] == "return=minimal"
    assert await properties(shared, path) == {f"{X}a": "1"}
    told = await proppatch(shared, path, set_to("<x:a>2</x:a><D:getetag/>"), line)
    assert told.refused == {f"{X}a": 424, f"{DAV}getetag": 403}


@on_shared_server
async def test_properties_change_neither_etag_nor_time(shared: Client, name: str) -> None:
    """§8.6."""
    await make(shared, name)
    before = await ask(shared, "HEAD", f"/dav/{name}")
    await proppatch(shared, f"/dav/{name}", set_to("<x:a>1</x:a>"))
    after = await ask(shared, "HEAD", f"/dav/{name}")
    for field in ("ETag", "Last-Modified"):
        assert before.headers[field] == after.headers[field]


@on_shared_server
async def test_they_are_bounded(shared: Client, name: str) -> None:
    await make(shared, name)
    path = f"/dav/{name}"
    half = "x" * 40_000
    assert not (await proppatch(shared, path, set_to(f"<x:a>{half}</x:a>"))).refused
    told = await proppatch(shared, path, removing("<x:c/>") + set_to(f"<x:b>{half}</x:b>"))
    assert told.refused == {f"{X}c": 424, f"{X}b": 507}
    assert set(await properties(shared, path)) == {f"{X}a"}
    update = set_to(f"<x:b>{'x' * 140_000}</x:b>")
    answer = await ask(shared, "PROPPATCH", path, body=update)
    assert answer.status == 413


@on_shared_server
async def test_a_large_property_comes_with_times(shared: Client, name: str) -> None:
    """What is beside it is not counted as if it came again."""
    await make(shared, name)
    times = "".join(
        f"<{each}>Wed, 01 Jan 2020 00:00:00 GMT</{each}>"
        for each in ("w:Win32CreationTime", "w:Win32LastModifiedTime", "D:getlastmodified")
    )
    told = await proppatch(shared, f"/dav/{name}", set_to(f"<x:a>{'a' * 60_000}</x:a>{times}"))
    assert told.refused == {}
    assert len(told.found) == 4


@on_shared_server
async def test_names_that_are_not_ascii(shared: Client, name: str) -> None:
    await make(shared, name)
    update = set_to('<é xmlns="urn:x">\U00010000</é><n xmlns="">&lt;</n><xml:n/>')
    assert not (await proppatch(shared, f"/dav/{name}", update)).refused
    # That of XML itself can be declared by no answer.
    body = "<D:prop><xml:n/><xml:none/></D:prop>"
    [told] = (await propfind(shared, f"/dav/{name}", "0", body)).values()
    assert told.found.keys() == {f"{{{XML_NAMESPACE}}}n"}
    assert told.refused == {f"{{{XML_NAMESPACE}}}none": 404}
    [told] = (await propfind(shared, f"/dav/{name}", "0", "<D:propname/>")).values()
    assert {f"{X}é", "n", f"{{{XML_NAMESPACE}}}n"} <= told.found.keys()
    body = '<D:prop><é xmlns="urn:x"/><n xmlns=""/></D:prop>'
    [told] = (await propfind(shared, f"/dav/{name}", "0", body)).values()
    assert {tag: each.text for tag, each in told.found.items()} == {
        f"{X}é": "\U00010000",
        "n": "<",
    }


@on_shared_server
async def test_what_is_refused(shared: Client, name: str) -> None:
    await make(shared, name)
    for body, status in (
        ("", 400),
        ("<x>", 400),
        ("<x/>", 400),
        ('<propfind xmlns="DAV:"/>', 400),
        ("<!DOCTYPE x><x/>", 403),
    ):
        answer = await ask(shared, "PROPPATCH", f"/dav/{name}", body=body)
        assert answer.status == status, body
    update = '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop/></D:set></D:propertyupdate>'
    assert (await ask(shared, "PROPPATCH", f"/dav/{name}-none", body=update)).status == 404
    assert (await ask(shared, "PROPPATCH", f"/dav/{name}/", body=update)).status == 404


@on_shared_server
@pytest.mark.parametrize("path", ["/dav", "/dav/"])
async def test_the_root_keeps_properties_too(shared: Client, path: str) -> None:
    dates = (
        f"<D:getlastmodified>{DATE}</D:getlastmodified>"
        "<w:Win32FileAttributes>00000010</w:Win32FileAttributes>"
    )
    told = await proppatch(shared, path, set_to(f"<x:a>1</x:a>{dates}"))
    assert (len(told.found), told.refused) == (3, {})
    [told] = (await propfind(shared, path)).values()
    assert (told.found[f"{X}a"].text, told.text("getlastmodified")) == ("1", DATE)
    told = await proppatch(shared, path, set_to("<x:b/><D:getetag/>"))
    assert told.refused == {f"{X}b": 424, f"{DAV}getetag": 403}
    assert not (await proppatch(shared, path, removing("<x:a/>"))).refused
    assert await properties(shared, path) == {}


@on_shared_server
async def test_conditions(shared: Client, name: str) -> None:
    await make(shared, name)
    body = '<propertyupdate xmlns="DAV:"><set><prop><x/></prop></set></propertyupdate>'
    answer = await ask(shared, "PROPPATCH", f"/dav/{name}", 'If-Match: "x"', body=body)
    assert answer.status == 412
