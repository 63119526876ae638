"""The dialect of Nx's remote cache; `tests/clients/test_build_caches.py` has Nx itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import RandomBytes
from tests.http import raw
from tests.http.steps import MIB, Client, exactly, on_shared_server, problem, read, status_of

pytestmark = on_shared_server

HEADERS = {"Content-Type": "application/octet-stream", "Authorization": "Bearer token"}


async def store(client: Client, entry: str, content: bytes) -> int:
    """Send an entry as Nx does; return the status."""
    async with client.put(exactly(f"/nx/{entry}"), data=content, headers=HEADERS) as response:
        return response.status


@pytest.mark.parametrize("folder", ["", "web/", "a/v1/cache/b/"])
async def test_an_entry_is_a_file_below_nx(
    shared: Client, name: str, random_bytes: RandomBytes, folder: str
) -> None:
    entry, content = f"{folder}v1/cache/{name}", random_bytes(300_000)
    async with shared.get(f"/nx/{entry}") as response:
        await problem(response, 404)
    assert await store(shared, entry, content) == 200
    async with shared.get(f"/nx/{entry}") as response:
        assert (response.status, await response.read()) == (200, content)
    async with shared.head(f"/nx/{entry}") as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == str(len(content))
    assert await read(shared, f"nx/{entry}") == content


async def test_an_entry_does_not_change_until_it_is_deleted(shared: Client, name: str) -> None:
    entry = f"v1/cache/{name}"
    assert await store(shared, entry, b"first") == 200
    for content in (b"second", b"first"):
        async with shared.put(f"/nx/{entry}", data=content, headers=HEADERS) as response:
            told = await problem(response, 409)
            assert told["type"] == "urn:chunkstore:problem:name-conflict"
    assert await read(shared, f"nx/{entry}") == b"first"
    async with shared.delete(f"/files/nx/{entry}") as response:
        assert response.status == 204
    assert await store(shared, entry, b"second") == 200


async def test_a_refusal_comes_before_the_body(shared: Client, name: str) -> None:
    entry = f"v1/cache/{name}"
    assert await store(shared, entry, b"first") == 200
    head = raw.request("PUT", f"/nx/{entry}", f"Content-Length: {64 * MIB}")
    assert (await raw.ask(shared, head)).status == 409


async def test_of_many_that_bring_an_entry_at_once_one_does(
    shared: Client, name: str, random_bytes: RandomBytes
) -> None:
    contents = [random_bytes(100_000) for _ in range(8)]
    entry = f"v1/cache/{name}"
    statuses = await asyncio.gather(*[store(shared, entry, content) for content in contents])
    assert sorted(statuses) == [200] + [409] * 7
    assert await read(shared, f"nx/{entry}") == contents[statuses.index(200)]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nx/../v1/cache/{}", 400),
        ("/nx/%2e%2e/v1/cache/{}", 400),
        ("/nx/..%2fv1/cache/{}", 404),
        ("/nx//v1/cache/{}", 400),
        ("/%6ex/v1/cache/{}", 404),
        ("/nx/{}", 404),
        ("/nx/v1/cache/", 404),
        ("/nx/v1/{}", 404),
    ],
)
async def test_no_other_path_leads_anywhere(
    shared: Client, name: str, path: str, status: int
) -> None:
    request = raw.request("PUT", path.format(name), "Content-Length: 1", body=b"a")
    assert (await raw.ask(shared, request)).status == status
    assert await status_of(shared, f"v1/cache/{name}") == 404
    assert await status_of(shared, f"nx/v1/cache/{name}") == 404


async def test_a_page_of_another_site_stores_nothing(shared: Client, name: str) -> None:
    headers = {**HEADERS, "Sec-Fetch-Site": "cross-site"}
    async with shared.put(f"/nx/v1/cache/{name}", data=b"a", headers=headers) as response:
        await problem(response, 403)
    assert await status_of(shared, f"nx/v1/cache/{name}") == 404
