"""COPY and MOVE in a drive (RFC 4918 §9.8, §9.9)."""

from __future__ import annotations

import pytest

from tests.http.dav.steps import ask, make, propfind, proppatch, set_to, status_of
from tests.http.steps import Client, on_shared_server, put, read

both = pytest.mark.parametrize("method", ["COPY", "MOVE"])


async def send(client: Client, method: str, source: str, target: str, *lines: str) -> int:
    answer = await ask(client, method, f"/dav/{source}", f"Destination: /dav/{target}", *lines)
    return answer.status


async def tree(client: Client, path: str) -> list[str]:
    """Return what is below a folder, without its own path."""
    path = f"/dav/{path}"
    return [href.removeprefix(path) for href in await propfind(client, path, "infinity")][1:]


@on_shared_server
@both
async def test_a_file(shared: Client, name: str, method: str) -> None:
    await make(shared, f"{name}/", f"{name}/a")
    target = f"/dav/{name}/b%20c"
    answer = await ask(shared, method, f"/dav/{name}/a", f"Destination: {target}")
    assert (answer.status, answer.headers["Location"]) == (201, target)
    await make(shared, f"{name}/d")
    assert await send(shared, method, f"{name}/d", f"{name}/b%20c", "Overwrite: F") == 412
    assert await send(shared, method, f"{name}/d", f"{name}/b%20c") == 204
    assert await read(shared, f"{name}/b%20c") == f"{name}/d".encode()
    assert (await status_of(shared, f"{name}/d") == 200) is (method == "COPY")
    assert await send(shared, method, f"{name}/none", f"{name}/e") == 404


@on_shared_server
@both
@pytest.mark.parametrize(
    "destination",
    [
        "http://elsewhere:1/dav/{}/b",
        "https://test/dav/{}/b",
        "webdav://test/dav/{}/b",
        "webdavs://test:443/dav/{}/b/",
        "/dav/{}/b/",
        "/dav/{}/%62",
    ],
)
async def test_only_the_path_of_a_destination_matters(
    shared: Client, name: str, method: str, destination: str
) -> None:
    """KDE writes `webdav:`, and who is behind a proxy knows another scheme, host and port."""
    await make(shared, f"{name}/", f"{name}/a")
    line = f"Destination: {destination.format(name)}"
    assert (await ask(shared, method, f"/dav/{name}/a", line)).status == 201
    assert await status_of(shared, f"{name}/b") == 200


@on_shared_server
@both
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Depth: 0", 400),
        ("Destination: ", 400),
        ("Destination: b", 400),
        ("Destination: /dav/x?y", 400),
        ("Destination: /dav/x#y", 400),
        ("Destination: /dav/%ff", 400),
        ("Destination: /dav/../x", 400),
        ("Destination: /files/x", 502),
        ("Destination: /", 502),
        ("Destination: http://test", 400),
        ("Destination: /dav/", 403),
    ],
)
async def test_destinations_that_are_refused(
    shared: Client, name: str, method: str, line: str, status: int
) -> None:
    await make(shared, name)
    answer = await ask(shared, method, f"/dav/{name}", line)
    assert answer.status == status
    assert await status_of(shared, name) == 200


@on_shared_server
@both
@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_folder(shared: Client, name: str, method: str, slash: str) -> None:
    """With a slash or without, at either end."""
    await make(shared, f"{name}/", f"{name}/a/", f"{name}/a/x", f"{name}/a/b/", f"{name}/c/")
    await make(shared, f"{name}/c/old")
    source, target = f"{name}/a{slash}", f"{name}/c"
    assert await send(shared, method, source, target, "Overwrite: F") == 412
    assert await send(shared, method, source, target) == 204
    # It is replaced, and no mixture (§9.8.4).
    assert await tree(shared, f"{name}/c/") == ["b/", "x"]
    assert (await status_of(shared, source) == 200) is (method == "COPY")
    assert await send(shared, method, f"{name}/c{slash}", f"{name}/new/") == 201


@on_shared_server
async def test_depths(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a/", f"{name}/a/x")
    assert await send(shared, "MOVE", f"{name}/a/", f"{name}/b/", "Depth: 0") == 400
    assert await send(shared, "COPY", f"{name}/a/", f"{name}/b/", "Depth: 1") == 400
    assert await send(shared, "COPY", f"{name}/a/", f"{name}/b/", "Depth: 0") == 201
    assert await tree(shared, f"{name}/b/") == []
    # What has no members ignores it (§10.2).
    for depth in ("0", "1", "infinity"):
        line = f"Depth: {depth}"
        assert await send(shared, "COPY", f"{name}/a/x", f"{name}/b/{depth}", line) == 201
        assert await send(shared, "MOVE", f"{name}/b/{depth}", f"{name}/b/x{depth}", line) == 201
    assert await send(shared, "COPY", f"{name}/a/x", f"{name}/b/x", "Depth: 2") == 400


@on_shared_server
@both
async def test_a_file_in_a_folders_place_and_the_other_way(
    shared: Client, name: str, method: str
) -> None:
    await make(shared, f"{name}/", f"{name}/f", f"{name}/d/", f"{name}/d/x")
    assert await send(shared, method, f"{name}/f", f"{name}/d", "Overwrite: F") == 412
    assert await send(shared, method, f"{name}/f", f"{name}/d") == 204
    assert await read(shared, f"{name}/d") == f"{name}/f".encode()
    assert await status_of(shared, f"{name}/d/x") == 404
    await make(shared, f"{name}/e/", f"{name}/e/y")
    assert await send(shared, method, f"{name}/e/", f"{name}/d/", "Overwrite: F") == 412
    assert await send(shared, method, f"{name}/e/", f"{name}/d/") == 204
    assert await tree(shared, f"{name}/d/") == ["y"]


@on_shared_server
@both
async def test_the_folder_of_the_target_must_be_there(
    shared: Client, name: str, method: str
) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/d/", f"{name}/d/x")
    before = await tree(shared, f"{name}/")
    assert await send(shared, method, f"{name}/a", f"{name}/none/b") == 409
    assert await send(shared, method, f"{name}/d/", f"{name}/none/d/") == 409
    # A file holds nothing.
    assert await send(shared, method, f"{name}/d/x", f"{name}/a/x") == 409
    assert await tree(shared, f"{name}/") == before


@on_shared_server
@both
@pytest.mark.parametrize(
    ("source", "target"),
    [("a", "a"), ("a", "a/"), ("d/", "d/"), ("d", "d"), ("d/", "d/e/"), ("d/x", "d"), ("d/", "")],
)
async def test_nothing_goes_onto_itself(
    shared: Client, name: str, method: str, source: str, target: str
) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/d/", f"{name}/d/x")
    before = await tree(shared, f"{name}/")
    assert await send(shared, method, f"{name}/{source}", f"{name}/{target}") == 403
    assert await tree(shared, f"{name}/") == before


@on_shared_server
async def test_the_folder_of_what_is_moved_stays(shared: Client, name: str) -> None:
    await put(shared, f"{name}/implied/x", b"")
    assert await send(shared, "MOVE", f"{name}/implied/x", f"{name}/x") == 201
    assert await tree(shared, f"{name}/") == ["implied/", "x"]


@on_shared_server
@both
async def test_properties_go_along_and_times_as_they_should(
    shared: Client, name: str, method: str
) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/b")
    update = set_to(
        "<x:p>1</x:p><D:creationdate>2001-02-03T04:05:06Z</D:creationdate>"
        "<D:lastmodified>1000000000</D:lastmodified>"
    )
    await proppatch(shared, f"/dav/{name}/a", update)
    await proppatch(shared, f"/dav/{name}/b", set_to("<x:q>1</x:q>"))
    assert await send(shared, method, f"{name}/a", f"{name}/b") == 204
    [told] = (await propfind(shared, f"/dav/{name}/b")).values()
    assert told.found["{urn:x}p"].text == "1"
    assert "{urn:x}q" not in told.found
    is_kept = told.text("creationdate") == "2001-02-03T04:05:06Z"
    assert is_kept is (method == "MOVE")
    assert told.text("getlastmodified").startswith("Sun, 09 Sep 2001") is (method == "MOVE")
    answer = await ask(
        shared,
        method,
        f"/dav/{name}/b",
        f"Destination: /dav/{name}/c",
        "X-OC-Mtime: 1000000000",
    )
    assert answer.headers["X-OC-Mtime"] == "accepted"
    [told] = (await propfind(shared, f"/dav/{name}/c")).values()
    assert told.text("getlastmodified") == "Sun, 09 Sep 2001 01:46:40 GMT"
    # It is the time of the target alone.
    if method == "COPY":
        [told] = (await propfind(shared, f"/dav/{name}/b")).values()
        assert not told.text("getlastmodified").startswith("Sun, 09 Sep 2001")


@on_shared_server
@pytest.mark.parametrize(
    ("method", "depth"), [("COPY", "infinity"), ("COPY", "0"), ("MOVE", "infinity")]
)
async def test_properties_of_a_folder_go_along(
    shared: Client, name: str, method: str, depth: str
) -> None:
    """Its own, and those of all in it that goes."""
    paths = ("d/", "d/e/", "d/e/x")
    await make(shared, f"{name}/", *(f"{name}/{path}" for path in paths), f"{name}/t/")
    for path in (*paths, "t/"):
        update = set_to(f"<x:p>{path}</x:p><D:creationdate>2001-02-03T04:05:06Z</D:creationdate>")
        assert not (await proppatch(shared, f"/dav/{name}/{path}", update)).refused
    assert await send(shared, method, f"{name}/d", f"{name}/t", f"Depth: {depth}") == 204
    told = await propfind(shared, f"/dav/{name}/t/", "infinity")
    went = paths if depth == "infinity" else paths[:1]
    assert [each.found["{urn:x}p"].text for each in told.values()] == list(went)
    for each in told.values():
        # A copy is made now.
        kept = each.text("creationdate") == "2001-02-03T04:05:06Z"
        assert kept is (method == "MOVE")


@on_shared_server
@pytest.mark.parametrize("slash", ["", "/"])
async def test_properties_go_with_what_is_deleted(shared: Client, name: str, slash: str) -> None:
    path = f"{name}{slash}"
    await make(shared, path)
    assert not (await proppatch(shared, f"/dav/{path}", set_to("<x:p>1</x:p>"))).refused
    assert await status_of(shared, path, "DELETE") == 204
    await make(shared, path)
    [told] = (await propfind(shared, f"/dav/{path}")).values()
    assert "{urn:x}p" not in told.found


@on_shared_server
@both
async def test_a_folder_has_its_time_by_proppatch_alone(
    shared: Client, name: str, method: str
) -> None:
    """That a header with one was sent is not told as accepted, so programs can set it so."""
    await make(shared, f"{name}/", f"{name}/d/", f"{name}/d/x")
    await proppatch(shared, f"/dav/{name}/d/", set_to("<D:lastmodified>900000000</D:lastmodified>"))
    answer = await ask(
        shared,
        method,
        f"/dav/{name}/d/",
        f"Destination: /dav/{name}/e/",
        "X-OC-Mtime: 1000000000",
    )
    assert (answer.status, answer.headers["X-OC-Mtime"]) == (201, None)
    [told] = (await propfind(shared, f"/dav/{name}/e/")).values()
    is_kept = told.text("getlastmodified") == "Thu, 09 Jul 1998 16:00:00 GMT"
    assert is_kept is (method == "MOVE")
    answer = await ask(shared, "MKCOL", f"/dav/{name}/f/", "X-OC-Mtime: 1000000000")
    assert (answer.status, answer.headers["X-OC-Mtime"]) == (201, None)
