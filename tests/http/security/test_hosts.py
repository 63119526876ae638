"""Hosts that a server answers for, asked as bytes on a socket (RFC 9110 §7.4, RFC 9112 §3.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient

from chunkstore.core.hosts import HostPolicy, parse_host
from chunkstore.http import create_app
from chunkstore.http.app import mount
from tests.backends import SQLiteBackend
from tests.http import raw
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import BROWSER, Client, put, read, status_of

# One server for all of these, on the loopback, where a name was given.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    backend = SQLiteBackend(tmp_path_factory.mktemp("hosts") / "hosts.db")
    store = await backend.open()
    policy = HostPolicy.of("127.0.0.1", [parse_host("files.example")])
    async with TestClient(ServedAsInProduction(create_app(store, hosts=policy))) as client:
        yield client
    await store.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def based(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Return the client of a server under a base path."""
    path: Path = tmp_path_factory.mktemp("based") / "based.db"
    store = await SQLiteBackend(path).open()
    app = create_app(store, hosts=HostPolicy.of("127.0.0.1", []))
    async with TestClient(ServedAsInProduction(mount(app, "/store/"))) as client:
        yield client
    await store.close()


async def test_a_page_whose_name_leads_here_reads_and_changes_nothing(server: Client) -> None:
    await put(server, "victim", b"content")
    host = f"evil.example:{server.port}"
    lines = (f"Origin: http://{host}", "Sec-Fetch-Site: same-origin")
    for method, target in [
        ("GET", "/"),
        ("GET", "/files/"),
        ("GET", "/files/victim"),
        ("HEAD", "/files/victim"),
        ("PUT", "/files/victim"),
        ("DELETE", "/files/victim"),
        ("POST", "/files/"),
        ("POST", "/uploads"),
        ("OPTIONS", "/files/victim"),
        ("GET", "/static/page.js"),
        ("GET", "/health/live"),
        ("GET", "/stats"),
        ("GET", "/nowhere"),
    ]:
        octets = raw.request(method, target, *lines, "Content-Length: 0", host=host)
        answer = await raw.ask(server, octets, method)
        assert answer.status == 421, (method, target)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "victim" not in answer.body.decode()
    assert await read(server, "victim") == b"content"


async def test_whoever_asks_is_told_what_lets_them_in(server: Client) -> None:
    lines = (f"Accept: {BROWSER['Accept']}",)
    answer = await raw.ask(server, raw.request("GET", "/", *lines, host="other.example:1"))
    told = answer.json()
    assert (told["status"], told["type"]) == (421, "urn:chunkstore:problem:misdirected-request")
    assert "--allow-host other.example" in told["detail"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost.:1", "127.0.0.1:80", "127.0.0.9", "[::1]:8080", "files.example"],
)
async def test_hosts_that_are_this_server(server: Client, host: str) -> None:
    assert (await raw.ask(server, raw.request("GET", "/health/live", host=host))).status == 200


@pytest.mark.parametrize("host", ["198.51.100.7", "0.0.0.0", "localhost.evil.example", "127.1"])
async def test_hosts_that_are_another(server: Client, host: str) -> None:
    assert (await raw.ask(server, raw.request("GET", "/health/live", host=host))).status == 421


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "[",
        "a b",
        "localhost, localhost",
        "user@localhost",
        "localhost:x",
        "http://localhost",
    ],
)
async def test_a_host_that_is_none_is_refused(server: Client, host: str) -> None:
    async with raw.connect(server) as connection:
        await connection.send(raw.request("GET", "/health/live", host=host))
        assert (await connection.receive()).status == 400
        assert await connection.receive_rest() == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_two_hosts_are_refused(server: Client, version: str) -> None:
    lines = ("Host: localhost", "Host: evil.example")
    for first, second in (lines, lines[::-1], (lines[0], lines[0])):
        octets = raw.request("GET", "/health/live", first, second, host=None, version=version)
        assert (await raw.ask(server, octets)).status == 400


async def test_only_an_old_version_may_name_no_host(server: Client) -> None:
    # Health checks of some balancers do; a browser never does.
    for version, status in (("1.0", 200), ("1.1", 400)):
        octets = raw.request("GET", "/health/live", host=None, version=version)
        assert (await raw.ask(server, octets)).status == status
    octets = raw.request("GET", "/health/live", host="evil.example", version="1.0")
    assert (await raw.ask(server, octets)).status == 421


async def test_an_old_version_without_host_has_no_origin(server: Client) -> None:
    octets = raw.request("PUT", "/files/x", "Origin: http://localhost", host=None, version="1.0")
    assert (await raw.ask(server, octets)).status == 403


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/health/live", 200),
        ("https://files.example:443/health/live", 200),
        ("HTTP://127.0.0.1:1/health/live", 200),
        ("http://evil.example/health/live", 421),
        ("http://evil.example:80/health/live", 421),
        ("http://user@localhost/health/live", 400),
        ("http://evil.example@localhost/health/live", 400),
        ("ftp://localhost/health/live", 400),
        ("http:///health/live", 400),
    ],
)
async def test_a_whole_url_as_target_says_the_host(
    server: Client, target: str, status: int
) -> None:
    # Host is ignored then (RFC 9112 §3.2.2).
    for host in ("localhost", "evil.example"):
        assert (await raw.ask(server, raw.request("GET", target, host=host))).status == status


async def test_the_origin_is_compared_with_the_host_of_the_target(server: Client) -> None:
    for name, origin, status in [
        ("http://localhost:81", "http://localhost:81", 201),
        ("http://localhost:82", "http://localhost", 403),
        ("http://localhost:83", "http://evil.example", 403),
    ]:
        target = f"{name}/files/{name[-2:]}"
        octets = raw.request(
            "PUT", target, f"Origin: {origin}", "Content-Length: 0", host="evil.example"
        )
        assert (await raw.ask(server, octets)).status == status


async def test_a_body_for_another_host_is_not_read(server: Client) -> None:
    smuggled = raw.request("DELETE", "/files/kept", host="localhost")
    await put(server, "kept")
    async with raw.connect(server) as connection:
        length = f"Content-Length: {len(smuggled)}"
        await connection.send(raw.request("PUT", "/files/x", length, host="evil") + smuggled)
        assert (await connection.receive()).status == 421
        assert await connection.receive_rest() == b""
    assert await status_of(server, "kept") == 200


@pytest.mark.parametrize(
    "target", ["/store/", "/store", "/store/files/", "/files/", "/nowhere", "/"]
)
async def test_nothing_is_told_under_a_base_path_either(based: Client, target: str) -> None:
    answer = await raw.ask(based, raw.request("GET", target, host="evil.example"))
    assert answer.status == 421
    answer = await raw.ask(based, raw.request("GET", target, host="localhost"))
    assert answer.status in (200, 307, 404)
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("target", ["/st%6fre/files/", "/store/%66iles/", "/store/%66iles/a"])
async def test_a_base_path_has_one_spelling(based: Client, target: str) -> None:
    for method in ("GET", "DELETE", "PUT"):
        octets = raw.request(method, target, "Content-Length: 0", host="localhost")
        assert (await raw.ask(based, octets)).status == 404


async def test_the_way_to_the_base_path_is_not_kept_for_good(based: Client) -> None:
    for method in ("GET", "HEAD"):
        answer = await raw.ask(based, raw.request(method, "/store", host="localhost"), method)
        assert answer.status == 307
        assert answer.headers["Location"] == "/store/"
