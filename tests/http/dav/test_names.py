"""The root folder, and names that cannot be: each request a clear answer, and nothing changed."""

from __future__ import annotations

import json

import pytest

from chunkstore.core.names import MAX_NAME_SIZE
from tests.http.dav.steps import ask, make, propfind, proppatch, set_to, status_of
from tests.http.steps import Client, on_shared_server, read

LOCKINFO = (
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
UPDATE = '<propertyupdate xmlns="DAV:"><set><prop><x xmlns=""/></prop></set></propertyupdate>'
BODIES = {"PUT": "x", "LOCK": LOCKINFO, "PROPPATCH": UPDATE}
METHODS = (
    *("GET", "HEAD", "PUT", "DELETE", "MKCOL", "COPY", "MOVE"),
    *("PROPFIND", "PROPPATCH", "LOCK", "UNLOCK"),
)
EMPTY, DOTS = "The name has an empty segment.", "The name has a segment"
CONTROL, UTF8, PERCENT = "control character", "not valid UTF-8", "two hexadecimal digits"
# What is no name, behind a folder's, and what is said of it.
IMPOSSIBLE = {
    "/x": EMPTY,
    "//": EMPTY,
    "x//y": EMPTY,
    "%2F": EMPTY,
    "d%2F/": EMPTY,
    "d%2f%2fx": EMPTY,
    "../x": DOTS,
    "%2e%2e/x": DOTS,
    "d/..": DOTS,
    "d/%2E./": DOTS,
    "./x": DOTS,
    "x%2F..%2Fy": DOTS,
    "%00": CONTROL,
    "a%0d%0aX: y": CONTROL,
    "%7f": CONTROL,
    "%C2%85": CONTROL,
    "%ff": UTF8,
    "%C3": UTF8,
    "%ED%A0%80": UTF8,
    "%": PERCENT,
    "%zz": PERCENT,
    "%1": PERCENT,
    "%E2%84%AA": "looks like one of ASCII",
    "s" * MAX_NAME_SIZE: "at most 1024 are possible",
    "%C3%A9" * (MAX_NAME_SIZE // 2): "at most 1024 are possible",
    "s/" * (MAX_NAME_SIZE // 2): "at most 1024 are possible",
}


async def tree(client: Client, name: str) -> list[str]:
    return list(await propfind(client, f"/dav/{name}/", "infinity"))


def lines_of(method: str, name: str) -> list[str]:
    if method in ("COPY", "MOVE"):
        return [f"Destination: /dav/{name}/target"]
    return ["Lock-Token: <lock:none>"] if method == "UNLOCK" else []


@on_shared_server
@pytest.mark.parametrize("path", IMPOSSIBLE)
async def test_what_is_no_name(shared: Client, name: str, path: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/d/", f"{name}/d/x")
    before = await tree(shared, name)
    for method in METHODS:
        sent = f"/dav/{name}/{path.replace(' ', '%20')}"
        lines, body = lines_of(method, name), BODIES.get(method, "")
        answer = await ask(shared, method, sent, *lines, body=body)
        assert answer.status == 400, method
        if method != "HEAD":
            assert IMPOSSIBLE[path] in json.loads(answer.body)["detail"]
    assert await tree(shared, name) == before


@on_shared_server
@pytest.mark.parametrize("path", IMPOSSIBLE)
@pytest.mark.parametrize("source", ["a", "d/", "d"])
async def test_what_is_no_destination(shared: Client, name: str, path: str, source: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/d/", f"{name}/d/x")
    before = await tree(shared, name)
    for method in ("COPY", "MOVE"):
        line = f"Destination: /dav/{name}/{path}"
        answer = await ask(shared, method, f"/dav/{name}/{source}", line)
        assert answer.status == 400
        assert IMPOSSIBLE[path] in json.loads(answer.body)["detail"]
    assert await tree(shared, name) == before


@on_shared_server
async def test_what_is_longer_than_any_name(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a")
    path = f"/dav/{name}/" + "s" * 9000
    for method in METHODS:
        answer = await ask(shared, method, path, *lines_of(method, name))
        assert answer.status == 414, method
    for method in ("COPY", "MOVE"):
        answer = await ask(shared, method, f"/dav/{name}/a", f"Destination: {path}")
        assert answer.status == 431
    assert await tree(shared, name) == [f"/dav/{name}/", f"/dav/{name}/a"]


@on_shared_server
@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("dots...", "dots..."),
        ("%20blank%20", "%20blank%20"),
        ("s" * 300, "s" * 300),
        ("CON", "CON"),
        ("back%5Cslash", "back%5Cslash"),
        ("100%25", "100%25"),
        ("%252F", "%252F"),
        ("?", ""),
        ("~a", "~a"),
        ("%7ea", "~a"),
        ("e%CC%81", "%C3%A9"),
        ("%E2%84%A6", "%CE%A9"),
        ("a+b%2Bc", "a%2Bb%2Bc"),
        ("%F0%9F%98%80", "%F0%9F%98%80"),
    ],
)
async def test_odd_names_that_can_be(shared: Client, name: str, path: str, kept: str) -> None:
    """Each is one name, in whatever spelling it is asked for; with another, it is another's."""
    await make(shared, f"{name}/")
    if not kept:
        # A query is no part of a name.
        assert (await ask(shared, "PUT", f"/dav/{name}/{path}", body="x")).status == 405
        return
    for method, status in (("PUT", 201), ("MKCOL", 405), ("PROPPATCH", 207), ("GET", 200)):
        body = BODIES.get(method, "")
        answer = await ask(shared, method, f"/dav/{name}/{path}", body=body)
        assert answer.status == status, method
    assert await tree(shared, name) == [f"/dav/{name}/", f"/dav/{name}/{kept}"]
    assert await read(shared, f"{name}/{kept}") == b"x"
    line = f"Destination: /dav/{name}/{path}/"
    assert (await ask(shared, "MOVE", f"/dav/{name}/{kept}", line)).status == 403
    assert await status_of(shared, f"{name}/{kept}", "DELETE") == 204
    assert await status_of(shared, f"{name}/{path}") == 404


@on_shared_server
async def test_an_encoded_slash_is_a_slash(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/d/")
    assert (await ask(shared, "PUT", f"/dav/{name}%2Fd%2fx", body="x")).status == 201
    assert await read(shared, f"{name}/d/x") == b"x"
    assert (await ask(shared, "PUT", f"/dav/{name}%2Fnone%2Fx", body="x")).status == 409


# The root folder


@on_shared_server
@pytest.mark.parametrize("path", ["/dav", "/dav/"])
@pytest.mark.parametrize(
    ("method", "lines", "status"),
    [
        ("GET", (), 200),
        ("HEAD", (), 200),
        ("PROPFIND", ("Depth: 0",), 207),
        ("PROPPATCH", (), 207),
        ("PUT", (), 405),
        ("PUT", ("If-None-Match: *",), 405),
        ("MKCOL", (), 405),
        ("DELETE", (), 403),
        ("DELETE", ("Depth: infinity",), 403),
        ("COPY", ("Destination: /dav/{}/copy/",), 403),
        ("COPY", ("Destination: /dav/{}/copy", "Depth: 0"), 403),
        ("COPY", ("Destination: /dav/",), 403),
        ("COPY", (), 400),
        ("MOVE", ("Destination: /dav/{}/moved/",), 403),
        ("MOVE", ("Destination: /dav",), 403),
        ("MOVE", (), 400),
        ("UNLOCK", ("Lock-Token: <lock:none>",), 409),
        ("LOCK", ("Depth: 1",), 400),
        ("LOCK", ("Depth: 0",), 200),
        ("POST", (), 405),
    ],
)
async def test_the_root_folder(
    shared: Client, name: str, path: str, method: str, lines: tuple[str, ...], status: int
) -> None:
    await make(shared, f"{name}/", f"{name}/a")
    sent = [line.format(name) for line in lines]
    answer = await ask(shared, method, path, *sent, body=BODIES.get(method, ""))
    token = answer.headers["Lock-Token"]
    if token is not None:
        await ask(shared, "UNLOCK", path, f"Lock-Token: {token}")
    assert answer.status == status
    assert await tree(shared, name) == [f"/dav/{name}/", f"/dav/{name}/a"]


@on_shared_server
@pytest.mark.parametrize("source", ["a", "d/", "d"])
@pytest.mark.parametrize("target", ["/dav", "/dav/", "http://test/dav/", "webdav://test/dav"])
async def test_nothing_takes_the_place_of_the_root(
    shared: Client, name: str, source: str, target: str
) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/d/", f"{name}/d/x")
    before = await tree(shared, name)
    for method in ("COPY", "MOVE"):
        line = f"Destination: {target}"
        answer = await ask(shared, method, f"/dav/{name}/{source}", line)
        assert answer.status == 403
        assert "root folder" in json.loads(answer.body)["detail"]
    assert await tree(shared, name) == before


@on_shared_server
async def test_what_lies_in_the_root_is_written_under_its_lock(shared: Client, name: str) -> None:
    """Of depth 0, it guards the properties of the root, and which names are in it."""
    await make(shared, f"{name}/", f"{name}/a")
    answer = await ask(shared, "LOCK", "/dav/", "Depth: 0", body=LOCKINFO)
    token = answer.headers["Lock-Token"]
    assert token is not None
    try:
        assert await status_of(shared, f"{name}-new", "MKCOL") == 423
        assert await status_of(shared, name, "DELETE") == 423
        assert (await ask(shared, "PROPPATCH", "/dav/", body=UPDATE)).status == 423
        # What goes with its last name through /files/, too.
        assert (await ask(shared, "PUT", f"/files/{name}-new/x", body=b"x")).status == 423
        assert (await ask(shared, "PUT", f"/dav/{name}/a", body=b"new")).status == 204
        told = await proppatch(shared, "/dav/", set_to("<x:a>1</x:a>"), f"If: ({token})")
        assert told.refused == {}
    finally:
        assert (await ask(shared, "UNLOCK", "/dav", f"Lock-Token: {token}")).status == 204
