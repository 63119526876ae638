"""The application mounted in another one, under a prefix."""

from __future__ import annotations

import gzip
from html.parser import HTMLParser

import pytest
from aiohttp import web
from aiohttp.pytest_plugin import AiohttpClient, AiohttpServer
from yarl import URL

from chunkstore.http import create_app
from chunkstore.store.contract.store import Store
from tests.backends import FRESH
from tests.http import raw
from tests.http.steps import BROWSER, Client, exactly, next_of, problem

CONTENT = b"content"


# The name of a part of the application itself, so that the two can be mixed up.
PREFIX = "/a/files"


@pytest.fixture
async def mounted(
    store: Store, aiohttp_server: AiohttpServer, aiohttp_client: AiohttpClient
) -> Client:
    """Return the client of an application with a page of its own and the store under PREFIX."""

    async def home(_: web.Request) -> web.Response:
        return web.Response(text="home")

    app = web.Application()
    app.router.add_get("/home", home)
    app.add_subapp(PREFIX, create_app(store, limits=FRESH))
    server = await aiohttp_server(app, auto_decompress=False)
    return await aiohttp_client(server)


class Links(HTMLParser):
    """All URLs in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.urls |= {value for name, value in attrs if name in ("href", "action", "src") and value}


async def put(client: Client, path: str) -> None:
    """Put a file."""
    async with client.put(exactly(f"{PREFIX}/files/{path}"), data=CONTENT) as response:
        assert response.status == 201


async def test_files_are_under_the_prefix(mounted: Client) -> None:
    await put(mounted, "d%20%C3%A4/a")
    async with mounted.get(exactly(f"{PREFIX}/files/d%20%C3%A4/a")) as response:
        assert await response.read() == CONTENT
    async with mounted.get(exactly(f"{PREFIX}/files/"), params={"delimiter": ""}) as response:
        assert [file["name"] for file in (await response.json())["files"]] == ["d ä/a"]
    for url in (f"{PREFIX}/", f"{PREFIX}/stats", f"{PREFIX}/health/ready"):
        assert (await mounted.get(exactly(url))).status == 200
    async with mounted.delete(exactly(f"{PREFIX}/files/d%20%C3%A4/a")) as response:
        assert response.status == 204


async def test_names_are_checked_under_the_prefix(mounted: Client) -> None:
    for path in ("%2e%2e", "a//b", "%00", "..%2f..%2fhome"):
        target = f"{PREFIX}/files/{path}"
        octets = raw.request("PUT", target, "Content-Length: 0")
        answer = await raw.ask(mounted, octets)
        assert answer.status == 400
        assert answer.json()["type"].endswith(":invalid-name")


async def test_locations_have_the_prefix(mounted: Client) -> None:
    await put(mounted, "d/a")
    host = f"{mounted.host}:{mounted.port}"
    for method, path, destination, location in [
        ("GET", "d", None, "d/"),
        ("MKCOL", "e%20%C3%A4/", None, "e%20%C3%A4/"),
        ("COPY", "d/a", f"{PREFIX}/files/b%20%C3%A4", "b%20%C3%A4"),
        ("COPY", "d/", f"http://{host}{PREFIX}/files/f/", "f/"),
    ]:
        headers = {} if destination is None else {"Destination": destination}
        url = exactly(f"{PREFIX}/files/{path}")
        async with mounted.request(method, url, headers=headers, allow_redirects=False) as response:
            assert response.status == (307 if method == "GET" else 201)
            assert response.headers["Location"] == f"{PREFIX}/files/{location}"
        async with mounted.get(exactly(f"{PREFIX}/files/{location}")) as response:
            assert response.status == 200


async def test_destination_outside_is_not_possible(mounted: Client) -> None:
    await put(mounted, "a")
    for destination in ("/home", "/stuff/files/b", f"{PREFIX}/b", f"{PREFIX}/stats"):
        headers = {"Destination": destination}
        url = exactly(f"{PREFIX}/files/a")
        async with mounted.request("MOVE", url, headers=headers) as response:
            await problem(response, 400)


async def test_pages_of_a_list_link_to_each_other(mounted: Client) -> None:
    for path in ("a", "b/a", "c/a"):
        await put(mounted, path)
    for start in (f"{PREFIX}/files/", f"{PREFIX}/"):
        url: URL | None = mounted.make_url(exactly(f"{start}?limit=1"))
        found: list[str] = []
        while url is not None:
            async with mounted.session.get(url) as response:
                told = await response.json()
                found += [file["name"] for file in told["files"]] + told["folders"]
                url = next_of(response)
        assert found == ["a", "b/", "c/"]


async def test_links_of_a_page_work(mounted: Client) -> None:
    await put(mounted, "d%20%C3%A4/a")
    await put(mounted, "d%20%C3%A4/b/a")
    for path in ("files/d%20%C3%A4/", "files/d%20%C3%A4/?limit=1", "files/", "", "nowhere"):
        async with mounted.get(exactly(f"{PREFIX}/{path}"), headers=BROWSER) as response:
            assert response.content_type == "text/html"
            urls = Links(await response.text()).urls
        assert f"{PREFIX}/files/" in urls
        assert f"{PREFIX}/static/style.css" in urls
        for url in urls:
            assert url.startswith(f"{PREFIX}/")
            assert (await mounted.get(exactly(url), headers=BROWSER)).status == 200


async def test_form_leads_back_under_the_prefix(mounted: Client) -> None:
    await put(mounted, "d/a")
    async with mounted.post(
        exactly(f"{PREFIX}/files/d/"),
        data={"delete": "d/a"},
        headers=BROWSER,
        allow_redirects=False,
    ) as response:
        assert response.status == 303
        assert response.headers["Location"] == f"{PREFIX}/files/d/"
    assert (await mounted.get(exactly(f"{PREFIX}/files/d/a"))).status == 404


async def test_errors_are_problems_under_the_prefix_alone(mounted: Client) -> None:
    await problem(await mounted.get(exactly(f"{PREFIX}/nowhere")), 404)
    response = await mounted.put(exactly(f"{PREFIX}/stats"))
    await problem(response, 405)
    assert response.headers["Allow"]
    outside = await mounted.get("/nowhere")
    assert (outside.status, outside.content_type) == (404, "text/plain")


async def test_rest_of_the_application_is_left_alone(mounted: Client) -> None:
    response = await mounted.get("/home")
    assert await response.text() == "home"
    assert "Content-Security-Policy" not in response.headers
    # Cross-site protection is the store's own, too.
    headers = {"Sec-Fetch-Site": "cross-site"}
    refused = await mounted.put(exactly(f"{PREFIX}/files/a"), data=CONTENT, headers=headers)
    assert refused.status == 403


async def test_options_under_the_prefix(mounted: Client) -> None:
    response = await mounted.options(exactly(f"{PREFIX}/files/a"))
    assert response.status == 200
    assert "PUT" in response.headers["Allow"]


async def test_encoded_content_is_not_taken_where_the_host_would_decode_it(
    store: Store, aiohttp_server: AiohttpServer, aiohttp_client: AiohttpClient
) -> None:
    # An application that mounts the store may have forgotten auto_decompress=False.
    app = web.Application()
    app.add_subapp("/store", create_app(store, limits=FRESH))
    client = await aiohttp_client(await aiohttp_server(app))
    body = gzip.compress(b"x" * 1_000_000)
    response = await client.put("/store/files/a", data=body, headers={"Content-Encoding": "gzip"})
    await problem(response, 415)
    assert (await client.get("/store/files/a")).status == 404
