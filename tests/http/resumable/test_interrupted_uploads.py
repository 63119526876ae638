"""However an upload is split, cut off and restarted: identical bytes, and their digest as ETag."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from aiohttp import ClientError
from aiohttp.test_utils import TestClient
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chunkstore.core.compression import DEFAULT_COMPRESSION
from chunkstore.http import create_app
from tests.backends import CHUNK_SIZE, FRESH, Backend
from tests.http.conftest import ServedAsInProduction
from tests.http.steps import Client

TUS = {"Tus-Resumable": "1.0.0"}
STEP_SIZES = [0, 1, 17, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE, 50_000]
STEPS = st.lists(
    st.tuples(st.sampled_from(STEP_SIZES), st.sampled_from(["send", "cut", "restart"])),
    max_size=8,
)


@asynccontextmanager
async def serving(backend: Backend) -> AsyncIterator[Client]:
    store = await backend.open(compression=DEFAULT_COMPRESSION)
    async with TestClient(
        ServedAsInProduction(create_app(store, memory=64 * 1024, limits=FRESH))
    ) as client:
        yield client
    await store.close()


async def begin(client: Client, size: int, *, tus: bool) -> str:
    name = f"filename {b64encode(b'a').decode()}"
    headers = {**TUS, "Upload-Length": str(size), "Upload-Metadata": name}
    if tus:
        async with client.post("/uploads", headers=headers) as response:
            assert response.status == 201
            return response.headers["Location"]
    async with client.put("/files/a", headers={"Upload-Complete": "?0"}) as response:
        assert response.status == 201
        return response.headers["Location"]


async def send(
    client: Client, path: str, offset: int, body: bytes, *, last: bool, cut: bool, tus: bool
) -> None:
    """Append some bytes; a `cut` breaks the connection off before the body's end."""

    async def pieces() -> AsyncIterator[bytes]:
        yield body
        if cut:
            await asyncio.sleep(0.02)
            raise ConnectionError

    headers = {"Upload-Offset": str(offset)}
    if tus:
        headers |= {**TUS, "Content-Type": "application/offset+octet-stream"}
    else:
        complete = "?1" if last else "?0"
        headers |= {"Upload-Complete": complete, "Content-Type": "application/partial-upload"}
    with contextlib.suppress(ClientError, ConnectionError):
        async with client.patch(path, headers=headers, data=pieces()) as response:
            assert response.status in (200, 201, 204), await response.text()


async def offset_of(client: Client, path: str, *, tus: bool) -> int:
    async with client.head(path, headers=TUS if tus else {}) as response:
        assert response.status in (200, 204)
        return int(response.headers["Upload-Offset"])


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS, size=st.integers(0, 10 * CHUNK_SIZE), tus=st.booleans())
async def test_any_way_leads_to_the_same_file(
    backend: Backend, steps: list[tuple[int, str]], size: int, tus: bool
) -> None:
    content = Random(size).randbytes(size)
    await backend.clear()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(serving(backend))
        path = await begin(client, size, tus=tus)
        told = 0
        for length, way in steps:
            offset = await offset_of(client, path, tus=tus)
            # What was told once is never taken back.
            assert told <= offset <= size
            told = offset
            body = content[offset : offset + length]
            await send(client, path, offset, body, last=False, cut=way == "cut", tus=tus)
            if way == "restart":
                await stack.aclose()
                client = await stack.enter_async_context(serving(backend))
        offset = await offset_of(client, path, tus=tus)
        await send(client, path, offset, content[offset:], last=True, cut=False, tus=tus)
        async with client.get("/files/a") as response:
            assert response.status == 200
            assert response.headers["ETag"] == f'"{blake3(content).hexdigest()}"'
            assert await response.read() == content
