"""What nearly every test of the HTTP interface does on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any, Final, TypeAlias

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from yarl import URL

Client: TypeAlias = TestClient[Any, Any]
Json: TypeAlias = dict[str, Any]

# For tests that use the fixture `shared`, whose server lives in the session's event loop.
on_shared_server = pytest.mark.asyncio(loop_scope="session")

MIB: Final = 1024 * 1024
BROWSER: Final = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
_PATIENCE_SECONDS: Final = 20


def exactly(path: str) -> URL:
    """Return the URL of a path that the client must send as it is."""
    return URL(path, encoded=True)


async def put(client: Client, path: str, content: bytes = b"content", **headers: str) -> Json:
    """Put a file that is welcome; return what the server tells of it."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    # A type that the client makes up would keep the server from guessing one.
    skipped = () if "Content-Type" in fields else ("Content-Type",)
    async with client.put(
        exactly(f"/files/{path}"), data=BytesIO(content), headers=fields, skip_auto_headers=skipped
    ) as response:
        assert response.status in (200, 201), await response.text()
        described: Json = await response.json()
        return described


async def read(client: Client, path: str) -> bytes:
    """Return the content of a file that there is."""
    async with client.get(exactly(f"/files/{path}")) as response:
        assert response.status == 200, await response.text()
        return await response.read()


async def status_of(client: Client, path: str) -> int:
    """Return the status of a HEAD of the file."""
    async with client.head(exactly(f"/files/{path}"), allow_redirects=False) as response:
        return response.status


async def names(client: Client) -> list[str]:
    """Return the names of all files, of however many pages."""
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        async with client.get("/files/", params={"delimiter": "", **after}) as response:
            assert response.status == 200
            page = await response.json()
        found += [file["name"] for file in page["files"]]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def stats(client: Client) -> Json:
    """Return what the store holds."""
    async with client.get("/stats") as response:
        assert response.status == 200
        held: Json = await response.json()
        return held


async def problem(response: ClientResponse, status: int) -> Json:
    """Return the problem document (RFC 9457) that the response with `status` must be."""
    body = await response.read()
    assert response.status == status, body
    assert response.content_type == "application/problem+json"
    document: Json = await response.json(content_type=None)
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status
    assert document["type"].startswith("urn:chunkstore:problem:")
    assert document["title"]
    assert document["detail"]
    return document


def next_of(response: ClientResponse) -> URL | None:
    """Return what the Link header names, as the client's own parser reads it (RFC 8288)."""
    if "Link" not in response.headers:
        return None
    url = response.links["next"]["url"]
    assert isinstance(url, URL)
    return url


async def wait_until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what happens in the server after an answer, or without one."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
