"""PROPFIND (RFC 4918 §9.1), and what programs want of it."""

from __future__ import annotations

import gzip
import itertools
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from chunkstore.core.current_request import CURRENT_REQUEST
from chunkstore.http.dav import propfind as handler
from chunkstore.store.sqlite import records
from chunkstore.store.sqlite.engine.connection import Connection, Job
from tests.http.dav.lock_steps import info
from tests.http.dav.steps import (
    DAV,
    ask,
    make,
    propfind,
    proppatch,
    read_multistatus,
    set_to,
)
from tests.http.steps import Client, on_shared_server, put, read

PROP = "<D:prop>{}</D:prop>"
LIVE = {
    "creationdate",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "lockdiscovery",
    "resourcetype",
    "supportedlock",
}
OF_FOLDERS = {
    "creationdate",
    "getlastmodified",
    "lockdiscovery",
    "resourcetype",
    "supportedlock",
}


@on_shared_server
async def test_a_file(shared: Client, name: str) -> None:
    put_answer = await ask(
        shared, "PUT", f"/dav/{name}", 'Content-Type: text/x;a="<&>"', body=b"content"
    )
    [(href, told)] = (await propfind(shared, f"/dav/{name}")).items()
    assert href == f"/dav/{name}"
    assert set(told.found) == {f"{DAV}{each}" for each in LIVE}
    assert not told.is_folder
    assert told.text("getcontentlength") == "7"
    assert told.text("getcontenttype") == 'text/x;a="<&>"'
    assert told.text("getetag") == put_answer.headers["ETag"]
    assert told.text("getlastmodified") == put_answer.headers["Last-Modified"]
    modified = parsedate_to_datetime(told.text("getlastmodified"))
    assert told.text("creationdate") == modified.strftime("%Y-%m-%dT%H:%M:%SZ")


@on_shared_server
async def test_depths(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/b", f"{name}/a/", f"{name}/a/x", f"{name}/a-")
    await make(shared, f"{name}/a/empty/")
    # Folders that were not made too, which others see only by what is in them.
    await put(shared, f"{name}/c/d/e", b"")
    folder = f"/dav/{name}/"
    expected = {
        "0": [""],
        "1": ["", "a-", "a/", "b", "c/"],
        "infinity": ["", "a-", "a/", "a/empty/", "a/x", "b", "c/", "c/d/", "c/d/e"],
    }
    for depth, names in expected.items():
        for path in (folder, folder.removesuffix("/")):
            told = await propfind(shared, path, depth)
            assert list(told) == [folder + each for each in names], (depth, path)
            assert [each.is_folder for each in told.values()] == [
                not each or each.endswith("/") for each in names
            ]
    # Infinity is the default (§9.1).
    answer = await ask(shared, "PROPFIND", folder)
    assert list(read_multistatus(answer)) == [folder + each for each in expected["infinity"]]
    for path in (f"{folder}a/", f"{folder}c/"):
        told = await propfind(shared, path, "infinity")
        assert all(href.startswith(path) for href in told)


@on_shared_server
async def test_folders_have_times(shared: Client, name: str) -> None:
    """Drives cannot be mounted where one has none."""
    await make(shared, f"{name}/", f"{name}/made/")
    await put(shared, f"{name}/implied/x", b"")
    told = await propfind(shared, f"/dav/{name}/", "1")
    assert len(told) == 3
    for each in told.values():
        assert set(each.found) == {f"{DAV}{each}" for each in OF_FOLDERS}
        age = datetime.now(UTC) - parsedate_to_datetime(each.text("getlastmodified"))
        assert abs(age.total_seconds()) < 3600


@on_shared_server
async def test_what_is_named_is_told_and_nothing_else(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a")
    body = PROP.format("<D:getetag/><D:resourcetype/><D:none/><n xmlns='urn:n'/><m xmlns=''/>")
    told = await propfind(shared, f"/dav/{name}/", "1", body)
    folder, file = told.values()
    none = {f"{DAV}none": 404, "{urn:n}n": 404, "m": 404}
    assert set(folder.found) == {f"{DAV}resourcetype"}
    assert folder.refused == {**none, f"{DAV}getetag": 404}
    assert set(file.found) == {f"{DAV}resourcetype", f"{DAV}getetag"}
    assert file.refused == none


@on_shared_server
@pytest.mark.parametrize(
    "header",
    [
        {"Brief": "t"},
        {"Prefer": "x, return=minimal"},
        {"Prefer": 'Return = "minimal"; y, return=representation'},
    ],
)
async def test_what_is_not_there_can_be_left_out(
    shared: Client, name: str, header: dict[str, str]
) -> None:
    await make(shared, name)
    body = PROP.format("<D:none/><D:getetag/>")
    [told] = (await propfind(shared, f"/dav/{name}", "0", body, **header)).values()
    assert (set(told.found), told.refused) == ({f"{DAV}getetag"}, {})
    answer = await ask(
        shared,
        "PROPFIND",
        f"/dav/{name}",
        *(f"{key}: {value}" for key, value in header.items()),
        body='<D:propfind xmlns:D="DAV:"><D:prop><D:none/></D:prop></D:propfind>',
    )
    # A propstat is needed all the same (§14.24).
    assert b"<D:propstat><D:prop></D:prop><D:status>HTTP/1.1 200 OK" in answer.body
    applied = "return=minimal" if "Prefer" in header else None
    assert answer.headers["Preference-Applied"] == applied
    assert "Prefer" in answer.headers["Vary"].split(", ")


@on_shared_server
@pytest.mark.parametrize(
    "line",
    [
        "Brief: f",
        "Prefer: x; return=minimal",
        'Prefer: x="return=minimal"',
        "Prefer: return=representation, return=minimal",
        'Prefer: ,=;"',
    ],
)
async def test_what_is_not_there_is_told_of_else(shared: Client, name: str, line: str) -> None:
    await make(shared, name)
    body = '<D:propfind xmlns:D="DAV:"><D:prop><D:none/></D:prop></D:propfind>'
    answer = await ask(shared, "PROPFIND", f"/dav/{name}", line, body=body)
    [told] = read_multistatus(answer).values()
    assert told.refused == {f"{DAV}none": 404}
    assert answer.headers["Preference-Applied"] is None


@on_shared_server
async def test_names_of_all(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a")
    await proppatch(shared, f"/dav/{name}/a", set_to("<x:dead>1</x:dead>"))
    folder, file = (await propfind(shared, f"/dav/{name}/", "1", "<D:propname/>")).values()
    assert {f"{DAV}{each}" for each in LIVE} | {"{urn:x}dead"} <= set(file.found)
    assert all(each.text is None and len(each) == 0 for each in file.found.values())
    assert f"{DAV}getetag" not in folder.found


@on_shared_server
async def test_all_and_more(shared: Client, name: str) -> None:
    await make(shared, name)
    await proppatch(shared, f"/dav/{name}", set_to("<x:dead>1</x:dead>"))
    body = "<D:allprop/><D:include><x:dead xmlns:x='urn:x'/><D:none/></D:include>"
    [told] = (await propfind(shared, f"/dav/{name}", "0", body)).values()
    assert set(told.found) == {*(f"{DAV}{each}" for each in LIVE), "{urn:x}dead"}
    assert told.refused == {f"{DAV}none": 404}


@on_shared_server
@pytest.mark.parametrize("body", ["", "<D:allprop/>", "<D:prop/>", "<y/><D:allprop z='1'/>"])
async def test_ways_to_ask_for_all(shared: Client, name: str, body: str) -> None:
    await make(shared, name)
    [told] = (await propfind(shared, f"/dav/{name}", "0", body)).values()
    assert set(told.found) == {f"{DAV}{each}" for each in LIVE}


@on_shared_server
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("<x>", 400),
        ("<D:propfind/>", 400),
        ('<D:propfind xmlns:D=""/>', 400),
        ('<D:propfind xmlns:D="DAV:"/>', 400),
        ('<D:propfind xmlns:D="DAV:"><D:prop><a:b xmlns:a=""/></D:prop></D:propfind>', 400),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", 403),
        ("<a>" * 100 + "</a>" * 100, 400),
        ("<a>" + " " * 200_000 + "</a>", 413),
    ],
)
async def test_bodies_that_are_refused(shared: Client, name: str, body: str, status: int) -> None:
    await make(shared, name)
    answer = await ask(shared, "PROPFIND", f"/dav/{name}", "Depth: 0", body=body)
    assert answer.status == status
    if status == 403:
        assert b"<D:error" in answer.body
        assert b"<D:no-external-entities/>" in answer.body


@on_shared_server
@pytest.mark.parametrize("depth", ["2", "", "one", "0, 1"])
async def test_depths_that_are_refused(shared: Client, name: str, depth: str) -> None:
    await make(shared, name)
    answer = await ask(shared, "PROPFIND", f"/dav/{name}", f"Depth: {depth}")
    assert answer.status == 400


@on_shared_server
@pytest.mark.parametrize("path", ["", "/", "/x", "/._x", "/.DS_Store"])
async def test_what_is_not_there_is_no_multistatus(shared: Client, name: str, path: str) -> None:
    answer = await ask(shared, "PROPFIND", f"/dav/{name}{path}", "Depth: 1")
    assert answer.status == 404


@on_shared_server
async def test_a_file_has_no_slash(shared: Client, name: str) -> None:
    await make(shared, name)
    assert (await ask(shared, "PROPFIND", f"/dav/{name}/", "Depth: 0")).status == 404


@on_shared_server
async def test_addresses_begin_as_the_request_spells_them(shared: Client, name: str) -> None:
    """macOS sends the decomposed form, and takes names that begin otherwise for others."""
    composed, decomposed = "%C3%A4", "a%CC%88"
    await make(shared, f"{name}{composed}/", f"{name}{composed}/{composed}")
    for spelled in (composed, decomposed, "a%cc%88"):
        path = f"/dav/{name}{spelled}/"
        for asked in (path, path.removesuffix("/")):
            assert list(await propfind(shared, asked, "1")) == [path, f"{path}{composed}"]
        file = f"{path}{decomposed}"
        assert list(await propfind(shared, file)) == [file]


@on_shared_server
async def test_addresses_are_percent_encoded(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a%26b%3Cc%25%23%20d")
    told = await propfind(shared, f"/dav/{name}/", "1")
    assert f"/dav/{name}/a%26b%3Cc%25%23%20d" in told
    [text] = [each.text("getcontentlength") for each in told.values() if not each.is_folder]
    assert int(text) > 0


@on_shared_server
@pytest.mark.parametrize("path", ["/dav/", "/dav"])
async def test_the_root(shared: Client, name: str, path: str) -> None:
    await make(shared, name)
    told = await propfind(shared, path, "1")
    assert next(iter(told)) == "/dav/"
    assert f"/dav/{name}" in told
    assert told["/dav/"].is_folder


@on_shared_server
@pytest.mark.parametrize(
    ("depth", "hrefs"), [("0", ["/"]), ("1", ["/", "/dav/"]), ("infinity", ["/", "/dav/"])]
)
async def test_programs_find_the_drive_from_above(
    shared: Client, depth: str, hrefs: list[str]
) -> None:
    """Windows climbs to the root of the server first."""
    told = await propfind(shared, "/", depth)
    assert list(told) == hrefs
    assert all(each.is_folder for each in told.values())


@on_shared_server
async def test_answers_are_compressed_if_asked(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", *(f"{name}/{number:03}" for number in range(20)))
    plain = await ask(shared, "PROPFIND", f"/dav/{name}/", "Depth: 1")
    small = await ask(
        shared, "PROPFIND", f"/dav/{name}/", "Depth: 1", "Accept-Encoding: br, gzip;q=0.5"
    )
    assert small.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(small.body) == plain.body
    assert len(small.body) < len(plain.body) / 5
    for coding in ("gzip;q=0", "identity", "br"):
        same = await ask(
            shared, "PROPFIND", f"/dav/{name}/", "Depth: 1", f"Accept-Encoding: {coding}"
        )
        assert (same.headers["Content-Encoding"], same.body) == (None, plain.body)


@on_shared_server
@pytest.mark.parametrize("depth", ["1", "infinity"])
async def test_long_answers_come_in_pages(
    shared: Client, name: str, depth: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [f"{name}/{number}/{deep}" for number in range(4) for deep in "ab"]
    for member in members:
        await put(shared, member, b"")
    await make(shared, f"{name}/3/made/")
    whole = (await ask(shared, "PROPFIND", f"/dav/{name}/", f"Depth: {depth}")).body
    for size in (1, 2, 3):
        monkeypatch.setattr(handler, "_PAGE_SIZE", size)
        monkeypatch.setattr(handler, "_PIECE_SIZE", 200 * size)
        monkeypatch.setattr(handler, "_SLICE_SIZE", size)
        for accepted in ("", "Accept-Encoding: gzip"):
            lines = [accepted] if accepted else []
            answer = await ask(shared, "PROPFIND", f"/dav/{name}/", f"Depth: {depth}", *lines)
            assert answer.headers["Transfer-Encoding"] == "chunked"
            body = gzip.decompress(answer.body) if accepted else answer.body
            assert body == whole


@on_shared_server
async def test_what_a_request_is_about_takes_one_look_up(
    shared_sqlite: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handing a job to another thread, and its result back, takes longer than most of them."""
    await make(shared_sqlite, f"{name}/", f"{name}/a", f"{name}/b")
    await proppatch(shared_sqlite, f"/dav/{name}/a", set_to("<x:dead>1</x:dead>"))
    answer = await ask(shared_sqlite, "LOCK", f"/dav/{name}/b", body=info())
    token = answer.headers["Lock-Token"]
    etag = (await ask(shared_sqlite, "HEAD", f"/dav/{name}/b")).headers["ETag"]
    hops: list[object] = []
    run = Connection.run

    async def count(connection: Connection, job: Job[object]) -> object:
        # Every second it is asked who may do what; and some work is of no request.
        asks_for_rules = getattr(getattr(job, "func", None), "__module__", "") == records.__name__
        if CURRENT_REQUEST.get() and not asks_for_rules:
            hops.append(job)
        return await run(connection, job)

    monkeypatch.setattr(Connection, "run", count)
    named = "<D:prop><D:getetag/><D:none/></D:prop>"
    for path, body in itertools.product(("/a", "/b", "/", ""), ("", named)):
        hops.clear()
        assert len(await propfind(shared_sqlite, f"/dav/{name}{path}", "0", body)) == 1
        assert len(hops) == 1, (path, body)
    hops.clear()
    # Of all that If names, whether it is there or not.
    told_of = "".join(f" </dav/{name}/{each}> ([{etag}] {token})" for each in "abcdefgh")
    answer = await ask(shared_sqlite, "PROPFIND", f"/dav/{name}/b", "Depth: 0", f"If:{told_of}")
    assert (answer.status, len(hops)) == (207, 2)


@on_shared_server
async def test_pages_of_other_sites_may_ask_as_for_a_get(shared: Client, name: str) -> None:
    """They cannot read the answer without leave; what changes something is refused at once."""
    await make(shared, name)
    body = set_to("<x:dead>1</x:dead>")
    for line in ("Sec-Fetch-Site: cross-site", "Origin: http://elsewhere.example"):
        assert (await ask(shared, "PROPFIND", f"/dav/{name}", "Depth: 0", line)).status == 207
        assert (await ask(shared, "PROPPATCH", f"/dav/{name}", line, body=body)).status == 403
    assert await read(shared, name) == name.encode()
