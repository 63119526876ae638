"""GET, PUT, DELETE, MKCOL and OPTIONS in a drive, by the letter of RFC 4918."""

from __future__ import annotations

from base64 import b64encode

import pytest

from tests.http.dav.lock_steps import info, lock, locks_on, unlock
from tests.http.dav.steps import (
    DAV,
    ask,
    make,
    propfind,
    proppatch,
    set_to,
    status_of,
    update_of,
)
from tests.http.steps import Client, on_shared_server, put, read


@on_shared_server
@pytest.mark.parametrize("path", ["/", "/dav", "/dav/", "/dav/none", "/dav/none/"])
async def test_options(shared: Client, path: str) -> None:
    answer = await ask(shared, "OPTIONS", path)
    assert answer.status == 200
    assert answer.headers["DAV"] == "1, 2, 3"
    # Without it Windows and Office do not take an address for a drive.
    assert answer.headers["MS-Author-Via"] == "DAV"
    assert answer.headers["Accept-Ranges"] == "bytes"
    allowed = set(answer.headers["Allow"].split(", "))
    assert {"GET", "HEAD", "OPTIONS", "PROPFIND"} <= allowed
    if path.startswith("/dav/"):
        more = {"PUT", "DELETE", "MKCOL", "COPY", "MOVE", "PROPPATCH", "LOCK", "UNLOCK"}
        assert more <= allowed


@on_shared_server
async def test_only_a_drive_claims_to_be_one(shared: Client) -> None:
    for path in ("/files/x", "/files/", "/uploads"):
        assert (await ask(shared, "OPTIONS", path)).headers["DAV"] is None


@on_shared_server
async def test_a_file_comes_and_goes(shared: Client, name: str) -> None:
    answer = await ask(shared, "PUT", f"/dav/{name}", body=b"one")
    assert (answer.status, answer.body) == (201, b"")
    etag = answer.headers["ETag"]
    answer = await ask(shared, "PUT", f"/dav/{name}", body=b"two")
    assert answer.status == 204
    assert answer.headers["ETag"] != etag
    answer = await ask(shared, "GET", f"/dav/{name}")
    assert (answer.status, answer.body) == (200, b"two")
    # It is the same store.
    assert await read(shared, name) == b"two"
    assert await status_of(shared, name, "DELETE") == 204
    assert await status_of(shared, name, "DELETE") == 404
    assert await status_of(shared, name) == 404


@on_shared_server
async def test_conditions(shared: Client, name: str) -> None:
    await make(shared, name)
    for line in ("If-None-Match: *", 'If-Match: "x"'):
        answer = await ask(shared, "PUT", f"/dav/{name}", line, body=b"x")
        assert answer.status == 412
    # Joplin sends such to mean anything.
    line = "If-None-Match: JoplinIgnore-1"
    assert (await ask(shared, "PUT", f"/dav/{name}", line, body=b"x")).status == 204


@on_shared_server
@pytest.mark.parametrize("path", ["none/x", "none/deep/x", "a/none/x"])
async def test_the_folder_of_a_file_must_be_there(shared: Client, name: str, path: str) -> None:
    """§9.7.1; it must not be made."""
    await make(shared, f"{name}/", f"{name}/a/")
    for lines in ([], ["Expect: 100-continue"]):
        answer = await ask(shared, "PUT", f"/dav/{name}/{path}", *lines, body=b"content")
        assert answer.status == 409
    assert await status_of(shared, f"{name}/{path}", "MKCOL") == 409
    assert list(await propfind(shared, f"/dav/{name}/", "infinity")) == [
        f"/dav/{name}/",
        f"/dav/{name}/a/",
    ]
    # Elsewhere it is.
    await put(shared, f"{name}/{path}", b"")


@on_shared_server
async def test_a_folder_stays_when_its_last_member_goes(shared: Client, name: str) -> None:
    """§5.2, though it was never made."""
    await put(shared, f"{name}/d/e/x", b"")
    assert await status_of(shared, f"{name}/d/e/x", "DELETE") == 204
    assert await status_of(shared, f"{name}/d/e") == 200
    assert await status_of(shared, f"{name}/d/e", "DELETE") == 204
    assert await status_of(shared, f"{name}/d/") == 200


@on_shared_server
@pytest.mark.parametrize("slash", ["", "/"])
async def test_folders(shared: Client, name: str, slash: str) -> None:
    path = f"{name}{slash}"
    answer = await ask(shared, "MKCOL", f"/dav/{path}")
    assert (answer.status, answer.headers["Location"]) == (201, f"/dav/{name}/")
    assert await status_of(shared, path, "MKCOL") == 405
    for method in ("GET", "HEAD"):
        assert await status_of(shared, path, method) == 200
    answer = await ask(shared, "PUT", f"/dav/{path}", body=b"x")
    assert answer.status == 405
    await make(shared, f"{name}/x")
    answer = await ask(shared, "DELETE", f"/dav/{path}", "Depth: 0")
    assert answer.status == 400
    assert await status_of(shared, path, "DELETE") == 204
    assert await status_of(shared, f"{name}/x") == 404
    assert await status_of(shared, path, "DELETE") == 404


@on_shared_server
async def test_mkcol_where_something_is(shared: Client, name: str) -> None:
    await make(shared, name)
    assert await status_of(shared, name, "MKCOL") == 405
    assert await status_of(shared, f"{name}/x", "MKCOL") == 409
    body = '<?xml version="1.0"?><x/>'
    answer = await ask(shared, "MKCOL", f"/dav/{name}-b", "Content-Type: x/x", body=body)
    assert answer.status == 415


@on_shared_server
@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("GET", []),
        ("HEAD", []),
        ("OPTIONS", []),
        ("DELETE", []),
        ("COPY", ["Destination: @-b"]),
        ("MOVE", ["Destination: @-b"]),
        ("UNLOCK", ["Lock-Token: <@TOKEN@>"]),
    ],
)
async def test_no_body_is_passed_over(
    shared: Client, name: str, method: str, lines: list[str]
) -> None:
    """Who sends one means something by it that would not be done (§8.4)."""
    await make(shared, name)
    token = await lock(shared, name)
    own = f"If: (<{token}>)"
    told = [line.replace("@TOKEN@", token).replace("@", f"/dav/{name}") for line in lines]
    answer = await ask(shared, method, f"/dav/{name}", own, *told, body="<x/>")
    assert answer.status == 415
    # Nothing was done; without it, it is.
    assert await status_of(shared, name) == 200
    assert await status_of(shared, f"{name}-b") == 404
    assert len(await locks_on(shared, name)) == 1
    assert (await ask(shared, method, f"/dav/{name}", own, *told)).status in (200, 201, 204)
    await unlock(shared, name, token)


@on_shared_server
async def test_a_folder_tells_its_own_address(shared: Client, name: str) -> None:
    """Where it is asked without the slash at its end (§5.2)."""
    await make(shared, f"{name}%C3%A9/", f"{name}%C3%A9/a")
    # As the request spells it, as addresses in the answer are.
    path = f"/dav/{name}e%CC%81"
    bodies = {"PROPPATCH": update_of(set_to("<x:a>1</x:a>")), "LOCK": info()}
    for method in ("GET", "HEAD", "PROPFIND", "PROPPATCH", "LOCK"):
        answer = await ask(shared, method, path, body=bodies.get(method, ""))
        assert answer.status in (200, 207)
        assert answer.headers["Content-Location"] == f"{path}/", method
    token = answer.headers["Lock-Token"].strip("<>")
    lines = (f"If: (<{token}>)",)
    for other in (f"{path}/", f"{path}/a"):
        for method in ("GET", "PROPFIND", "PROPPATCH", "LOCK"):
            body = "" if method == "LOCK" else bodies.get(method, "")
            answer = await ask(shared, method, other, *lines, body=body)
            assert answer.status in (200, 207)
            assert answer.headers["Content-Location"] is None, (method, other)
    assert await unlock(shared, f"{name}e%CC%81", token) == 204


@on_shared_server
@pytest.mark.parametrize("path", ["/dav/", "/dav"])
async def test_the_root_stays(shared: Client, path: str) -> None:
    assert (await ask(shared, "DELETE", path)).status == 403
    assert (await ask(shared, "MKCOL", path)).status == 405
    assert (await ask(shared, "PUT", path, body=b"x")).status == 405
    assert (await ask(shared, "MOVE", path, "Destination: /dav/x")).status == 403
    assert (await ask(shared, "UNLOCK", path, "Lock-Token: <lock:none>")).status == 409
    assert (await ask(shared, "POST", path)).status == 405


@on_shared_server
async def test_the_time_of_a_file_can_be_sent(shared: Client, name: str) -> None:
    """As rclone, lftp, gvfs and ownCloud's programs do."""
    for time in ("1234567890", "1234567890.5"):
        answer = await ask(shared, "PUT", f"/dav/{name}", f"X-OC-Mtime: {time}", body=b"x")
        assert answer.headers["X-OC-Mtime"] == "accepted"
        assert answer.headers["Last-Modified"] == "Fri, 13 Feb 2009 23:31:30 GMT"
    [told] = (await propfind(shared, f"/dav/{name}")).values()
    assert told.text("getlastmodified") == "Fri, 13 Feb 2009 23:31:30 GMT"
    for time in ("soon", "-1", "99999999999999"):
        answer = await ask(shared, "PUT", f"/dav/{name}", f"X-OC-Mtime: {time}", body=b"x")
        assert answer.status == 204
        assert answer.headers["X-OC-Mtime"] is None


@on_shared_server
@pytest.mark.parametrize("where", ["dav", "files"])
async def test_checksums_of_owncloud(shared: Client, name: str, where: str) -> None:
    path = f"/{where}/{name}"
    sums = {
        "SHA1:11f6ad8ec52a2984abaafd7c3b516503785c2072": {201, 200, 204},
        "md5:9dd4e461268c8034f5c8564e155c67a6": {201, 200, 204},
        "ADLER32:00790079": {201, 200, 204},
        "SHA1:00f6ad8ec52a2984abaafd7c3b516503785c2072": {400},
        "SHA1:9dd4e461268c8034f5c8564e155c67a6": {400},
    }
    for checksum, statuses in sums.items():
        answer = await ask(shared, "PUT", path, f"OC-Checksum: {checksum}", body=b"x")
        assert answer.status in statuses, checksum


@on_shared_server
async def test_nothing_of_windows_explorer_is_lost(shared: Client, name: str) -> None:
    """PROPFIND, PUT of nothing, PROPPATCH, PUT, PROPPATCH, as it saves a file."""
    assert (await ask(shared, "PROPFIND", f"/dav/{name}", "Depth: 0")).status == 404
    assert (await ask(shared, "PUT", f"/dav/{name}")).status == 201
    times = (
        "<w:Win32CreationTime>Sat, 03 Feb 2001 04:05:06 GMT</w:Win32CreationTime>"
        "<w:Win32LastAccessTime>Sat, 03 Feb 2001 04:05:06 GMT</w:Win32LastAccessTime>"
        "<w:Win32LastModifiedTime>Sun, 04 Feb 2001 04:05:06 GMT</w:Win32LastModifiedTime>"
        "<w:Win32FileAttributes>00000020</w:Win32FileAttributes>"
    )
    told = await proppatch(shared, f"/dav/{name}", set_to(times))
    assert (len(told.found), told.refused) == (4, {})
    assert (await ask(shared, "PUT", f"/dav/{name}", body=b"content")).status == 204
    await proppatch(shared, f"/dav/{name}", set_to(times))
    [told] = (await propfind(shared, f"/dav/{name}", "1")).values()
    assert told.text("getlastmodified") == "Sun, 04 Feb 2001 04:05:06 GMT"
    assert told.text("creationdate") == "2001-02-03T04:05:06Z"
    attributes = told.found["{urn:schemas-microsoft-com:}Win32FileAttributes"]
    assert attributes.text == "00000020"
    # They are times of the file: what is put anew has its own.
    assert (await ask(shared, "PUT", f"/dav/{name}", body=b"new")).status == 204
    [told] = (await propfind(shared, f"/dav/{name}")).values()
    assert not told.text("getlastmodified").startswith("Sun, 04 Feb 2001")
    assert f"{DAV}lastmodified" not in told.found


@on_shared_server
async def test_dates_match_exactly(shared: Client, name: str) -> None:
    """macOS asks by dates alone, and a time that is set may lie before the last one."""
    await ask(shared, "PUT", f"/dav/{name}", "X-OC-Mtime: 1000000000", body=b"x")
    date = (await ask(shared, "HEAD", f"/dav/{name}")).headers["Last-Modified"]
    later = "Sun, 09 Sep 2001 01:46:41 GMT"
    for since, status in ((date, 304), (later, 200)):
        answer = await ask(shared, "GET", f"/dav/{name}", f"If-Modified-Since: {since}")
        assert answer.status == status
    for since, status in ((date, 204), (later, 412)):
        lines = (f"If-Unmodified-Since: {since}", "X-OC-Mtime: 1000000000")
        answer = await ask(shared, "PUT", f"/dav/{name}", *lines, body=b"y")
        assert answer.status == status


@on_shared_server
async def test_times_are_kept_elsewhere_too(shared: Client, name: str) -> None:
    await put(shared, name, X_OC_Mtime="1000000000")
    answer = await ask(
        shared, "COPY", f"/files/{name}", f"Destination: /files/{name}-b", "X-OC-Mtime: 999999999"
    )
    assert answer.status == 201
    [told] = (await propfind(shared, f"/dav/{name}-b")).values()
    assert told.text("getlastmodified") == "Sun, 09 Sep 2001 01:46:39 GMT"
    # MTAwMDAwMDAwMA== is 1000000000; what is no time is nothing.
    for mtime, year in (("MTAwMDAwMDAwMC41", "2001"), ("eA==", "20"), ("", "20")):
        lines = (
            "Tus-Resumable: 1.0.0",
            "Upload-Length: 0",
            f"Upload-Metadata: filename {b64(name)},mtime {mtime}",
        )
        assert (await ask(shared, "POST", "/uploads", *lines)).status == 201
        [told] = (await propfind(shared, f"/dav/{name}")).values()
        assert (" 2001 " in told.text("getlastmodified")) is (year == "2001")


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()
