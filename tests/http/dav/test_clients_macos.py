"""Finder and all programs on a drive that macOS has mounted (WebDAVFS), as they ask."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from chunkstore.core.names import FolderName
from chunkstore.http.message.request import SERVICE
from tests.http import raw
from tests.http.dav.recorded import active_lock, send, token_of
from tests.http.dav.steps import DAV, ask, make, read_multistatus, status_of
from tests.http.steps import Client, on_shared_server, read

LIST = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n'
    "<D:getlastmodified/>\n<D:getcontentlength/>\n<D:creationdate/>\n<D:resourcetype/>\n"
    "</D:prop>\n</D:propfind>\n"
)
QUOTA = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:propfind xmlns:D="DAV:">\n<D:prop>\n'
    "<D:quota-available-bytes/>\n<D:quota-used-bytes/>\n<D:quota/>\n<D:quotaused/>\n"
    "</D:prop>\n</D:propfind>\n"
)
LOCK = (
    '<?xml version="1.0" encoding="utf-8"?>\n<D:lockinfo xmlns:D="DAV:">\n'
    "<D:lockscope><D:exclusive/></D:lockscope>\n<D:locktype><D:write/></D:locktype>\n"
    "<D:owner>\n<D:href>http://www.apple.com/webdav_fs/</D:href>\n</D:owner>\n</D:lockinfo>\n"
)
AGENT = "User-Agent: WebDAVFS/3.0.0 (03008000) Darwin/23.2.0 (arm64)"


async def propfind(client: Client, path: str, depth: str, body: str) -> raw.Answer:
    head = f"""
        PROPFIND {path} HTTP/1.1
        Host: test
        Accept: */*
        Content-Type: text/xml
        Depth: {depth}
        Content-Length:
        {AGENT}
        Connection: keep-alive
        """
    return await send(client, head, body)


@on_shared_server
@pytest.mark.parametrize("path", ["/dav/", "/dav"])
async def test_a_drive_can_be_written_to(shared: Client, path: str) -> None:
    """It is mounted to be read only, unless DAV has 2 and Allow the methods that write."""
    head = f"""
        OPTIONS {path} HTTP/1.1
        Host: test
        Accept: */*
        {AGENT}
        Content-Length: 0
        Connection: keep-alive
        """
    answer = await send(shared, head)
    assert answer.status == 200
    assert "2" in [each.strip() for each in answer.headers["DAV"].split(",")]
    allowed = set(answer.headers["Allow"].split(", "))
    assert {"PUT", "DELETE", "MKCOL", "MOVE", "PROPFIND", "LOCK", "UNLOCK"} <= allowed


@on_shared_server
async def test_a_folder_is_listed(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/b/")
    for depth, count in (("0", 1), ("1", 3)):
        answer = await propfind(shared, f"/dav/{name}/", depth, LIST)
        told = read_multistatus(answer)
        assert len(told) == count
        for href, each in told.items():
            # It takes a name for that of a member by the path being longer.
            assert unquote(href).startswith(f"/dav/{name}/")
            wanted = {"getlastmodified", "creationdate", "resourcetype"}
            wanted |= set() if each.is_folder else {"getcontentlength"}
            # It reads local names anywhere in the answer: what it has not asked for confuses it.
            assert set(each.found) == {f"{DAV}{one}" for one in wanted}
            assert "." not in each.text("creationdate")


@on_shared_server
async def test_no_quota_is_told_to_who_asks_as_finder_does(shared: Client, name: str) -> None:
    """Recent ones wait for 90 seconds else."""
    await make(shared, f"{name}/")
    quotas = shared.app[SERVICE].store.quotas
    await quotas.set(FolderName(f"{name}/"), 1000, None)
    answer = await propfind(shared, f"/dav/{name}/", "0", QUOTA)
    [told] = read_multistatus(answer).values()
    assert told.found == {}
    assert len(told.refused) == 4
    # Others, who know nothing of the old ones, are told.
    asked = QUOTA.replace("<D:quota/>\n<D:quotaused/>\n", "")
    [told] = read_multistatus(await propfind(shared, f"/dav/{name}/", "0", asked)).values()
    assert told.text("quota-available-bytes") == "1000"
    await quotas.remove(FolderName(f"{name}/"))


@on_shared_server
async def test_names_are_told_as_they_are_asked_for(shared: Client, name: str) -> None:
    """It sends the decomposed form, which is not that of the store."""
    await make(shared, f"{name}%C3%A9/", f"{name}%C3%A9/u%CC%88")
    folder = f"/dav/{name}e%CC%81/"
    told = read_multistatus(await propfind(shared, folder, "1", LIST))
    assert list(told) == [folder, f"{folder}%C3%BC"]
    member = f"{folder}u%CC%88"
    assert list(read_multistatus(await propfind(shared, member, "0", LIST))) == [member]


@on_shared_server
@pytest.mark.parametrize(
    "probed",
    ["._a", "._.", ".DS_Store", ".hidden", ".metadata_never_index", ".Spotlight-V100", "._a/"],
)
async def test_what_it_looks_for_is_not_there(shared: Client, name: str, probed: str) -> None:
    await make(shared, f"{name}/")
    assert (await propfind(shared, f"/dav/{name}/{probed}", "0", LIST)).status == 404


async def lock(client: Client, path: str) -> raw.Answer:
    head = f"""
        LOCK {path} HTTP/1.1
        Host: test
        Accept: */*
        Depth: 0
        Timeout: Second-600
        Content-Type: text/xml; charset="utf-8"
        Content-Length:
        {AGENT}
        Connection: keep-alive
        """
    return await send(client, head, LOCK)


async def put(client: Client, path: str, *pieces: bytes, line: str) -> raw.Answer:
    """Send content as it does, in chunks, whose size it tells in a field of its own."""
    head = f"""
        PUT {path} HTTP/1.1
        Host: test
        Accept: */*
        {line}
        X-Expected-Entity-Length: {sum(map(len, pieces))}
        {AGENT}
        Transfer-Encoding: Chunked
        Connection: keep-alive
        """
    return await send(client, head, raw.chunked(*pieces) + raw.LAST_CHUNK)


@on_shared_server
@pytest.mark.parametrize("member", ["a", "._a", ".DS_Store"])
async def test_a_file_is_saved(shared: Client, name: str, member: str) -> None:
    """PUT of nothing, LOCK, PUT in chunks, LOCK anew, UNLOCK."""
    await make(shared, f"{name}/")
    path = f"/dav/{name}/{member}"
    empty = f"""
        PUT {path} HTTP/1.1
        Host: test
        Accept: */*
        {AGENT}
        Content-Length: 0
        Connection: keep-alive
        """
    assert (await send(shared, empty)).status == 201
    taken = await lock(shared, path)
    token = token_of(taken)
    assert active_lock(taken).findtext(f"{DAV}timeout") in ("Second-600", "Second-599")
    assert (await lock(shared, path)).status == 423
    assert (await put(shared, path, b"x", line="If: (<lock:none>)")).status == 412
    answer = await put(shared, path, b"con", b"tent", line=f"If: (<{token}>)")
    assert answer.status == 204
    assert answer.headers["ETag"]
    anew = f"""
        LOCK {path} HTTP/1.1
        Host: test
        Accept: */*
        If: (<@TOKEN@>)
        Timeout: Second-600
        {AGENT}
        Content-Length: 0
        Connection: keep-alive
        """
    answer = await send(shared, anew, token=token)
    assert (answer.status, answer.headers["Lock-Token"]) == (200, None)
    assert active_lock(answer).findtext(f"{DAV}locktoken/{DAV}href") == token
    unlock = f"""
        UNLOCK {path} HTTP/1.1
        Host: test
        Accept: */*
        Lock-Token: <@TOKEN@>
        {AGENT}
        Content-Length: 0
        Connection: keep-alive
        """
    assert (await send(shared, unlock, token=token)).status == 204
    assert await read(shared, f"{name}/{member}") == b"content"


@on_shared_server
async def test_what_breaks_off_changes_nothing(shared: Client, name: str) -> None:
    await make(shared, name)
    head = f"PUT /dav/{name} HTTP/1.1\r\nHost: test\r\nX-Expected-Entity-Length: 100\r\n"
    async with raw.connect(shared) as connection:
        await connection.send(f"{head}Transfer-Encoding: Chunked\r\n\r\n".encode())
        await connection.send(raw.chunked(b"part"))
        connection.finish_sending()
        await connection.receive_rest()
    assert await read(shared, name) == name.encode()


@on_shared_server
async def test_its_cache_is_checked_by_dates(shared: Client, name: str) -> None:
    await make(shared, name)
    date = (await ask(shared, "HEAD", f"/dav/{name}")).headers["Last-Modified"]
    head = f"""
        GET /dav/{name} HTTP/1.1
        Host: test
        Accept: */*
        If-Modified-Since: {date}
        {AGENT}
        Connection: keep-alive
        """
    assert (await send(shared, head)).status == 304
    # Though it is older than what there was.
    await ask(shared, "PUT", f"/dav/{name}", "X-OC-Mtime: 1000000000", body=b"old")
    answer = await send(shared, head)
    assert (answer.status, answer.body) == (200, b"old")
    part = head.replace(f"If-Modified-Since: {date}", f"If-Range: {date}\n        Range: bytes=1-")
    assert (await send(shared, part)).status == 200
    part = part.replace(date, "Sun, 09 Sep 2001 01:46:40 GMT")
    answer = await send(shared, part)
    assert (answer.status, answer.body) == (206, b"ld")


@on_shared_server
async def test_a_file_is_renamed(shared: Client, name: str) -> None:
    """Onto what is there already, as programs do that save safely."""
    await make(shared, f"{name}/", f"{name}/a%20b", f"{name}/c")
    head = f"""
        MOVE /dav/{name}/a%20b HTTP/1.1
        Host: test
        Accept: */*
        Destination: http://test/dav/{name}/c
        Overwrite: T
        {AGENT}
        Content-Length: 0
        Connection: keep-alive
        """
    assert (await send(shared, head)).status == 204
    assert await read(shared, f"{name}/c") == f"{name}/a%20b".encode()
    assert await status_of(shared, f"{name}/a%20b") == 404
