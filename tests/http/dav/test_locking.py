"""LOCK, UNLOCK and the If header (RFC 4918 §6, §7, §9.10, §9.11, §10.4), wherever one writes."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from xml.etree.ElementTree import fromstring

import pytest

from chunkstore.core.chunk_lists import MANIFEST
from tests.http import raw
from tests.http.chunks.steps import cut, manifest_of
from tests.http.dav.lock_steps import (
    condition_of,
    info,
    lock,
    locks_in,
    locks_on,
    unlock,
    write,
)
from tests.http.dav.steps import DAV, Told, ask, make, propfind, set_to, status_of, update_of
from tests.http.steps import Client, on_shared_server, read


@on_shared_server
async def test_a_lock_is_told_as_it_was_asked_for(shared: Client, name: str) -> None:
    await make(shared, name)
    answer = await ask(
        shared, "LOCK", f"/dav/{name}", "Depth: 0", "Timeout: Second-300, Infinite", body=info()
    )
    assert answer.status == 200
    assert answer.headers["Content-Type"] == 'application/xml; charset="utf-8"'
    [found] = locks_in(Told({f"{DAV}lockdiscovery": fromstring(answer.body)[0]}))
    token = answer.headers["Lock-Token"].strip("<>")
    assert found.find(f"{DAV}lockscope/{DAV}exclusive") is not None
    assert found.find(f"{DAV}locktype/{DAV}write") is not None
    assert found.findtext(f"{DAV}depth") == "0"
    assert found.findtext(f"{DAV}timeout") in ("Second-300", "Second-299")
    assert found.findtext(f"{DAV}locktoken/{DAV}href") == token
    assert found.findtext(f"{DAV}lockroot/{DAV}href") == f"/dav/{name}"
    owner = found.find(f"{DAV}owner")
    assert owner is not None
    assert "".join(owner.itertext()) == "mailto:a@b & Anna"
    # All of it is kept, as a property would be (§14.17).
    assert b'<D:href xml:lang="de">mailto:a@b</D:href> &amp; Anna</D:owner>' in answer.body
    [seen] = await locks_on(shared, name)
    assert seen.findtext(f"{DAV}locktoken/{DAV}href") == token
    assert await unlock(shared, name, token) == 204
    assert await locks_on(shared, name) == []


@on_shared_server
async def test_by_default_a_lock_is_deep(shared: Client, name: str) -> None:
    """§9.10.3; one of a file too, of which Windows does not say."""
    await make(shared, f"{name}/", f"{name}/a")
    for path in (f"{name}/a", f"{name}/new", name):
        token = await lock(shared, path)
        [found] = await locks_on(shared, path)
        assert found.findtext(f"{DAV}depth") == "infinity"
        assert await unlock(shared, path, token) == 204


@on_shared_server
@pytest.mark.parametrize(
    ("line", "status"), [("", 423), ("If: (<lock:other>)", 412), ("If: (Not <DAV:no-lock>)", 423)]
)
async def test_no_body_is_asked_for_in_vain(
    shared: Client, name: str, line: str, status: int
) -> None:
    """Who waits for 100 Continue is told before of what is in the way."""
    await make(shared, name)
    token = await lock(shared, name)
    lines = ["Content-Length: 1", "Expect: 100-continue", *filter(None, [line])]
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("PUT", f"/dav/{name}", *lines))
        assert (await connection.receive("PUT")).status == status
    assert await unlock(shared, name, token) == 204


@on_shared_server
async def test_nobody_else_writes(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/b")
    path = f"{name}/a"
    token = await lock(shared, path)
    destination = f"Destination: /dav/{path}"
    update = set_to("<x:a/>")
    for lines, allowed in (((), False), ((f"If: (<{token}>)",), True)):
        for method, target, more in (
            ("PUT", path, ()),
            ("PROPPATCH", path, ()),
            ("COPY", f"{name}/b", (destination,)),
        ):
            tagged = (f"If: </dav/{path}> (<{token}>)",) if lines and more else lines
            body = b"x" if method == "PUT" else b""
            if method == "PROPPATCH":
                body = (
                    f'<D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x">{update}</D:propertyupdate>'
                ).encode()
            answer = await ask(shared, method, f"/dav/{target}", *more, *tagged, body=body)
            assert (answer.status < 300) is allowed, (method, answer.status)
            if not allowed:
                assert answer.status == 423
                assert condition_of(answer) == ("lock-token-submitted", [f"/dav/{path}"])
    for method, target, more in (
        ("DELETE", path, ()),
        ("MOVE", path, (f"Destination: /dav/{name}/c",)),
        ("MOVE", f"{name}/b", (destination,)),
        ("DELETE", name, ()),
        ("MOVE", name, (f"Destination: /dav/{name}-moved",)),
    ):
        assert (await ask(shared, method, f"/dav/{target}", *more)).status == 423, method
    # To read, and to copy from it, takes no token.
    assert await status_of(shared, path, "GET") == 200
    answer = await ask(shared, "COPY", f"/dav/{path}", f"Destination: /dav/{name}/d")
    assert answer.status == 201
    assert await locks_on(shared, f"{name}/d") == []
    answer = await ask(shared, "DELETE", f"/dav/{path}", f"If: (<{token}>)")
    assert answer.status == 204
    # With what it was on, the lock has gone.
    await make(shared, path)
    assert await locks_on(shared, path) == []


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\nyes\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nx\r\n--b--\r\n'
)


def ways_to_write(name: str) -> list[tuple[str, str, list[str], bytes]]:
    """Return requests that replace or remove the file `name`/a, or all but `name` itself."""
    path, tus = f"{name}/a", "Tus-Resumable: 1.0.0"
    metadata = f"Upload-Metadata: filename {b64encode(path.encode()).decode()}"
    octets = "Content-Type: application/offset+octet-stream"
    edit = json.dumps({"edit": "delete", "name": path}).encode() + b"\n"
    chunks = cut(path.encode())
    elsewhere = f"Destination: /files/{name}/c"
    return [
        ("PUT", f"/files/{path}", [], b"1"),
        ("PUT", f"/dav/{path}", [], b"1"),
        ("PUT", f"/files/{path}", ["Upload-Complete: ?1"], b"2"),
        ("POST", "/uploads", [tus, "Upload-Length: 0", metadata], b""),
        ("POST", "/uploads", [tus, "Upload-Length: 1", metadata, octets], b"x"),
        ("PUT", f"/manifests/{path}", [f"Content-Type: {MANIFEST}"], manifest_of(chunks)),
        ("POST", "/batch", ["Content-Type: application/jsonl"], edit),
        (
            "POST",
            f"/files/{name}/",
            ["Content-Type: multipart/form-data; boundary=b"],
            FORM,
        ),
        ("COPY", f"/files/{name}/b", [f"Destination: /files/{path}"], b""),
        ("MOVE", f"/files/{path}", [elsewhere], b""),
        ("MOVE", f"/files/{name}/", [f"Destination: /files/{name}-moved/"], b""),
        ("DELETE", f"/files/{path}", [], b""),
        ("DELETE", f"/files/{name}/", [], b""),
        ("DELETE", f"/dav/{name}", [], b""),
    ]


@on_shared_server
async def test_locks_hold_wherever_one_writes(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/b")
    path = f"{name}/a"
    token = await lock(shared, path)
    for method, target, lines, body in ways_to_write(name):
        answer = await ask(shared, method, target, *lines, body=body)
        assert answer.status == 423, (method, target, answer.body)
    assert await read(shared, path) == path.encode()
    assert await status_of(shared, f"{name}/b") == 200
    for method, target, lines, body in ways_to_write(name):
        # Deleted or moved, it is locked no more.
        if await status_of(shared, path) == 404:
            if await status_of(shared, name) == 404:
                await make(shared, f"{name}/", f"{name}/b")
            await make(shared, path)
            token = await lock(shared, path)
        submitted = f"Lock-Token: <{token}>"
        answer = await ask(shared, method, target, *lines, submitted, body=body)
        assert answer.status < 300, (method, target, answer.body)


@on_shared_server
async def test_of_two_who_lock_one_gets_it(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a")
    token = await lock(shared, f"{name}/a")
    for path, scope, depth in (
        (f"{name}/a", "exclusive", "0"),
        (f"{name}/a", "shared", "0"),
        (f"{name}/", "exclusive", "infinity"),
        (f"{name}/", "shared", "infinity"),
    ):
        answer = await ask(shared, "LOCK", f"/dav/{path}", f"Depth: {depth}", body=info(scope))
        assert answer.status == 423
        assert condition_of(answer) == ("no-conflicting-lock", [f"/dav/{name}/a"])
    # Not even who has it.
    answer = await ask(shared, "LOCK", f"/dav/{name}/a", f"If: (<{token}>)", body=info())
    assert answer.status == 423
    # One of the folder alone keeps nobody from what is in it.
    folder = await lock(shared, f"{name}/", "Depth: 0")
    assert await unlock(shared, name, folder) == 204
    assert await unlock(shared, f"{name}/a", token) == 204


@on_shared_server
async def test_shared_locks(shared: Client, name: str) -> None:
    await make(shared, name)
    tokens = [await lock(shared, name, scope="shared") for _ in range(2)]
    assert len(await locks_on(shared, name)) == 2
    assert (await ask(shared, "LOCK", f"/dav/{name}", body=info())).status == 423
    assert await write(shared, name) == 423
    for token in tokens:
        assert await write(shared, name, f"If: (<{token}>)") == 204
        # The other is in no way of a refresh (§9.10.2).
        answer = await ask(shared, "LOCK", f"/dav/{name}", f"If: (<{token}>)")
        assert (answer.status, token.encode() in answer.body) == (200, True)
    assert await unlock(shared, name, tokens[0]) == 204
    assert await write(shared, name) == 423
    assert await unlock(shared, name, tokens[1]) == 204
    assert await write(shared, name) == 204


@on_shared_server
async def test_a_deep_lock_covers_what_comes_later(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/d/", f"{name}/d/x")
    # Infinity is the default; Windows sends no Depth.
    token = await lock(shared, f"{name}/d")
    own = f"If: </dav/{name}/d/> (<{token}>)"
    for path in ("x", "new"):
        assert await write(shared, f"{name}/d/{path}") == 423
    assert await status_of(shared, f"{name}/d/e", "MKCOL") == 423
    assert (await ask(shared, "MKCOL", f"/dav/{name}/d/e", own)).status == 201
    assert await write(shared, f"{name}/d/new", own) == 201
    # It is found by any address that it covers.
    [found] = await locks_on(shared, f"{name}/d/e")
    assert found.findtext(f"{DAV}lockroot/{DAV}href") == f"/dav/{name}/d/"
    assert await write(shared, f"{name}/d/new", f"If: (<{token}>)") == 204
    assert await unlock(shared, f"{name}/d/new", token) == 204
    assert await write(shared, f"{name}/d/new") == 204


@on_shared_server
async def test_a_lock_of_a_folder_alone_keeps_its_members(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/x", f"{name}/y")
    token = await lock(shared, name, "Depth: 0")
    assert await write(shared, f"{name}/x") == 204
    assert await write(shared, f"{name}/new") == 423
    answer = await ask(shared, "LOCK", f"/dav/{name}/new", body=info())
    # A folder's address ends in a slash.
    assert (answer.status, condition_of(answer)) == (
        423,
        ("lock-token-submitted", [f"/dav/{name}/"]),
    )
    assert await status_of(shared, f"{name}/new") == 404
    for method in ("COPY", "MOVE"):
        line = f"Destination: /dav/{name}/y"
        assert (await ask(shared, method, f"/dav/{name}/x", line)).status == 423
    body = update_of(set_to("<x:a>1</x:a>"))
    for path, status in ((f"{name}/x", 207), (name, 423)):
        assert (await ask(shared, "PROPPATCH", f"/dav/{path}", body=body)).status == status
    # Those that are there can be locked beside it.
    inner = await lock(shared, f"{name}/x")
    assert await unlock(shared, f"{name}/x", inner) == 204
    assert await status_of(shared, f"{name}/x", "DELETE") == 423
    assert await write(shared, f"{name}/new", f"If: </dav/{name}> (<{token}>)") == 201
    assert await unlock(shared, name, token) == 204


@pytest.mark.parametrize("depth", ["0", "infinity"])
async def test_a_lock_of_the_root_folder(client: Client, name: str, depth: str) -> None:
    # On a server of its own, as it conflicts with whatever lock there is.
    token = await lock(client, "", f"Depth: {depth}")
    assert await write(client, name) == 423
    # What is outside of the drive is covered by no lock.
    assert await write(client, name, f"If: <http://test/elsewhere> (<{token}>)") == 412
    assert await write(client, name, f"If: </dav/> (<{token}>)") == 201
    assert (await ask(client, "LOCK", "/dav/", f"If: (<{token}>)")).status == 200
    assert await unlock(client, "", token) == 204
    assert await write(client, name) == 204


@on_shared_server
async def test_a_name_that_is_free_becomes_an_empty_file(shared: Client, name: str) -> None:
    await make(shared, f"{name}/")
    path = f"{name}/new.txt"
    answer = await ask(shared, "LOCK", f"/dav/{path}", "If-None-Match: *", body=info())
    assert answer.status == 201
    token = answer.headers["Lock-Token"].strip("<>")
    answer = await ask(shared, "GET", f"/dav/{path}")
    assert (answer.status, answer.body) == (200, b"")
    # It is a file like any other: a member of its folder, and with all properties (§7.3).
    told = (await propfind(shared, f"/dav/{name}/", "1"))[f"/dav/{path}"]
    assert (told.text("getcontentlength"), told.is_folder) == ("0", False)
    assert len(locks_in(told)) == 1
    assert len(told.found[f"{DAV}supportedlock"]) == 2
    assert await status_of(shared, path, "MKCOL") == 405
    # As davfs2 says that it is new.
    answer = await ask(shared, "LOCK", f"/dav/{path}", "If-None-Match: *", body=info())
    assert answer.status == 412
    assert await write(shared, path, f"If: <http://elsewhere:1/dav/{path}> (<{token}>)") == 204
    assert await unlock(shared, path, token) == 204
    assert await status_of(shared, path) == 200
    for missing in (f"{name}/none/x", f"{name}/none/"):
        answer = await ask(shared, "LOCK", f"/dav/{missing}", body=info())
        assert answer.status == 409
        # Nothing is left of it.
        assert await status_of(shared, f"{name}/none", "MKCOL") == 201
        assert await status_of(shared, f"{name}/none", "DELETE") == 204


@on_shared_server
async def test_a_lock_gets_its_time_anew(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a")
    token = await lock(shared, name, "Timeout: Second-100")
    # By any address that it covers, whatever Depth says.
    answer = await ask(
        shared,
        "LOCK",
        f"/dav/{name}/a",
        f"If: (<{token}>)",
        "Timeout: Second-1000",
        "Depth: 0",
    )
    assert answer.status == 200
    assert answer.headers["Lock-Token"] is None
    assert re.search(rb"Second-(1000|999)<", answer.body)
    for path, wanted in (
        (name, "(<lock:other>)"),
        (f"{name}-b", f"(<{token}>)"),
        (f"{name}-b", f"</dav/{name}> (<{token}>)"),
        (f"{name}-b", f"(Not <{token}>)"),
    ):
        answer = await ask(shared, "LOCK", f"/dav/{path}", f"If: {wanted}")
        assert answer.status == 412
        assert condition_of(answer) == ("lock-token-matches-request-uri", [])
    # That it is another version is another failure.
    answer = await ask(shared, "LOCK", f"/dav/{name}/a", f'If: (<{token}> ["other"])')
    assert (answer.status, answer.json()["status"]) == (412, 412)
    answer = await ask(shared, "LOCK", f"/dav/{name}/a", "If: (<lock:other>)", body=info("shared"))
    assert (answer.status, answer.json()["status"]) == (412, 412)
    # By default as long as a new one, whatever it had.
    answer = await ask(shared, "LOCK", f"/dav/{name}", f"If: (<{token}>)")
    assert re.search(rb"Second-(600|599)<", answer.body)
    assert (await ask(shared, "LOCK", f"/dav/{name}")).status == 400
    answer = await ask(shared, "LOCK", f"/dav/{name}", f"If: (<{token}>) (<lock:other>)")
    assert answer.status == 400
    assert await unlock(shared, name, token) == 204


@on_shared_server
@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("Infinite", 3600),
        ("Infinite, Second-4100000000", 3600),
        ("Second-1", 60),
        ("Second-180", 180),
        ("soon", 600),
        ("Extend, Second-120", 120),
    ],
)
async def test_times_are_bounded(shared: Client, name: str, asked: str, seconds: int) -> None:
    answer = await ask(shared, "LOCK", f"/dav/{name}", f"Timeout: {asked}", body=info())
    match = re.search(rb"Second-(\d+)<", answer.body)
    assert match is not None
    assert int(match[1]) in (seconds, seconds - 1)
    await unlock(shared, name, answer.headers["Lock-Token"].strip("<>"))


@on_shared_server
async def test_what_is_refused(shared: Client, name: str) -> None:
    await make(shared, name)
    for body in (
        "<x/>",
        info("other"),
        info().replace("<D:write/>", "<D:read/>"),
        info().replace("<D:exclusive/>", "<D:exclusive/><D:shared/>"),
        "<x>",
    ):
        answer = await ask(shared, "LOCK", f"/dav/{name}", body=body)
        assert answer.status == 400, body
    for lines, status in (
        (["Depth: 1"], 400),
        (["If: ()"], 400),
        (["If: (<a:b>) <x> (<a:b>)"], 400),
    ):
        assert (await ask(shared, "LOCK", f"/dav/{name}", *lines, body=info())).status == status
    long = info(owner=f"<D:owner>{'x' * 5000}</D:owner>")
    assert (await ask(shared, "LOCK", f"/dav/{name}", body=long)).status == 413
    answer = await ask(shared, "LOCK", f"/dav/{name}", body="<!DOCTYPE x><x/>")
    assert condition_of(answer)[0] == "no-external-entities"
    assert await locks_on(shared, name) == []
    assert (await ask(shared, "UNLOCK", f"/dav/{name}")).status == 400
    answer = await ask(shared, "UNLOCK", f"/dav/{name}", "Lock-Token: <lock:none>")
    assert (answer.status, condition_of(answer)[0]) == (409, "lock-token-matches-request-uri")


@on_shared_server
async def test_a_token_is_of_what_its_lock_covers(shared: Client, name: str) -> None:
    await make(shared, f"{name}/", f"{name}/a", f"{name}/b")
    token = await lock(shared, f"{name}/a")
    assert await unlock(shared, f"{name}/b", token) == 409
    # Windows leaves the brackets out.
    answer = await ask(shared, "UNLOCK", f"/dav/{name}/a", f"Lock-Token: {token}")
    assert answer.status == 204
    assert await unlock(shared, f"{name}/a", token) == 409


@on_shared_server
async def test_conditions_come_first_then_tokens(shared: Client, name: str) -> None:
    """412 where If is false, and then 423 where a token lacks (§10.4.1)."""
    await make(shared, name)
    etag = (await ask(shared, "HEAD", f"/dav/{name}")).headers["ETag"]
    token = await lock(shared, name)
    for header, status in {
        f"(<{token}> [{etag}])": 204,
        f'(<{token}> ["other"])': 412,
        "(<lock:other>)": 412,
        "(Not <DAV:no-lock>)": 423,
        f"(<{token}x>) (Not <DAV:no-lock>)": 423,
        f"(<lock:x>) (<{token}>)": 204,
        # A token counts where its list is false, too.
        f'(<{token}> ["other"]) (Not <DAV:no-lock>)': 204,
        f"</dav/{name}> (<{token}>)": 204,
        f"</dav/none> (<{token}>)": 412,
        f"</elsewhere> (Not <{token}>)": 204,
        "(": 400,
    }.items():
        etag = (await ask(shared, "HEAD", f"/dav/{name}")).headers["ETag"]
        header = re.sub(r'\["[0-9a-f]{64}"\]', f"[{etag}]", header)
        assert await write(shared, name, f"If: {header}") == status, header
    await unlock(shared, name, token)
    # What is not there has no entity tag and no lock (§10.4.4).
    for header, status in {
        f"(<{token}>)": 412,
        '(["other"])': 412,
        "(Not <DAV:no-lock>)": 201,
        '(Not ["other"])': 201,
    }.items():
        path = f"{name}-{status}-{len(header)}"
        assert await write(shared, path, f"If: {header}") == status, header
        assert await status_of(shared, path) == (404 if status == 412 else 200)
    assert await write(shared, name, "If: (Not <DAV:no-lock>)") == 204
    assert await write(shared, name, f"If: (<{token}>)") == 412
