"""HEAD: what GET would say, without the content."""

from __future__ import annotations

import pytest

from tests.http import raw
from tests.http.steps import Client, exactly, on_shared_server, put

# Those that differ between any two answers.
PASSING = {"date", "x-request-id"}


@on_shared_server
@pytest.mark.parametrize(
    "path",
    [
        "/files/{}/a.txt",
        "/files/{}/empty",
        "/files/{}/missing",
        "/files/%2e%2e",
        "/files/",
        "/files/{}/",
        "/files/{}/none/",
        "/",
        "/health/live",
        "/health/ready",
        "/nowhere",
    ],
)
async def test_head_says_what_get_says(shared: Client, name: str, path: str) -> None:
    await put(shared, f"{name}/a.txt", b"hello")
    await put(shared, f"{name}/empty", b"")
    url = exactly(path.format(name))
    got = await shared.get(url, allow_redirects=False)
    head = await shared.head(url, allow_redirects=False)
    assert head.status == got.status
    assert await head.read() == b""
    fields, head_fields = (
        {field.lower(): value for field, value in response.headers.items()}
        for response in (got, head)
    )
    for field in PASSING:
        del fields[field], head_fields[field]
    assert head_fields == fields


@on_shared_server
@pytest.mark.parametrize(
    "path", ["/files/{}", "/files/{}/missing", "/files/", "/nowhere", "/stats"]
)
async def test_nothing_follows_the_head(shared: Client, name: str, path: str) -> None:
    await put(shared, name, b"hello")
    async with raw.connect(shared) as connection:
        await connection.send(
            raw.request("HEAD", path.format(name)) + raw.request("GET", f"/files/{name}")
        )
        await connection.receive("HEAD")
        assert (await connection.receive()).body == b"hello"


@on_shared_server
@pytest.mark.parametrize("ranges", ["bytes=0-1", "bytes=99-", "bytes=-0", "bytes=0-0,2-2"])
async def test_range_means_nothing(shared: Client, name: str, ranges: str) -> None:
    # RFC 9110 §14.2: Range is defined for GET only.
    await put(shared, name, b"hello")
    response = await shared.head(f"/files/{name}", headers={"Range": ranges})
    assert response.status == 200
    assert response.headers["Content-Length"] == "5"
    assert "Content-Range" not in response.headers


@on_shared_server
async def test_range_flood_means_nothing(shared: Client, name: str) -> None:
    await put(shared, name, b"hello")
    flood = "bytes=" + ",".join(["0-"] * 2000)
    assert (await shared.head(f"/files/{name}", headers={"Range": flood})).status == 200
