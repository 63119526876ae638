"""Programs save a file under a lock, step by step as they do."""

from __future__ import annotations

from tests.http import raw
from tests.http.dav.lock_steps import lock, locks_in, unlock, write
from tests.http.dav.steps import DAV, ask, make, propfind, proppatch, set_to
from tests.http.steps import Client, on_shared_server, put, read


@on_shared_server
async def test_finder_saves_a_file(shared: Client, name: str) -> None:
    """PUT of nothing, LOCK, chunked PUT with If, refresh, UNLOCK, as macOS sends them."""
    assert (await ask(shared, "PROPFIND", f"/dav/{name}", "Depth: 0")).status == 404
    assert (await ask(shared, "PUT", f"/dav/{name}")).status == 201
    token = await lock(shared, name, "Depth: 0", "Timeout: Second-600")
    answer = await raw.ask(
        shared,
        raw.request(
            "PUT",
            f"/dav/{name}",
            f"If: (<{token}>)",
            "X-Expected-Entity-Length: 3",
            "Transfer-Encoding: chunked",
            body=b"3\r\nabc\r\n0\r\n\r\n",
        ),
        "PUT",
    )
    assert answer.status == 204
    answer = await ask(shared, "LOCK", f"/dav/{name}", f"If: (<{token}>)", "Timeout: Second-600")
    assert answer.status == 200
    assert await unlock(shared, name, token) == 204
    assert await read(shared, name) == b"abc"


@on_shared_server
async def test_explorer_and_office_save_a_file(shared: Client, name: str) -> None:
    await make(shared, f"{name}/")
    path = f"{name}/a.docx"
    assert (await ask(shared, "PUT", f"/dav/{path}")).status == 201
    token = await lock(shared, path, "Timeout: Second-3600")
    tagged = f"If: <http://test/dav/{path}> (<{token}>)"
    date = "Sat, 03 Feb 2001 04:05:06 GMT"
    update = set_to(f"<w:Win32LastModifiedTime>{date}</w:Win32LastModifiedTime>")
    assert not (await proppatch(shared, f"/dav/{path}", update, f"If: (<{token}>)")).refused
    # Word sends the field of UNLOCK in place of If.
    assert await write(shared, path, f"Lock-Token: <{token}>") == 204
    assert await write(shared, path, tagged) == 204
    # A file beside it takes its place; If is about the source alone.
    await put(shared, f"{name}/tmp", b"new")
    answer = await ask(
        shared,
        "MOVE",
        f"/dav/{name}/tmp",
        f"Destination: /dav/{path}",
        f"If: <http://test/dav/{path}> (<{token}>)",
        "Overwrite: T",
    )
    assert answer.status == 204
    await unlock(shared, path, token)
    assert await read(shared, path) == b"new"


@on_shared_server
async def test_libreoffice_asks_first(shared: Client, name: str) -> None:
    await make(shared, name)
    body = "<D:prop><D:supportedlock/><D:lockdiscovery/></D:prop>"
    [told] = (await propfind(shared, f"/dav/{name}", "0", body)).values()
    scopes = [each[0][0].tag for each in told.found[f"{DAV}supportedlock"]]
    assert scopes == [f"{DAV}exclusive", f"{DAV}shared"]
    assert locks_in(told) == []
