"""What is refused before anything is done with a request, and what keeps answers from other sites.

Which hosts are answered for is tested in `test_hosts`.
"""

from __future__ import annotations

import pytest

from tests.http import raw
from tests.http.steps import MIB, Client, on_shared_server, put, read, status_of

pytestmark = on_shared_server


@pytest.mark.parametrize(
    ("lines", "version", "status"),
    [
        (["Transfer-Encoding: gzip, chunked"], "1.1", 501),
        (["Transfer-Encoding: identity, chunked"], "1.1", 501),
        (["Transfer-Encoding: gzip;q=1, chunked"], "1.1", 501),
        (["Transfer-Encoding: GZIP,\tChunked"], "1.1", 501),
        (["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], "1.1", 400),
        (["Transfer-Encoding: , chunked"], "1.1", 400),
        (["Transfer-Encoding: chunked, chunked"], "1.1", 400),
        (["Transfer-Encoding: chunked"], "1.0", 400),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_only_chunked_is_a_transfer_coding(
    shared: Client, name: str, method: str, lines: list[str], version: str, status: int
) -> None:
    # RFC 9112 §6.1: what is not understood is 501, what may be faulty ends the connection.
    body = raw.chunked(b"hello") + raw.LAST_CHUNK
    octets = raw.request(method, f"/files/{name}", *lines, body=body, version=version)
    async with raw.connect(shared) as connection:
        await connection.send(octets + raw.request("MKCOL", f"/files/{name}-after/"))
        answer = await connection.receive(method)
        assert answer.status == status
        assert answer.json()["status"] == status
        assert await connection.receive_rest() == b""
    assert await status_of(shared, name) == 404
    assert await status_of(shared, f"{name}-after/") == 404


@pytest.mark.parametrize("line", ["Transfer-Encoding:", "Transfer-Encoding: \t"], ids=repr)
async def test_no_transfer_coding_at_all_is_none_either(
    shared: Client, name: str, line: str
) -> None:
    octets = raw.request("PUT", f"/files/{name}", line, "Content-Length: 5", body=b"hello")
    async with raw.connect(shared) as connection:
        await connection.send(octets)
        assert (await connection.receive()).status == 400
        assert await connection.receive_rest() == b""
    assert await status_of(shared, name) == 404


async def test_chunked_is_understood_however_written(shared: Client, name: str) -> None:
    body = raw.chunked(b"hello") + raw.LAST_CHUNK
    octets = raw.request("PUT", f"/files/{name}", "Transfer-Encoding: \tChunKed ", body=body)
    assert (await raw.ask(shared, octets)).status == 201
    assert await read(shared, name) == b"hello"


@pytest.mark.parametrize(
    "octets",
    [
        b"GET /files/\r\n\r\n",
        b"GET /files/ HTTP/0.9\r\nHost: test\r\n\r\n",
        b"GET /files/ HTTP/2.0\r\nHost: test\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        b"GET /files/ HTTP/1.2\r\nHost: test\r\n\r\n",
    ],
)
async def test_other_versions_of_http_are_refused(shared: Client, octets: bytes) -> None:
    async with raw.connect(shared) as connection:
        await connection.send(octets)
        answer = await connection.receive()
        assert answer.status in (400, 505)
        assert answer.json()["status"] == answer.status
        assert await connection.receive_rest() == b""


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "h2c, websocket", "TLS/1.3"])
async def test_upgrade_is_not_taken_and_nothing_hides_behind_it(
    shared: Client, name: str, protocol: str
) -> None:
    # RFC 9110 §7.8: it may be ignored. Clients that would rather speak HTTP/2 get their answer.
    lines = [
        "Connection: Upgrade, HTTP2-Settings",
        f"Upgrade: {protocol}",
        "HTTP2-Settings: AAMAAAB",
    ]
    octets = raw.request("PUT", f"/files/{name}", *lines, "Content-Length: 5", body=b"hello")
    head = raw.request("GET", "/files/", "X: ").removesuffix(b"\r\n\r\n")
    async with raw.connect(shared) as connection:
        await connection.send(octets + head)
        await connection.send(raw.request("MKCOL", f"/files/{name}-after/"))
        answer = await connection.receive()
        assert answer.status == 201
        assert answer.headers["Connection"] == "close"
        assert await connection.receive_rest() == b""
    assert await read(shared, name) == b"hello"
    assert await status_of(shared, f"{name}-after/") == 404
    # Nor while a long answer is under way.
    await put(shared, f"{name}-large", bytes(2 * MIB))
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("GET", f"/files/{name}-large", *lines) + head)
        answer = await connection.receive()
        await connection.send(raw.request("MKCOL", f"/files/{name}-after/"))
        assert answer.body == bytes(2 * MIB)
        assert answer.headers["Connection"] == "close"
        assert await connection.receive_rest() == b""
    assert await status_of(shared, f"{name}-after/") == 404


@pytest.mark.parametrize(
    "target",
    [
        "/%66iles/{}/",
        "/file%73/{}/",
        "/%66iles/",
        "/%66iles/{}",
        "/%66iles",
        "/%75ploads",
        "/%73tats",
    ],
)
async def test_paths_are_spelled_in_one_way(shared: Client, name: str, target: str) -> None:
    # A proxy that knows rules for /files/ has none for another spelling.
    await put(shared, f"{name}/a")
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "MOVE", "MKCOL", "OPTIONS"):
        lines = (f"Destination: /files/{name}-b", "Content-Length: 0")
        octets = raw.request(method, target.format(name), *lines)
        answer = await raw.ask(shared, octets, method)
        assert answer.status == 404, method
        if method != "HEAD":
            assert name not in answer.body.decode()
    assert await read(shared, f"{name}/a") == b"content"
    assert await status_of(shared, f"{name}-b") == 404


@pytest.mark.parametrize(
    "target", ["/files/{}#b", "/files/{}#", "/files/{}?a#b", "http://test/files/{}#"]
)
async def test_no_request_has_a_fragment(shared: Client, name: str, target: str) -> None:
    await put(shared, name)
    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "COPY", "MOVE", "MKCOL", "OPTIONS"):
        lines = (f"Destination: /files/{name}-b", "Content-Length: 0")
        answer = await raw.ask(shared, raw.request(method, target.format(name), *lines), method)
        assert answer.status == 400, method
    assert await read(shared, name) == b"content"
    assert await status_of(shared, f"{name}-b") == 404


@pytest.mark.parametrize(
    "target", ["/", "/files/", "/files/{}", "/files/none", "/static/page.js", "/stats", "/nowhere"]
)
async def test_answers_are_kept_from_other_sites(shared: Client, name: str, target: str) -> None:
    await put(shared, name)
    for accept in ("text/html", "application/json"):
        octets = raw.request("GET", target.format(name), f"Accept: {accept}")
        answer = await raw.ask(shared, octets)
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors" in answer.headers["Content-Security-Policy"]
        page = answer.headers["Content-Type"].startswith("text/html")
        assert answer.headers["Cross-Origin-Opener-Policy"] == ("same-origin" if page else None)


async def test_refusals_before_a_request_is_read_are_kept_from_other_sites(shared: Client) -> None:
    for octets in (b"nonsense\r\n\r\n", raw.request("GET", "/", "X: " + "x" * 20_000)):
        answer = await raw.ask(shared, octets)
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize(
    ("site", "mode", "destination", "status"),
    [
        ("cross-site", "no-cors", "image", 403),
        ("cross-site", "no-cors", "script", 403),
        ("cross-site", "no-cors", "empty", 403),
        ("Cross-Site", "No-CORS", "image", 403),
        ("cross-site", "no-cors", "", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("cross-site", "navigate", "object", 403),
        ("cross-site", "navigate", "document", 200),
        ("cross-site", "cors", "empty", 200),
        ("same-site", "no-cors", "image", 200),
        ("same-origin", "no-cors", "image", 200),
        ("same-origin", "navigate", "iframe", 200),
        ("none", "no-cors", "image", 200),
        ("none", "navigate", "document", 200),
    ],
)
async def test_other_sites_embed_nothing(
    shared: Client, name: str, site: str, mode: str, destination: str, status: int
) -> None:
    await put(shared, name)
    lines = [f"Sec-Fetch-Site: {site}", f"Sec-Fetch-Mode: {mode}", f"Sec-Fetch-Dest: {destination}"]
    for method in ("GET", "HEAD"):
        for target in (f"/files/{name}", "/", "/files/", "/static/page.js"):
            answer = await raw.ask(shared, raw.request(method, target, *lines), method)
            assert answer.status == status
    # What is not there is refused alike, so that nothing is told.
    answer = await raw.ask(shared, raw.request("GET", f"/files/{name}-none", *lines))
    assert answer.status == (403 if status == 403 else 404)


async def test_no_other_path_stands_for_the_root(shared: Client, name: str) -> None:
    for target in ("//files/", "/files/..", "/./", "/%2e/", "/files%2f", "/files/%2e%2e/"):
        for method in ("DELETE", "POST", "COPY"):
            lines = (f"Destination: /files/{name}/", "Content-Length: 0")
            answer = await raw.ask(shared, raw.request(method, target, *lines), method)
            assert answer.status in (400, 404), (method, target)
