"""`checksums` of ownCloud, by which rclone and others compare files."""

from __future__ import annotations

import asyncio
import hashlib
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

import pytest
from aiohttp import FormData

from tests.http.conftest import Serve
from tests.http.dav.steps import DAV, Told, ask, make, propfind, proppatch, set_to
from tests.http.dav.test_uploads import TUS, metadata
from tests.http.steps import Client, put
from tests.store.rows import Rows

OC = "{http://owncloud.org/ns}"
NAME = f"{OC}checksums"
ASKED = '<D:prop><o:checksums xmlns:o="http://owncloud.org/ns"/></D:prop>'
WITH_ALL = '<D:allprop/><D:include><o:checksums xmlns:o="http://owncloud.org/ns"/></D:include>'


def expected(content: bytes) -> str:
    return f"SHA1:{hashlib.sha1(content).hexdigest()} MD5:{hashlib.md5(content).hexdigest()}"


def checksums_of(told: Told) -> str:
    """Return what is told, in the one element that ownCloud has for it."""
    [checksum] = told.found[NAME]
    assert isinstance(checksum, Element)
    assert checksum.tag == f"{OC}checksum"
    return checksum.text or ""


async def told_of(client: Client, path: str) -> str:
    [told] = (await propfind(client, f"/dav/{path}", body=ASKED)).values()
    return checksums_of(told)


async def until_told_of(client: Client, path: str) -> str:
    """Return what is told of a file once that has been computed in the background."""
    async with asyncio.timeout(60):
        while True:
            [told] = (await propfind(client, f"/dav/{path}", body=ASKED)).values()
            if NAME in told.found:
                return checksums_of(told)
            await asyncio.sleep(0.01)


@pytest.fixture
async def keeper(serve: Serve) -> Client:
    """Return a client of a server that keeps both."""
    return await serve(checksums=["md5", "sha1"])


async def test_they_are_told_right_after_a_put(keeper: Client) -> None:
    await make(keeper, "d/", "d/a", "d/b/", contents={"d/a": b"content"})
    assert await told_of(keeper, "d/a") == expected(b"content")
    told = await propfind(keeper, "/dav/d/", "1", body=ASKED)
    assert checksums_of(told["/dav/d/a"]) == expected(b"content")
    # Folders have none.
    assert told["/dav/d/"].refused == told["/dav/d/b/"].refused == {NAME: 404}
    sent = f"OC-Checksum: MD5:{hashlib.md5(b'other').hexdigest()}"
    assert (await ask(keeper, "PUT", "/dav/d/a", sent, body=b"other")).status == 204
    assert await told_of(keeper, "d/a") == expected(b"other")
    assert (await ask(keeper, "PUT", "/dav/d/a", sent, body=b"another")).status == 400
    assert await told_of(keeper, "d/a") == expected(b"other")


async def test_every_way_to_write_has_them(keeper: Client) -> None:
    await put(keeper, "d/put", b"put")
    form = FormData()
    for name in ("one", "two"):
        form.add_field("file", name.encode(), filename=name)
    async with keeper.post("/files/d/", data=form) as response:
        assert response.ok
    assert (await ask(keeper, "COPY", "/dav/d/put", "Destination: /dav/d/copy")).status == 201
    assert (await ask(keeper, "MOVE", "/dav/d/put", "Destination: /dav/d/moved")).status == 201
    assert (await ask(keeper, "LOCK", "/dav/d/locked", body=LOCK)).status == 201
    contents = {"copy": b"put", "moved": b"put", "one": b"one", "two": b"two"}
    told = await propfind(keeper, "/dav/d/", "1", body=ASKED)
    for name, content in {**contents, "locked": b""}.items():
        assert checksums_of(told[f"/dav/d/{name}"]) == expected(content)


LOCK = (
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


async def test_what_comes_in_parts_has_them_soon(keeper: Client) -> None:
    await make(keeper, "d/")
    begun = await ask(keeper, "POST", "/dav/d/", TUS, "Upload-Length: 6", metadata(filename="tus"))
    path = urlsplit(begun.headers["Location"]).path
    kind = "Content-Type: application/offset+octet-stream"
    for offset, part in ((0, b"abc"), (3, b"def")):
        sent = await ask(keeper, "PATCH", path, TUS, f"Upload-Offset: {offset}", kind, body=part)
        assert sent.status == 204
    assert await until_told_of(keeper, "d/tus") == expected(b"abcdef")


async def test_older_files_have_them_soon(serve: Serve) -> None:
    without = await serve()
    await make(without, "a", contents={"a": b"content"})
    # Who keeps none tells none.
    [told] = (await propfind(without, "/dav/a", body=ASKED)).values()
    assert told.refused == {NAME: 404}
    keeper = await serve(checksums=["sha1", "md5"])
    assert await until_told_of(keeper, "a") == expected(b"content")
    async with keeper.get("/health/ready") as response:
        assert (await response.json())["tasks"]["checksums"]["ended"] == "ok"
    # Those of the option are told, whatever is kept.
    other = await serve(checksums=["md5"])
    assert await told_of(other, "a") == f"MD5:{hashlib.md5(b'content').hexdigest()}"


async def test_only_who_names_them_is_told(keeper: Client) -> None:
    await make(keeper, "a", contents={"a": b"content"})
    for body in ("", "<D:allprop/>", "<D:propname/>", "<D:prop><D:getetag/></D:prop>"):
        [told] = (await propfind(keeper, "/dav/a", body=body)).values()
        assert NAME not in told.found
    [told] = (await propfind(keeper, "/dav/a", body=WITH_ALL)).values()
    assert checksums_of(told) == expected(b"content")
    assert f"{DAV}getetag" in told.found


async def test_no_client_can_set_them(keeper: Client, rows: Rows) -> None:
    await make(keeper, "a", contents={"a": b"content"})
    forged = (
        '<o:checksums xmlns:o="http://owncloud.org/ns"><o:checksum>MD5:0</o:checksum></o:checksums>'
    )
    told = await proppatch(keeper, "/dav/a", set_to(forged))
    assert told.refused == {NAME: 403}
    assert await told_of(keeper, "a") == expected(b"content")


async def test_what_is_damaged_is_not_told_and_comes_again(keeper: Client, rows: Rows) -> None:
    await make(keeper, "a", contents={"a": b"content"})
    await rows.fetch("UPDATE checksum SET tie = tie + 1 WHERE algorithm = 'md5'")
    [told] = (await propfind(keeper, "/dav/a", body=ASKED)).values()
    assert checksums_of(told) == f"SHA1:{hashlib.sha1(b'content').hexdigest()}"
    async with asyncio.timeout(60):
        while await told_of(keeper, "a") != expected(b"content"):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def test_a_long_list_has_all(keeper: Client) -> None:
    """However many pages it has, and with equal contents among them."""
    form = FormData()
    for number in range(600):
        form.add_field("file", b"%d" % (number % 500), filename=f"{number}")
    async with keeper.post("/files/d/", data=form) as response:
        assert response.ok
    told = await propfind(keeper, "/dav/d/", "1", body=ASKED.replace("<o:", "<D:x/><o:"))
    for number in range(600):
        found = checksums_of(told[f"/dav/d/{number}"])
        assert found == expected(b"%d" % (number % 500))
