"""What clients are told of concatenations whose parts became files by themselves."""

from __future__ import annotations

from chunkstore.core.digest import Digest
from chunkstore.store.contract.edits import Put, Uploaded
from chunkstore.store.contract.store import Store
from tests.http.resumable.test_tus import (
    BODY,
    TUS,
    appended,
    concatenate,
    create,
    offset_of,
    patch,
)
from tests.http.steps import Client, problem, read, status_of
from tests.store.conformance import name_of
from tests.store.upload_conformance import later

PARTIAL = {"Upload_Concat": "partial"}


async def put_part(store: Store, path: str, content: bytes) -> None:
    content_of_part = Uploaded(path.rpartition("/")[2], Digest.of(content), later())
    await store.names.apply([Put(name_of("own"), content_of_part, "text/plain")])


async def test_what_waits_for_a_part_that_became_a_file_is_told_why_it_ends(
    client: Client, store: Store
) -> None:
    part = await create(client, "", 4, **PARTIAL)
    await appended(client, part, 0, b"part")
    other = await create(client, "", 5, **PARTIAL)
    async with await concatenate(client, "a", [part, other]) as response:
        assert response.status == 201
        final = response.headers["Location"]
    await put_part(store, part, b"part")
    for _ in range(2):
        async with client.get(final, headers=TUS) as response:
            told = await problem(response, 404)
            assert "upload the parts anew" in told["detail"]
    async with await concatenate(client, "b", [part, other]) as response:
        told = await problem(response, 404)
        assert "upload the parts anew" in told["detail"]
    # The other part is an upload like any, and so is the new file.
    await appended(client, other, 0, b"other")
    assert await offset_of(client, part) == 4
    assert (await patch(client, part, 4)).status == 204
    assert (await patch(client, part, 4, b"more")).status == 400
    assert await read(client, "own") == b"part"
    assert await status_of(client, "a") == 404
    async with client.delete(final, headers=TUS) as response:
        assert response.status == 204


async def test_a_part_that_became_a_file_can_be_sent_again_as_a_part(
    client: Client, store: Store
) -> None:
    parts = []
    for content in (b"x" * 5000, b"y" * 5000):
        async with client.post(
            "/uploads",
            data=content,
            headers={**BODY, "Upload-Concat": "partial", "Upload-Length": "5000"},
        ) as response:
            assert response.status == 201
            parts.append(response.headers["Location"])
    await put_part(store, parts[0], b"x" * 5000)
    again = await create(client, "", 5000, **PARTIAL)
    await appended(client, again, 0, b"x" * 5000)
    async with await concatenate(client, "a", [again, parts[1]]) as response:
        assert response.status == 201
    assert await read(client, "a") == b"x" * 5000 + b"y" * 5000
    assert await read(client, "own") == b"x" * 5000
