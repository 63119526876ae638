"""What trusted proxies tell is used, and what others tell is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import Mock

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, make_mocked_request

from chunkstore.core.hosts import HostPolicy, parse_host
from chunkstore.core.proxies import ProxyPolicy, parse_proxy
from chunkstore.http import create_app
from chunkstore.http.app import mount
from chunkstore.http.message import request as module
from chunkstore.http.runtime.senders import address_of, forwarded_authority_of, identify
from chunkstore.store.contract.store import Store
from tests.http import raw
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import Client

CLIENT = "198.51.100.7"
HOSTS = HostPolicy.of("127.0.0.1", [parse_host("files.example")])
FORWARDED = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https"}


@asynccontextmanager
async def behind(store: Store, *proxies: str, base_path: str = "/") -> AsyncIterator[Client]:
    policy = ProxyPolicy.of(map(parse_proxy, proxies))
    app = create_app(store, hosts=HOSTS, proxies=policy, hsts_seconds=60)
    async with TestClient(ServedAsInProduction(mount(app, base_path))) as client:
        yield client


async def status(client: Client, method: str = "GET", **headers: str) -> int:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.request(method, "/files/", headers=fields) as answer:
        return answer.status


async def test_the_host_is_the_one_that_the_proxy_was_asked_for(store: Store) -> None:
    async with behind(store, "127.0.0.1") as client:
        assert await status(client, X_Forwarded_Host="files.example") == 200
        assert await status(client, X_Forwarded_Host="evil.example") == 421
        assert await status(client, X_Forwarded_Host="not a host") == 400
        # A page whose name leads to a proxy that sets nothing of this could send it.
        assert await status(client, Host="evil.example", X_Forwarded_Host="files.example") == 421
    async with behind(store, "192.0.2.1") as client:
        assert await status(client, X_Forwarded_Host="evil.example") == 200
        assert await status(client, Host="evil.example", X_Forwarded_Host="files.example") == 421


async def move(client: Client, destination: str, **fields: str) -> int:
    await client.put("/files/a", data=b"a")
    headers = {"Destination": destination, **fields}
    async with client.request("MOVE", "/files/a", headers=headers) as answer:
        return answer.status


async def test_a_url_is_of_this_server_by_the_forwarded_host_and_scheme(store: Store) -> None:
    told = {**FORWARDED, "X-Forwarded-Host": "files.example"}
    async with behind(store, "127.0.0.1") as client:
        assert await move(client, "https://files.example/files/b", **told) in (201, 204)
        assert await move(client, "https://files.example:443/files/b", **told) in (201, 204)
        assert await move(client, "https://files.example:80/files/b", **told) == 502
        assert await move(client, "http://files.example/files/b", **told) == 502
        own = f"http://127.0.0.1:{client.port}/files/b"
        assert await move(client, own, **told) == 502
    async with behind(store, "192.0.2.1") as client:
        assert await move(client, "https://files.example/files/b", **told) == 502


async def test_a_page_may_write_by_its_own_origin_only(store: Store) -> None:
    told = {**FORWARDED, "X-Forwarded-Host": "files.example"}
    async with behind(store, "127.0.0.1") as client:

        async def put(origin: str, **fields: str) -> int:
            headers = {**fields, "Origin": origin}
            async with client.put("/files/a", data=b"", headers=headers) as answer:
                return answer.status

        assert await put("https://files.example", **told) in (201, 204)
        assert await put("http://files.example", **told) == 403
        assert await put("https://evil.example", **told) == 403


@pytest.mark.parametrize("base_path", ["/", "/store/"])
async def test_https_only_is_told_over_https_only(store: Store, base_path: str) -> None:
    async with behind(store, "127.0.0.1", base_path=base_path) as client:
        for path in (f"{base_path}health/live", "/nowhere"):
            over_https = await client.get(path, headers=FORWARDED)
            assert over_https.headers["Strict-Transport-Security"] == "max-age=60"
            over_http = await client.get(path, headers={"X-Forwarded-Proto": "http"})
            assert "Strict-Transport-Security" not in over_http.headers


async def test_memory_is_charged_to_the_client(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged: list[str] = []
    real = module.client_of

    def note(request: web.Request) -> str:
        charged.append(real(request))
        return charged[-1]

    async with behind(store, "127.0.0.1", "10.0.0.0/8") as client:
        monkeypatch.setattr(module, "client_of", note)
        for value in (CLIENT, "2001:db8:9:1::5", f"6.6.6.6, {CLIENT}, 10.1.1.1", "garbage"):
            await client.put("/files/a", data=b"", headers={"X-Forwarded-For": value})
    assert charged[:4] == [CLIENT, "2001:db8:9:1::/64", CLIENT, "127.0.0.1"]


def test_a_peer_that_has_gone_is_no_client_of_the_unix_socket() -> None:
    extra = {"peername": None, "sockname": ("127.0.0.1", 8080)}
    transport = Mock(spec=asyncio.Transport)
    transport.get_extra_info.side_effect = extra.get
    headers = {"X-Forwarded-For": CLIENT, "X-Forwarded-Host": "a.example"}
    request = make_mocked_request("GET", "/", headers=headers, transport=transport)
    identify(request, ProxyPolicy.of([parse_proxy("unix")]))
    assert address_of(request) == ""
    assert forwarded_authority_of(request) is None


async def test_underscores_are_no_hyphens(store: Store) -> None:
    async with behind(store, "127.0.0.1") as client, raw.connect(client) as connection:
        await connection.send(
            b"GET /files/ HTTP/1.1\r\nHost: localhost\r\nX_Forwarded_Host: evil.example\r\n\r\n"
        )
        assert (await connection.receive()).status == 200


async def test_forwarded_that_is_malformed_is_refused(store: Store) -> None:
    async with behind(store, "127.0.0.1") as client:
        assert await status(client, Forwarded='for="1.2.3.4') == 400
    async with behind(store, "192.0.2.1") as client:
        assert await status(client, Forwarded='for="1.2.3.4') == 200


@pytest.mark.parametrize("given", ["a", "A.b_c-9" * 9, "x" * 64])
async def test_the_id_that_a_trusted_proxy_gives_is_kept(store: Store, given: str) -> None:
    async with behind(store, "127.0.0.1") as client:
        answer = await client.get("/health/live", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == given
    async with behind(store, "192.0.2.1") as client:
        answer = await client.get("/health/live", headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] != given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"', "a/b", "é", "a,b"])
async def test_another_id_is_replaced(store: Store, given: str) -> None:
    async with behind(store, "127.0.0.1") as client:
        ids = set()
        for line in (f"X-Request-ID: {given}", "X-Request-ID: a\r\nX-Request-ID: b", "X: y"):
            async with raw.connect(client) as connection:
                await connection.send(raw.request("GET", "/health/live", line))
                answer = await connection.receive()
            assert len(answer.headers.get_all("X-Request-ID", [])) == 1
            assert len(answer.headers["X-Request-ID"]) == 16
            ids.add(answer.headers["X-Request-ID"])
        assert len(ids) == 3


@pytest.mark.parametrize("octets", [b"GARBAGE\r\n\r\n", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"])
async def test_what_reaches_no_handler_has_an_id_too(store: Store, octets: bytes) -> None:
    async with behind(store, "127.0.0.1") as client, raw.connect(client) as connection:
        await connection.send(octets)
        assert (await connection.receive()).headers["X-Request-ID"]
