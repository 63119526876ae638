"""GNOME (gvfs), KDE (KIO), davfs2 and LibreOffice, as they ask."""

from __future__ import annotations

import pytest

from tests.http import raw
from tests.http.dav.recorded import active_lock, send, token_of
from tests.http.dav.steps import DAV, ask, make, propfind, read_multistatus, status_of
from tests.http.steps import Client, on_shared_server, read

GVFS = "User-Agent: gvfs/1.57.2"
GVFS_LIST = (
    '<?xml version="1.0" encoding="utf-8" ?>\n <D:propfind xmlns:D="DAV:">\n  <D:prop>\n'
    "<D:creationdate/>\n<D:displayname/>\n<D:getcontentlength/>\n<D:getcontenttype/>\n"
    "<D:getetag/>\n<D:getlastmodified/>\n<D:resourcetype/>\n"
    '<executable xmlns="http://apache.org/dav/props/"/>\n'
    "  </D:prop>\n </D:propfind>"
)


async def gvfs(client: Client, method: str, path: str, *lines: str, body: str = "") -> raw.Answer:
    """Send what libsoup sends."""
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: test",
        *lines,
        GVFS,
        "Accept-Encoding: gzip, deflate",
        "Accept-Language: de, en;q=0.9",
        "Connection: Keep-Alive",
        *(["Content-Length:"] if body or method == "PUT" else []),
    ]
    return await send(client, "\n".join(head), body)


@on_shared_server
async def test_gnome_finds_the_root_of_the_drive(shared: Client, name: str) -> None:
    """It climbs as long as it is told of a folder; what is not there must be a 404."""
    await make(shared, f"{name}/", f"{name}/d/")
    answer = await gvfs(shared, "OPTIONS", f"/dav/{name}/d/")
    assert answer.status == 200
    assert "1" in answer.headers["DAV"]
    lines = ("Depth: 0", "Content-Type: application/xml")
    for path in (f"/dav/{name}/d/", f"/dav/{name}", "/dav", "/"):
        told = read_multistatus(await gvfs(shared, "PROPFIND", path, *lines, body=GVFS_LIST))
        assert [href.rstrip("/") for href in told] == [path.rstrip("/")]
        assert next(iter(told.values())).is_folder
    missing = await gvfs(shared, "PROPFIND", f"/dav/{name}/e", *lines, body=GVFS_LIST)
    assert missing.status == 404


@on_shared_server
async def test_gnome_writes_a_file(shared: Client, name: str) -> None:
    """HEAD, PUT with the time of the file, and PUT again if nobody was there in between."""
    await make(shared, f"{name}/")
    path = f"/dav/{name}/a"
    assert (await gvfs(shared, "HEAD", path)).status == 404
    answer = await gvfs(
        shared, "PUT", path, "If-None-Match: *", "X-OC-Mtime: 1000000000", body="one"
    )
    assert (answer.status, answer.headers["X-OC-Mtime"]) == (201, "accepted")
    answer = await gvfs(shared, "HEAD", path)
    etag = answer.headers["ETag"]
    assert answer.headers["Last-Modified"] == "Sun, 09 Sep 2001 01:46:40 GMT"
    assert (await gvfs(shared, "PUT", path, f"If-Match: {etag}", body="two")).status == 204
    assert (await gvfs(shared, "PUT", path, f"If-Match: {etag}", body="three")).status == 412
    assert await read(shared, f"{name}/a") == b"two"
    lines = (f"Destination: http://test/dav/{name}/b", "Overwrite: F")
    assert (await gvfs(shared, "MOVE", path, *lines)).status == 201
    assert (await gvfs(shared, "COPY", f"/dav/{name}/b", *lines)).status == 403


KIO_AGENT = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 KIO/6.5"
KIO_LIST = (
    '<?xml version="1.0" encoding="utf-8" ?><D:propfind xmlns:D="DAV:"><D:prop><D:creationdate/>'
    "<D:getcontentlength/><D:displayname/><D:source/><D:getcontentlanguage/><D:getcontenttype/>"
    "<D:getlastmodified/><D:getetag/><D:supportedlock/><D:lockdiscovery/><D:resourcetype/>"
    "<D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>"
)


async def kio(client: Client, method: str, path: str, *lines: str, body: str = "") -> raw.Answer:
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: test",
        *lines,
        KIO_AGENT,
        "Accept-Encoding: gzip, deflate, br",
        "Connection: Keep-Alive",
        *(["Content-Length:"] if body or method == "PUT" else []),
    ]
    return await send(client, "\n".join(head), body)


@on_shared_server
async def test_kde_lists_a_folder(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/b/")
    lines = ("Depth: 1", "Content-Type: text/xml; charset=utf-8")
    told = read_multistatus(await kio(shared, "PROPFIND", f"/dav/{name}", *lines, body=KIO_LIST))
    assert list(told) == [f"/dav/{name}/", f"/dav/{name}/a", f"/dav/{name}/b/"]
    assert told[f"/dav/{name}/a"].text("getcontentlength") == str(len(f"{name}/a"))
    assert told[f"/dav/{name}/b/"].is_folder


@on_shared_server
@pytest.mark.parametrize("authority", ["webdav://test", "webdavs://anna@test", "webdav://test:80"])
async def test_kde_moves_by_its_own_scheme(shared: Client, name: str, authority: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/c/")
    for source, target in (("a", "b"), ("c", "d")):
        answer = await kio(
            shared,
            "MOVE",
            f"/dav/{name}/{source}",
            f"Destination: {authority}/dav/{name}/{target}",
            "Overwrite: F",
            "Depth: infinity",
        )
        assert answer.status == 201
        assert await status_of(shared, f"{name}/{target}") == 200


NEON_LIST = (
    '<?xml version="1.0" encoding="utf-8"?>\r\n<propfind xmlns="DAV:"><prop>\r\n'
    '<getetag xmlns="DAV:"/>\r\n<getcontentlength xmlns="DAV:"/>\r\n'
    '<creationdate xmlns="DAV:"/>\r\n<getlastmodified xmlns="DAV:"/>\r\n'
    '<resourcetype xmlns="DAV:"/>\r\n'
    '<executable xmlns="http://apache.org/dav/props/"/>\r\n</prop></propfind>\r\n'
)
NEON_LOCK = (
    '<?xml version="1.0" encoding="utf-8"?>\n<lockinfo xmlns=\'DAV:\'>\n'
    " <lockscope><exclusive/></lockscope>\n<locktype><write/></locktype>"
    "<owner>davfs2</owner></lockinfo>\n"
)


async def neon(client: Client, method: str, path: str, *lines: str, body: str = "") -> raw.Answer:
    typed = ["Content-Type: application/xml"] if body.startswith("<?xml") else []
    head = [
        f"{method} {path} HTTP/1.1",
        "User-Agent: davfs2/1.6.1 neon/0.32.2",
        "Connection: TE",
        "TE: trailers",
        "Host: test",
        *(["Content-Length:"] if body or method == "PUT" else []),
        *typed,
        *lines,
    ]
    return await send(client, "\n".join(head), body)


@on_shared_server
@pytest.mark.parametrize("authority", ["http://test", "https://behind.example:8443"])
async def test_davfs2_writes_a_file(shared: Client, name: str, authority: str) -> None:
    """LOCK makes it, HEAD, PUT with a tagged If: behind a proxy, of another scheme and host."""
    await make(shared, f"{name}/")
    path = f"/dav/{name}/a"
    lines = ("Depth: 0", "Timeout: Second-1800", "If-None-Match: *")
    taken = await neon(shared, "LOCK", path, *lines, body=NEON_LOCK)
    assert taken.status == 201
    token = token_of(taken)
    tagged = f"If: <{authority}{path}> (<{token}>)"
    etag = (await neon(shared, "HEAD", path)).headers["ETag"]
    answer = await neon(shared, "PUT", path, tagged, f"If-Match: {etag}", body="content")
    assert answer.status == 204
    update = (
        '<?xml version="1.0" encoding="utf-8" ?>\n<D:propertyupdate xmlns:D="DAV:">'
        '<D:set><D:prop><executable xmlns="http://apache.org/dav/props/">T</executable>'
        "</D:prop></D:set>\n</D:propertyupdate>\n"
    )
    [patched] = read_multistatus(
        await neon(shared, "PROPPATCH", path, tagged, body=update)
    ).values()
    assert patched.refused == {}
    refreshed = await neon(shared, "LOCK", path, "Timeout: Second-1800", tagged)
    assert refreshed.status == 200
    answer = await neon(shared, "UNLOCK", path, f"Lock-Token: <{token}>")
    assert answer.status == 204
    listed = await neon(shared, "PROPFIND", f"/dav/{name}/", "Depth: 1", body=NEON_LIST)
    told = read_multistatus(listed)
    assert told[path].found["{http://apache.org/dav/props/}executable"].text == "T"
    assert told[path].text("getetag") == answer_etag(await neon(shared, "HEAD", path))
    # It was made by somebody else in between.
    assert (await neon(shared, "LOCK", path, *lines, body=NEON_LOCK)).status == 412


@on_shared_server
@pytest.mark.parametrize("length", [200, 255])
async def test_davfs2_locks_what_has_a_long_name(shared: Client, name: str, length: int) -> None:
    """neon keeps 256 characters of each element: a longer address is left out."""
    await make(shared, f"{name}/")
    folder = f"/dav/{name}/"
    path = folder + "a" * (length - len(folder))
    for each, is_told in ((path, True), (f"{path}{'b' * (256 - length)}", False)):
        taken = await neon(shared, "LOCK", each, "Depth: 0", body=NEON_LOCK)
        lock = active_lock(taken)
        assert (lock.findtext(f"{DAV}lockroot/{DAV}href") == each) is is_told
        assert all(len(element.text or "") < 256 for element in lock.iter())
        answer = await neon(shared, "UNLOCK", each, f"Lock-Token: <{token_of(taken)}>")
        assert answer.status == 204


def answer_etag(answer: raw.Answer) -> str:
    etag: str = answer.headers["ETag"]
    return etag


@on_shared_server
async def test_libreoffice_saves_a_document(shared: Client, name: str) -> None:
    """It locks a document for 180 seconds, a new one too, if locks are supported."""
    await make(shared, f"{name}/")
    path = f"/dav/{name}/new.odt"
    agent = "User-Agent: LibreOffice 25.2.5.2 curl/8.14.1"
    asked = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<propfind xmlns="DAV:"><prop>'
        '<supportedlock xmlns="DAV:"/><lockdiscovery xmlns="DAV:"/><resourcetype xmlns="DAV:"/>'
        "</prop></propfind>"
    )
    wanted = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<lockinfo xmlns="DAV:"><lockscope><exclusive/>'
        '</lockscope><locktype><write/></locktype><owner xmlns:D="DAV:">Anna</owner></lockinfo>'
    )

    async def libre(method: str, *lines: str, body: str = "") -> raw.Answer:
        head = [
            f"{method} {path} HTTP/1.1",
            "Host: test",
            agent,
            "Accept: */*",
            "Accept-Encoding: deflate, gzip, br, zstd",
            *lines,
            "Content-Length:",
        ]
        return await send(shared, "\n".join(head), body)

    xml = "Content-Type: application/xml"
    assert (await libre("PROPFIND", "Depth: 0", xml, body=asked)).status == 404
    taken = await libre("LOCK", xml, "Timeout: Second-180", "Depth: 0", body=wanted)
    token = token_of(taken)
    assert active_lock(taken).findtext(f"{DAV}owner") == "Anna"
    assert (await libre("PUT", f"If: (<{token}>)", body="text")).status == 204
    [told] = read_multistatus(await libre("PROPFIND", "Depth: 0", xml, body=asked)).values()
    scopes = told.found[f"{DAV}supportedlock"].findall(f"{DAV}lockentry/{DAV}lockscope/*")
    assert {each.tag for each in scopes} == {f"{DAV}exclusive", f"{DAV}shared"}
    assert told.found[f"{DAV}lockdiscovery"].find(f"{DAV}activelock") is not None
    anew = await libre("LOCK", f"If: (<{token}>)", "Timeout: Second-180")
    assert anew.status == 200
    assert (await libre("UNLOCK", f"Lock-Token: <{token}>")).status == 204
    [told] = (await propfind(shared, path)).values()
    assert told.text("getcontentlength") == "4"
    assert (await ask(shared, "GET", path)).body == b"text"
