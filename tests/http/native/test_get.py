"""GET of a file: its bytes, its header fields, and what happens when the bytes are damaged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from blake3 import blake3

from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.conftest import Serve
from tests.http.steps import (
    MIB,
    Client,
    exactly,
    names,
    on_shared_server,
    problem,
    put,
    read,
)
from tests.store.rows import Rows

# Of the first window that is read, and of what lies far behind it.
FIRST_CHUNK = 0
LATE_CHUNK = 4 * MIB // CHUNK_SIZE


async def damage(rows: Rows, seq: int) -> None:
    """Flip the first byte of the chunk at place `seq` of the file `a`."""
    places = await rows.places(await rows.manifest_of("a"))
    _, digest = places[seq]
    content = (await rows.chunks())[digest].bytes
    assert content is not None
    await rows.set_bytes(digest, bytes([content[0] ^ 0xFF]) + content[1:])


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE, 3 * MIB + 1]
)
@on_shared_server
async def test_what_was_put_comes_out(
    shared: Client, name: str, random_bytes: RandomBytes, size: int
) -> None:
    content = random_bytes(size)
    await put(shared, name, content)
    response = await shared.get(f"/files/{name}")
    assert response.status == 200
    assert response.headers["Content-Length"] == str(size)
    assert await response.read() == content


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        # From the test vectors of BLAKE3, and from `b3sum`.
        (b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (b"abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        (
            bytes(index % 251 for index in range(102400)),
            "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
        ),
    ],
)
@on_shared_server
async def test_etag_is_the_blake3_of_the_content(
    shared: Client, name: str, content: bytes, digest: str
) -> None:
    told = await put(shared, name, content)
    response = await shared.get(f"/files/{name}")
    assert response.headers["ETag"] == f'"{digest}"'
    assert told["digest"] == digest


@on_shared_server
async def test_header_fields_of_a_file(shared: Client, name: str) -> None:
    told = await put(shared, f"{name}/a.txt", b"hello")
    response = await shared.get(f"/files/{name}/a.txt")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'inline; filename="a.txt"'
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    modified = datetime.fromisoformat(told["modified"])
    assert modified.tzinfo is not None
    assert response.headers["Last-Modified"].endswith(" GMT")
    assert parsedate_to_datetime(response.headers["Last-Modified"]) == modified.replace(
        microsecond=0, tzinfo=UTC
    )


@on_shared_server
async def test_missing_file_is_not_found(shared: Client, name: str) -> None:
    await problem(await shared.get(f"/files/{name}"), 404)


@on_shared_server
async def test_folder_without_its_slash_leads_to_the_folder(shared: Client, name: str) -> None:
    path = f"/files/{name}%20%C3%A4"
    await put(shared, f"{name}%20%C3%A4/a")
    response = await shared.get(exactly(path), allow_redirects=False)
    assert response.status == 307
    assert response.headers["Location"] == f"{path}/"


@on_shared_server
async def test_way_to_the_folder_keeps_the_query(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    query = "prefix=%C3%A4&delimiter=&x=%0D%0A"
    response = await shared.get(exactly(f"/files/{name}?{query}"), allow_redirects=False)
    assert response.status == 307
    assert response.headers["Location"] == f"/files/{name}/?{query}"


@on_shared_server
@pytest.mark.parametrize("query", ["", "?limit=1"])
async def test_root_without_its_slash_leads_to_the_root(shared: Client, query: str) -> None:
    for method in ("GET", "HEAD"):
        response = await shared.request(method, f"/files{query}", allow_redirects=False)
        # Browsers keep a 308 for good, and a file of this name could not be opened any more.
        assert response.status == 307
        assert response.headers["Location"] == f"/files/{query}"
    assert (await shared.put("/files", data=b"")).status == 405


@on_shared_server
async def test_head_of_a_download_comes_with_its_first_bytes(shared: Client, name: str) -> None:
    await put(shared, name, bytes(20 * 1024))
    reader, writer = await asyncio.open_connection(shared.host, shared.port)
    writer.write(raw.request("GET", f"/files/{name}"))
    head, _, body = (await reader.read(64 * 1024)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body
    writer.transport.abort()


@on_shared_server
async def test_http_1_0_is_answered_with_the_content_and_the_end_of_the_connection(
    shared: Client, name: str, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * CHUNK_SIZE)
    await put(shared, name, content)
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("GET", f"/files/{name}", version="1.0", host=None))
        answer = await connection.receive()
        assert answer.status == 200
        assert answer.headers["Transfer-Encoding"] is None
        assert answer.body == content
        assert await connection.receive_rest() == b""


@on_shared_server
async def test_absolute_form_of_the_target_is_understood(shared: Client, name: str) -> None:
    # RFC 9112 §3.2.2: a server must accept it.
    await put(shared, name, b"content")
    answer = await raw.ask(shared, raw.request("GET", f"http://test/files/{name}"))
    assert (answer.status, answer.body) == (200, b"content")


@on_shared_server
async def test_pipelined_requests_are_answered_in_order(shared: Client, name: str) -> None:
    paths = [f"{name}/{letter}" for letter in "abc"]
    for path in paths:
        await put(shared, path, path.encode())
    async with raw.connect(shared) as connection:
        await connection.send(b"".join(raw.request("GET", f"/files/{path}") for path in paths))
        answers = [await connection.receive() for _ in paths]
    assert [answer.body for answer in answers] == [path.encode() for path in paths]


async def test_download_goes_on_whole_when_the_file_is_replaced_and_deleted(
    client: Client, serve: Serve, random_bytes: RandomBytes
) -> None:
    # More than the network keeps of what is sent, from a server that reads little ahead.
    small = await serve(memory=MIB // 4)
    content = random_bytes(6 * MIB)
    await put(client, "a", content)
    async with small.get("/files/a") as response:
        begun = await response.content.readexactly(CHUNK_SIZE)
        await put(client, "a", b"new")
        assert await read(client, "a") == b"new"
        assert (await client.delete("/files/a")).status == 204
        assert begun + await response.content.read() == content


async def test_downloads_broken_off_give_their_memory_back(
    client: Client, serve: Serve, random_bytes: RandomBytes
) -> None:
    small = await serve(memory=2 * CHUNK_SIZE)
    await put(client, "large", random_bytes(6 * MIB))
    await put(client, "a", b"content")
    for _ in range(4):
        async with raw.connect(small) as connection:
            await connection.send(raw.request("GET", "/files/large"))
            await connection.receive_some(CHUNK_SIZE)
    assert await read(small, "a") == b"content"


async def test_many_downloads_share_a_budget_smaller_than_each(
    client: Client, serve: Serve, random_bytes: RandomBytes
) -> None:
    small = await serve(memory=CHUNK_SIZE)
    content = random_bytes(20 * CHUNK_SIZE)
    await put(client, "a", content)
    assert await asyncio.gather(*(read(small, "a") for _ in range(8))) == [content] * 8


async def test_damage_in_the_first_window_is_a_clean_error(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    await put(client, "a", random_bytes(3 * CHUNK_SIZE))
    await damage(rows, FIRST_CHUNK)
    response = await client.get("/files/a")
    assert (await problem(response, 500))["type"].endswith(":store-damaged")
    assert "ETag" not in response.headers
    assert "Content-Disposition" not in response.headers


async def test_chunk_that_is_not_whole_is_an_error(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    harms: list[Callable[[bytes, bytes], Awaitable[None]]] = [
        lambda digest, _: rows.lose_bytes(digest),
        lambda digest, _: rows.lose_places(digest),
        lambda digest, kept: rows.set_bytes(digest, kept[:10]),
        lambda digest, _: rows.set_bytes(digest, b""),
        lambda digest, _: rows.forge_digest(digest, bytes(32)),
        lambda digest, _: rows.set_codec(digest, 99),
    ]
    for number, harm in enumerate(harms):
        content = random_bytes(3 * CHUNK_SIZE)
        chunk = content[CHUNK_SIZE : 2 * CHUNK_SIZE]
        await put(client, f"n{number}", content)
        await harm(blake3(chunk).digest(), chunk)
        await problem(await client.get(f"/files/n{number}"), 500)


async def test_damage_in_a_later_window_breaks_the_connection_off(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(5 * MIB)
    await put(client, "a", content)
    await damage(rows, LATE_CHUNK)
    async with raw.connect(client) as connection:
        await connection.send(raw.request("GET", "/files/a"))
        with pytest.raises(asyncio.IncompleteReadError) as incomplete:
            await connection.receive()
    sent = incomplete.value.partial
    assert len(sent) <= 4 * MIB
    assert sent == content[: len(sent)]


async def test_damage_is_met_only_where_it_lies(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * CHUNK_SIZE)
    await put(client, "a", content)
    await damage(rows, 1)
    for first, status in ((0, 206), (CHUNK_SIZE, 500), (2 * CHUNK_SIZE, 206)):
        last = first + CHUNK_SIZE - 1
        response = await client.get("/files/a", headers={"Range": f"bytes={first}-{last}"})
        assert response.status == status
        if status == 206:
            assert await response.read() == content[first : last + 1]


async def test_damage_in_a_later_one_of_several_ranges_breaks_the_connection_off(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    await put(client, "a", random_bytes(3 * CHUNK_SIZE))
    await damage(rows, 2)
    async with raw.connect(client) as connection:
        ranges = f"Range: bytes=0-9,{2 * CHUNK_SIZE}-{2 * CHUNK_SIZE + 9}"
        await connection.send(raw.request("GET", "/files/a", ranges))
        with pytest.raises(asyncio.IncompleteReadError):
            await connection.receive()


async def test_putting_the_same_content_again_repairs_it(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * CHUNK_SIZE)
    await put(client, "a", content)
    await damage(rows, 1)
    assert (await client.get("/files/a")).status == 500
    await put(client, "a", content)
    assert await read(client, "a") == content


async def test_other_files_are_served_beside_a_damaged_one(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    await put(client, "a", random_bytes(CHUNK_SIZE))
    await damage(rows, FIRST_CHUNK)
    other = random_bytes(CHUNK_SIZE)
    await put(client, "b", other)
    assert await read(client, "b") == other
    assert await names(client) == ["a", "b"]
