"""Every way into the server cuts alike: PUT, forms, tus and the draft."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from typing import Final

import pytest
from aiohttp import FormData, web
from aiohttp.pytest_plugin import AiohttpClient, AiohttpServer
from aiohttp.test_utils import TestClient

from chunkstore.core.chunkers import Chunking, chunking_of
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE
from chunkstore.core.names import parse_file_name
from chunkstore.http import create_app
from chunkstore.store.contract.store import Store
from tests.backends import Backend
from tests.conftest import RandomBytes
from tests.store.edits import get_file

MIB: Final = 1024 * 1024
Client = TestClient[web.BaseRequest, None]


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """Return an empty store with chunks as large as usual."""
    opened = await backend.open(chunk_size=DEFAULT_CHUNK_SIZE)
    yield opened
    await opened.close()


async def put(client: Client, name: str, content: bytes) -> None:
    async with client.put(f"/files/{name}", data=BytesIO(content)) as response:
        assert response.status == 201


async def send_form(client: Client, name: str, content: bytes) -> None:
    form = FormData()
    form.add_field("file", BytesIO(content), filename=name)
    async with client.post("/files/", data=form) as response:
        assert response.status == 201


async def send_by_tus(client: Client, name: str, content: bytes) -> None:
    fields = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": str(len(content)),
        "Upload-Metadata": f"filename {b64encode(name.encode()).decode()}",
        "Content-Type": "application/offset+octet-stream",
    }
    async with client.post("/uploads/", headers=fields, data=BytesIO(content[:MIB])) as response:
        assert response.status == 201
        location = response.headers["Location"]
    fields = {**fields, "Upload-Offset": str(MIB)}
    async with client.patch(location, headers=fields, data=BytesIO(content[MIB:])) as response:
        assert response.status == 204


async def send_by_draft(client: Client, name: str, content: bytes) -> None:
    fields = {"Upload-Complete": "?0"}
    async with client.put(
        f"/files/{name}", headers=fields, data=BytesIO(content[:MIB])
    ) as response:
        assert response.status == 201
        location = response.headers["Location"]
    fields = {
        "Upload-Complete": "?1",
        "Upload-Offset": str(MIB),
        "Content-Type": "application/partial-upload",
    }
    async with client.patch(location, headers=fields, data=BytesIO(content[MIB:])) as response:
        assert response.status == 201


WAYS_IN: Final[dict[str, Callable[[Client, str, bytes], Awaitable[None]]]] = {
    "put": put,
    "form": send_form,
    "tus": send_by_tus,
    "draft": send_by_draft,
}


@pytest.mark.parametrize("chunking", Chunking)
async def test_every_way_in_cuts_alike(
    store: Store,
    aiohttp_server: AiohttpServer,
    aiohttp_client: AiohttpClient,
    random_bytes: RandomBytes,
    chunking: Chunking,
) -> None:
    app = create_app(store, chunking=chunking)
    client = await aiohttp_client(await aiohttp_server(app, auto_decompress=False))
    content = bytes(257) + b"ustar" + random_bytes(5 * MIB)
    lists = set()
    for name, send in WAYS_IN.items():
        await send(client, name, content)
        manifest = (await get_file(store, parse_file_name(name))).manifest
        # By what it is, auto cuts it like cdc.
        assert (chunking_of(manifest) is Chunking.FIXED) == (chunking is Chunking.FIXED)
        lists.add(manifest.list_digest)
        async with client.get(f"/files/{name}") as response:
            assert await response.read() == content
    assert len(lists) == 1
