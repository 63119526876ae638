"""DELETE of a file."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.steps import (
    Client,
    exactly,
    names,
    on_shared_server,
    problem,
    put,
    read,
    stats,
    status_of,
)


@on_shared_server
async def test_deleted_file_is_gone(shared: Client, name: str) -> None:
    await put(shared, name)
    response = await shared.delete(f"/files/{name}")
    assert response.status == 204
    assert await response.read() == b""
    await problem(await shared.get(f"/files/{name}"), 404)
    await problem(await shared.delete(f"/files/{name}"), 404)
    assert name not in await names(shared)


@on_shared_server
async def test_missing_file_is_not_found(shared: Client, name: str) -> None:
    assert (await problem(await shared.delete(f"/files/{name}"), 404))["type"].endswith(
        ":not-found"
    )


@on_shared_server
async def test_other_names_of_the_content_remain(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(3 * CHUNK_SIZE)
    await put(shared, name, content)
    await put(shared, f"{name}-b", content)
    before = await stats(shared)
    assert (await shared.delete(f"/files/{name}")).status == 204
    assert await read(shared, f"{name}-b") == content
    after = await stats(shared)
    assert after["contents"] == before["contents"]
    assert after["logical_size"] == before["logical_size"] - len(content)


@on_shared_server
async def test_name_is_free_again(shared: Client, name: str) -> None:
    await put(shared, name, b"old")
    await shared.delete(f"/files/{name}")
    response = await shared.put(f"/files/{name}/below", data=b"new")
    assert response.status == 201
    assert await read(shared, f"{name}/below") == b"new"


@on_shared_server
@pytest.mark.parametrize("header", ["Content-Length: 4", "Transfer-Encoding: chunked"])
async def test_body_has_no_meaning(shared: Client, name: str, header: str) -> None:
    await put(shared, name)
    async with raw.connect(shared) as connection:
        # The body is not sent: the answer must not wait for it.
        await connection.send(raw.request("DELETE", f"/files/{name}", header))
        assert (await connection.receive()).status == 415
    assert await status_of(shared, name) == 200


@on_shared_server
async def test_empty_body_is_no_body(shared: Client, name: str) -> None:
    await put(shared, name)
    octets = raw.request("DELETE", f"/files/{name}", "Content-Length: 0")
    assert (await raw.ask(shared, octets)).status == 204


@on_shared_server
async def test_nothing_follows_the_answer(shared: Client, name: str) -> None:
    await put(shared, name)
    async with raw.connect(shared) as connection:
        await connection.send(
            raw.request("DELETE", f"/files/{name}") + raw.request("GET", f"/files/{name}")
        )
        answer = await connection.receive()
        assert answer.status == 204
        # RFC 9110 §8.6: a 204 has no Content-Length.
        assert answer.headers["Content-Length"] is None
        assert (await connection.receive()).status == 404


@on_shared_server
async def test_folder_is_deleted_without_its_slash_too(shared: Client, name: str) -> None:
    # RFC 4918 §5.2
    await put(shared, f"{name}/a")
    await put(shared, f"{name}b/a")
    for lines in (["If-Match: *"], ["Depth: infinity"]):
        assert (await raw.ask(shared, raw.request("MKCOL", f"/files/{name}-b"))).status == 201
        octets = raw.request("DELETE", f"/files/{name}-b", *lines)
        assert (await raw.ask(shared, octets)).status == 204
    for lines, status in [(['If-Match: "x"'], 412), (["Depth: 0"], 400)]:
        octets = raw.request("DELETE", f"/files/{name}", *lines)
        assert (await raw.ask(shared, octets)).status == status
    assert await status_of(shared, f"{name}/a") == 200
    assert (await shared.delete(f"/files/{name}")).status == 204
    assert await status_of(shared, f"{name}/a") == 404
    assert await status_of(shared, f"{name}b/a") == 200
    await problem(await shared.delete(f"/files/{name}"), 404)


@on_shared_server
async def test_name_is_found_in_either_normal_form(shared: Client, name: str) -> None:
    await put(shared, f"{name}%C3%A4")
    assert (await shared.delete(exactly(f"/files/{name}a%CC%88"))).status == 204
    assert await status_of(shared, f"{name}%C3%A4") == 404


@on_shared_server
async def test_of_many_that_delete_at_once_one_succeeds(shared: Client, name: str) -> None:
    await put(shared, name)

    async def delete() -> int:
        async with shared.delete(f"/files/{name}") as response:
            return response.status

    assert sorted(await asyncio.gather(*(delete() for _ in range(6)))) == [204] + [404] * 5
