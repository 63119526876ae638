"""Windows Explorer (its WebClient, MiniRedir) and Office, as they ask."""

from __future__ import annotations

import pytest

from tests.http import raw
from tests.http.dav.recorded import active_lock, send, token_of
from tests.http.dav.steps import DAV, ask, make, propfind, read_multistatus, status_of
from tests.http.steps import Client, on_shared_server, read

WINDOWS = "{urn:schemas-microsoft-com:}"
LOCK = (
    '<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/>'
    "</D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>HOST\\anna</D:href>"
    "</D:owner></D:lockinfo>"
)
PATCH = (
    '<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:"'
    ' xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>'
    "<Z:Win32CreationTime>Thu, 28 Mar 2013 20:15:34 GMT</Z:Win32CreationTime>"
    "<Z:Win32LastAccessTime>Thu, 28 Mar 2013 20:36:24 GMT</Z:Win32LastAccessTime>"
    "<Z:Win32LastModifiedTime>Thu, 28 Mar 2013 20:36:24 GMT</Z:Win32LastModifiedTime>"
    "<Z:Win32FileAttributes>00000020</Z:Win32FileAttributes>"
    "</D:prop></D:set></D:propertyupdate>"
)
AGENT = "User-Agent: Microsoft-WebDAV-MiniRedir/10.0.22621"


async def explore(
    client: Client, method: str, path: str, *lines: str, body: str = ""
) -> raw.Answer:
    """Send what WebClient sends with every request."""
    typed = ['Content-Type: text/xml; charset="utf-8"'] if body else []
    head = [
        f"{method} {path} HTTP/1.1",
        "Connection: Keep-Alive",
        AGENT,
        *lines,
        "translate: f",
        *typed,
        "Content-Length:",
        "Host: test",
    ]
    return await send(client, "\n".join(head), body)


@on_shared_server
@pytest.mark.parametrize("path", ["/", "/dav", "/dav/", "/dav/none"])
async def test_an_address_is_taken_for_a_drive(shared: Client, path: str) -> None:
    """It asks the root of the server too, whatever the address."""
    answer = await explore(shared, "OPTIONS", path)
    assert (answer.status, answer.headers["MS-Author-Via"]) == (200, "DAV")
    assert {"1", "2"} <= {each.strip() for each in answer.headers["DAV"].split(",")}
    assert "PROPFIND" in answer.headers["Allow"].split(", ")


@on_shared_server
async def test_it_climbs_down_from_the_root(shared: Client, name: str) -> None:
    """By addresses without a slash, each of which must be told of as a folder."""
    await make(shared, f"{name}/", f"{name}/d/", f"{name}/d/a")
    for path in ("/", "/dav", f"/dav/{name}", f"/dav/{name}/d"):
        told = read_multistatus(await explore(shared, "PROPFIND", path, "Depth: 0"))
        assert list(told) == [path.rstrip("/") + "/"]
        assert next(iter(told.values())).is_folder
    told = read_multistatus(await explore(shared, "PROPFIND", f"/dav/{name}/d", "Depth: 1"))
    assert list(told) == [f"/dav/{name}/d/", f"/dav/{name}/d/a"]
    file = told[f"/dav/{name}/d/a"]
    # A fraction breaks it.
    assert file.text("creationdate").endswith("Z")
    assert "." not in file.text("creationdate")
    assert file.text("getlastmodified").endswith(" GMT")
    for missing in (f"/dav/{name}/none", f"/dav/{name}/desktop.ini"):
        assert (await explore(shared, "PROPFIND", missing, "Depth: 0")).status == 404


@on_shared_server
async def test_long_lists_are_short(shared: Client, name: str) -> None:
    """It reads a megabyte of an answer: that does for 1,300 names, as docs/webdav.md says."""
    await make(shared, f"{name}/", f"{name}/Quarterly%20report%202026.xlsx")
    sizes = [
        len((await explore(shared, "PROPFIND", f"/dav/{name}/", f"Depth: {depth}")).body)
        for depth in ("0", "1")
    ]
    assert (sizes[1] - sizes[0]) * 1300 < 1_000_000


@on_shared_server
@pytest.mark.parametrize("brackets", ["<>", ""])
async def test_a_file_is_saved(shared: Client, name: str, brackets: str) -> None:
    """What it does for each that is copied to the drive."""
    await make(shared, f"{name}/")
    path = f"/dav/{name}/a"
    assert (await explore(shared, "PROPFIND", path, "Depth: 0")).status == 404
    assert (await explore(shared, "PUT", path)).status == 201
    # It sends no Depth.
    taken = await explore(shared, "LOCK", path, "Timeout: Second-3600", body=LOCK)
    token = token_of(taken)
    owner = active_lock(taken).findtext(f"{DAV}owner/{DAV}href")
    assert owner == "HOST\\anna"
    # It gives up where it does not find the lock again.
    told = read_multistatus(await explore(shared, "PROPFIND", path, "Depth: 0"))[path]
    found = told.found[f"{DAV}lockdiscovery"]
    assert found.findtext(f"{DAV}activelock/{DAV}locktoken/{DAV}href") == token
    assert told.found[f"{DAV}supportedlock"].find(f"{DAV}lockentry") is not None
    guarded = f"If: (<{token}>)"
    for sent in ("", "content"):
        if sent:
            answer = await explore(shared, "PUT", path, guarded, body=sent)
            assert answer.status == 204
        answer = await explore(shared, "PROPPATCH", path, guarded, body=PATCH)
        patched = read_multistatus(answer)[path]
        assert (len(patched.found), patched.refused) == (4, {})
    sent_token = f"<{token}>" if brackets else token
    answer = await explore(shared, "UNLOCK", path, f"Lock-Token: {sent_token}")
    assert answer.status == 204
    [told] = (await propfind(shared, path)).values()
    assert told.text("getcontentlength") == "7"
    assert told.text("creationdate") == "2013-03-28T20:15:34Z"
    assert told.text("getlastmodified") == "Thu, 28 Mar 2013 20:36:24 GMT"
    # The rest is kept and read back.
    assert told.found[f"{WINDOWS}Win32FileAttributes"].text == "00000020"
    assert await read(shared, f"{name}/a") == b"content"


@on_shared_server
async def test_a_file_is_saved_beside_and_moved(shared: Client, name: str) -> None:
    """LOCK makes the file; the If of MOVE is for the source alone, and the target is free."""
    await make(shared, f"{name}/", f"{name}/a")
    beside = f"/dav/{name}/a~.tmp"
    taken = await explore(shared, "LOCK", beside, "Timeout: Second-3600", body=LOCK)
    assert taken.status == 201
    guarded = f"If: (<{token_of(taken)}>)"
    assert (await explore(shared, "PUT", beside, guarded, body="new")).status == 204
    answer = await explore(
        shared,
        "MOVE",
        beside,
        f"Destination: http://test/dav/{name}/a",
        "Overwrite: T",
        f"If: <http://test{beside}> (<{token_of(taken)}>)",
    )
    assert answer.status == 204
    assert await read(shared, f"{name}/a") == b"new"
    assert await status_of(shared, f"{name}/a~.tmp") == 404


@on_shared_server
async def test_folders(shared: Client, name: str) -> None:
    """By addresses without a slash, and no answer leads elsewhere."""
    assert (await explore(shared, "MKCOL", f"/dav/{name}")).status == 201
    answer = await explore(shared, "PROPPATCH", f"/dav/{name}", body=PATCH)
    [patched] = read_multistatus(answer).values()
    assert patched.refused == {}
    target = f"Destination: http://test/dav/{name}-b"
    answer = await explore(shared, "MOVE", f"/dav/{name}", target, "Overwrite: F")
    assert answer.status == 201
    assert (await explore(shared, "DELETE", f"/dav/{name}-b")).status == 204


OFFICE = (
    "User-Agent: Microsoft Office Word 2014",
    "X-Office-Major-Version: 16",
    "X-MS-CookieUri-Requested: t",
    "X-FeatureVersion: 1",
    "Accept-Auth: badger,Wlid1.1,Bearer,Basic,NTLM,Digest,Kerberos,Negotiate,Nego2",
)
OFFICE_LOCK = (
    '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:">'
    "<D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype>"
    "<D:owner><D:href>Anna</D:href></D:owner></D:lockinfo>"
)


async def office(client: Client, method: str, path: str, *lines: str, body: str = "") -> raw.Answer:
    head = [
        f"{method} {path} HTTP/1.1",
        "Connection: Keep-Alive",
        *OFFICE,
        *lines,
        "Content-Length:",
        "Host: test",
    ]
    return await send(client, "\n".join(head), body)


@on_shared_server
@pytest.mark.parametrize("field", ["If: (<@TOKEN@>)", "Lock-Token: <@TOKEN@>"])
async def test_office_edits_a_document(shared: Client, name: str, field: str) -> None:
    """Some versions send the token in Lock-Token, where it belongs to UNLOCK alone."""
    await make(shared, f"{name}/", f"{name}/a.docx")
    path = f"/dav/{name}/a.docx"
    for asked in (f"/dav/{name}/", path):
        answer = await office(shared, "OPTIONS", asked)
        assert (answer.status, answer.headers["MS-Author-Via"]) == (200, "DAV")
        assert (await office(shared, "HEAD", asked)).status == 200
    taken = await office(shared, "LOCK", path, "Timeout: Second-3600", body=OFFICE_LOCK)
    token = token_of(taken)
    answer = await office(shared, "GET", path)
    assert (answer.status, answer.headers["ETag"][0]) == (200, '"')
    line = field.replace("@TOKEN@", token)
    assert (await office(shared, "PUT", path, body="other")).status == 423
    assert (await office(shared, "PUT", path, line, body="saved")).status == 204
    anew = await office(shared, "LOCK", path, "Timeout: Second-3600", f"If: (<{token}>)")
    assert (anew.status, anew.headers["Lock-Token"]) == (200, None)
    answer = await office(shared, "UNLOCK", path, f"Lock-Token: <{token}>")
    assert answer.status == 204
    assert await read(shared, f"{name}/a.docx") == b"saved"


@on_shared_server
async def test_nothing_leads_elsewhere(shared: Client, name: str) -> None:
    """Windows takes a redirect for an error."""
    await make(shared, f"{name}/")
    for method in ("GET", "HEAD", "PROPFIND", "OPTIONS", "MKCOL", "LOCK", "UNLOCK", "DELETE"):
        assert not 300 <= (await ask(shared, method, f"/dav/{name}")).status < 400, method
