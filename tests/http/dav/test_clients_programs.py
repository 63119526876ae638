"""Programs that keep files on a drive, and such as send what others do not, as they ask."""

from __future__ import annotations

import hashlib

import pytest

from tests.http import raw
from tests.http.dav.recorded import send
from tests.http.dav.steps import DAV, make, propfind, read_multistatus, status_of
from tests.http.steps import Client, on_shared_server, read


@on_shared_server
@pytest.mark.parametrize("vendor", ["owncloud", "other"])
async def test_rclone(shared: Client, name: str, vendor: str) -> None:
    """MKCOL of what may be there, PUT with time and hash, and a list that asks for checksums."""
    agent = "User-Agent: rclone/v1.71.0"

    async def rclone(method: str, path: str, *lines: str, body: str = "") -> raw.Answer:
        head = [
            f"{method} {path} HTTP/1.1",
            "Host: test",
            agent,
            *lines,
            "Content-Length:",
            "Referer: http://test/dav/",
            "Accept-Encoding: gzip",
        ]
        return await send(shared, "\n".join(head), body)

    for status in (201, 405):
        assert (await rclone("MKCOL", f"/dav/{name}/")).status == status
    path = f"/dav/{name}/a%20b"
    of_content = hashlib.sha1(b"content", usedforsecurity=False).hexdigest()
    lines = ["Content-Type: text/plain"]
    if vendor == "owncloud":
        lines += ["X-OC-Mtime: 1000000000.123456789", f"OC-Checksum: SHA1:{of_content}"]
    answer = await rclone("PUT", path, *lines, body="content")
    assert answer.status == 201
    if vendor == "owncloud":
        assert answer.headers["X-OC-Mtime"] == "accepted"
        lines[-1] = f"OC-Checksum: SHA1:{'0' * 40}"
        assert (await rclone("PUT", path, *lines, body="torn")).status == 400
    assert await read(shared, f"{name}/a%20b") == b"content"
    asked = (
        '<?xml version="1.0"?>\n<d:propfind  xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"'
        ' xmlns:nc="http://nextcloud.org/ns">\n <d:prop>\n  <d:displayname />\n'
        "  <d:getlastmodified />\n  <d:getcontentlength />\n  <d:resourcetype />\n"
        "  <d:getcontenttype />\n  <oc:checksums />\n </d:prop>\n</d:propfind>\n"
    )
    body = asked if vendor == "owncloud" else ""
    told = read_multistatus(await rclone("PROPFIND", f"/dav/{name}/", "Depth: 1", body=body))
    assert told[f"/dav/{name}/"].is_folder
    file = told[path]
    assert (file.text("getcontentlength"), file.is_folder) == ("7", False)
    if vendor == "owncloud":
        assert file.text("getlastmodified") == "Sun, 09 Sep 2001 01:46:40 GMT"
        # None is known, so none is told.
        assert "{http://owncloud.org/ns}checksums" in file.refused
    target = f"Destination: http://test/dav/{name}/c"
    assert (await rclone("MOVE", path, target, "Overwrite: T")).status == 201
    assert (await rclone("DELETE", f"/dav/{name}/")).status == 204


@on_shared_server
async def test_nobody_sets_checksums(shared: Client, name: str) -> None:
    """They would be told of the next content too, and rclone would believe them."""
    await make(shared, name)
    head = f"""
        PROPPATCH /dav/{name} HTTP/1.1
        Host: test
        Content-Length:
        """
    body = (
        '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><checksums xmlns="http://owncloud.org/ns">'
        "<checksum>SHA1:x</checksum></checksums></D:prop></D:set></D:propertyupdate>"
    )
    [told] = read_multistatus(await send(shared, head, body)).values()
    assert told.refused == {"{http://owncloud.org/ns}checksums": 403}


@on_shared_server
@pytest.mark.parametrize(
    ("method", "status"),
    [("PROPFIND", 207), ("PUT", 204), ("MKCOL", 201), ("DELETE", 204), ("MOVE", 201)],
)
async def test_joplin(shared: Client, name: str, method: str, status: int) -> None:
    """With all but GET and HEAD it sends a condition that is none, so that nothing matches."""
    await make(shared, f"{name}/")
    if method != "MKCOL":
        await make(shared, f"{name}/a.md")
    bodies = {
        "PUT": "content",
        "PROPFIND": (
            '<?xml version="1.0" encoding="UTF-8"?>\n\t\t\t<d:propfind xmlns:d="DAV:">\n'
            '\t\t\t\t<d:prop xmlns:oc="http://owncloud.org/ns">\n'
            "\t\t\t\t\t<d:getlastmodified/><d:resourcetype/>\n"
            "\t\t\t\t</d:prop>\n\t\t\t</d:propfind>"
        ),
    }
    # A folder needs a time, or it is taken for none.
    path = f"/dav/{name}/" if method == "PROPFIND" else f"/dav/{name}/a.md"
    head = f"""
        {method} {path} HTTP/1.1
        Depth: {"1" if method == "PROPFIND" else "infinity"}
        Destination: http://test/dav/{name}/b.md
        Content-Type: {"text/xml" if method == "PROPFIND" else "application/octet-stream"}
        Cache-Control: no-store
        If-None-Match: JoplinIgnore-48151
        User-Agent: Joplin/1.0
        Content-Length:
        Accept: */*
        Accept-Encoding: gzip,deflate
        Connection: close
        Host: test
        """
    answer = await send(shared, head, bodies.get(method, ""))
    assert answer.status == status
    if method == "PROPFIND":
        for told in read_multistatus(answer).values():
            assert told.text("getlastmodified").endswith("GMT")


@on_shared_server
async def test_zotero(shared: Client, name: str) -> None:
    """It tries what is not there, writes and deletes it; on iOS it begins with a POST."""
    await make(shared, f"{name}/", f"{name}/zotero/")
    folder = f"/dav/{name}/zotero/"
    answer = await send(shared, f"OPTIONS {folder} HTTP/1.1\nHost: test\nAccept: */*")
    assert (answer.status, "1" in answer.headers["DAV"]) == (200, True)
    for missing in ("ABCD2345.prop", "nonexistent.prop", "zotero-test-file.prop"):
        answer = await send(shared, f"GET {folder}{missing} HTTP/1.1\nHost: test\nAccept: */*")
        assert answer.status == 404
    asked = "<propfind xmlns='DAV:'><prop><getcontentlength/></prop></propfind>"
    head = f"""
        PROPFIND {folder} HTTP/1.1
        Host: test
        Content-Type: text/xml; charset=utf-8
        Depth: 0
        Content-Length:
        """
    assert (await send(shared, head, asked)).status == 207
    head = f"""
        PUT {folder}zotero-test-file.prop HTTP/1.1
        Host: test
        Content-Type: text/plain;charset=UTF-8
        Content-Length:
        """
    assert (await send(shared, head, " ")).status == 201
    answer = await send(shared, f"GET {folder}zotero-test-file.prop HTTP/1.1\nHost: test")
    assert (answer.status, answer.body) == (200, b" ")
    answer = await send(shared, f"DELETE {folder}zotero-test-file.prop HTTP/1.1\nHost: test")
    assert answer.status == 204
    head = f"POST {folder} HTTP/1.1\nHost: test\nContent-Length: 0"
    answer = await send(shared, head)
    # It cannot be done, and says so: no failure of the server.
    assert answer.status == 405
    assert "PUT" in answer.headers["Allow"].split(", ")


@on_shared_server
async def test_keepass(shared: Client, name: str) -> None:
    """PUT beside and MOVE, by the URL that it knows, which is that of the proxy before us."""
    await make(shared, f"{name}/", f"{name}/a.kdbx")
    put = f"""
        PUT /dav/{name}/a.kdbx.tmp HTTP/1.1
        Host: 127.0.0.1:8080
        Content-Type: application/octet-stream
        Content-Length:
        Expect: 100-continue
        """
    async with raw.connect(shared) as connection:
        head = "\r\n".join(line.strip() for line in put.strip().splitlines())
        head = head.replace("Content-Length:", "Content-Length: 3")
        await connection.send(f"{head}\r\n\r\n".encode())
        assert (await connection.receive()).status == 100
        await connection.send(b"new")
        assert (await connection.receive("PUT")).status == 201
    move = f"""
        MOVE /dav/{name}/a.kdbx.tmp HTTP/1.1
        Host: 127.0.0.1:8080
        Destination: https://files.example/dav/{name}/a.kdbx
        Overwrite: T
        """
    assert (await send(shared, move)).status == 204
    answer = await send(shared, f"HEAD /dav/{name}/a.kdbx HTTP/1.1\nHost: test")
    assert answer.headers["Last-Modified"].endswith("GMT")
    assert await read(shared, f"{name}/a.kdbx") == b"new"
    assert await status_of(shared, f"{name}/a.kdbx.tmp") == 404


@on_shared_server
async def test_netdrive(shared: Client, name: str) -> None:
    """It names no property, and means all."""
    await make(shared, name)
    head = f"PROPFIND /dav/{name} HTTP/1.1\nHost: test\nDepth: 0\nContent-Length:"
    body = '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop/></propfind>'
    [told] = read_multistatus(await send(shared, head, body)).values()
    assert {f"{DAV}getcontentlength", f"{DAV}getetag", f"{DAV}resourcetype"} <= set(told.found)


@on_shared_server
async def test_bitkinex(shared: Client, name: str) -> None:
    """Its XML is in UTF-16."""
    await make(shared, name)
    head = f"""
        PROPFIND /dav/{name} HTTP/1.1
        Host: test
        Depth: 0
        Content-Type: text/xml; charset="utf-16"
        Content-Length:
        """
    body = (
        '<?xml version="1.0" encoding="utf-16"?><D:propfind xmlns:D="DAV:"><D:prop>'
        "<D:getcontentlength/></D:prop></D:propfind>"
    )
    [told] = read_multistatus(await send(shared, head, body.encode("utf-16"))).values()
    assert set(told.found) == {f"{DAV}getcontentlength"}


@on_shared_server
async def test_webdav4(shared: Client, name: str) -> None:
    """It reads parts of files only where OPTIONS says that there are such."""
    await make(shared, name)
    answer = await send(shared, f"OPTIONS /dav/{name} HTTP/1.1\nHost: test\nAccept: */*")
    assert answer.headers["Accept-Ranges"] == "bytes"
    answer = await send(shared, f"GET /dav/{name} HTTP/1.1\nHost: test\nRange: bytes=1-2")
    assert (answer.status, answer.body) == (206, name.encode()[1:3])


@on_shared_server
@pytest.mark.parametrize("line", ['If-Match: "other"', "If-None-Match: *"])
async def test_davx5(shared: Client, name: str, line: str) -> None:
    """It learns from a 412 what there is now."""
    await make(shared, name)
    head = f"""
        PUT /dav/{name} HTTP/1.1
        Host: test
        {line}
        User-Agent: DAVx5/4.5-ose (2025/08/01; dav4jvm; okhttp/5.1.0) Android/15
        Content-Type: text/calendar; charset=utf-8
        Content-Length:
        """
    answer = await send(shared, head, "x")
    assert answer.status == 412
    [told] = (await propfind(shared, f"/dav/{name}")).values()
    assert answer.headers["ETag"] == told.text("getetag")
