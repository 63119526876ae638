"""What a real server holds of bytes that clients send and do not take: within its budget.

Memory is the process's anonymous pages, so bounds are coarse; what is counted is exact in
`tests/service/test_memory.py`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.test_utils import TestClient

from chunkstore.core.errors import ChunkstoreError
from chunkstore.core.manifest import ChunkList
from chunkstore.http import create_app
from chunkstore.service.ingest import Receiver
from chunkstore.store.contract.store import Store
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.conftest import Address, Serve, ServedAsInProduction, ServeLimited
from tests.http.native.test_batch import apply, delete, put_of, upload
from tests.http.runtime.test_slow_clients import memory_is_back, stalled_download
from tests.http.steps import MIB, put, read, wait_until
from tests.process import ServerProcess, served

CHUNKED: Final = "Transfer-Encoding: chunked"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with served(tmp_path, "--min-free", "0") as process:
        yield process


def address_of(server: ServerProcess) -> Address:
    return Address("127.0.0.1", server.port)


async def all_is_read(server: ServerProcess) -> None:
    """Wait until nothing that clients sent is left in the kernel."""
    port = f":{server.port:04X}"

    async def is_read() -> bool:
        rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        unsent = [row[4][:8] for row in rows if row[2].endswith(port)]
        unread = [row[4][9:] for row in rows if row[1].endswith(port)]
        # A listening socket's queue is of connections.
        return not any(int(size, 16) for size in unsent + unread)

    await wait_until(is_read)


async def test_a_body_that_is_left_keeps_no_later_request_from_being_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def leave(receiver: Receiver, pieces: AsyncIterable[bytes]) -> None:
        async for _ in pieces:
            error = ChunkstoreError("refused")
            # Its traceback has this frame, so the body's reader stays until it is collected.
            raise error

    monkeypatch.setattr(Receiver, "receive", leave)
    gc.disable()
    try:
        async with (
            TestClient(ServedAsInProduction(create_app(store))) as client,
            raw.connect(client) as connection,
            asyncio.timeout(10),
        ):
            for _ in range(3):
                body = raw.chunked(b"x" * 100, b"y" * 100) + raw.LAST_CHUNK
                await connection.send(raw.request("PUT", "/files/a", CHUNKED) + body)
                assert (await connection.receive()).status == 500
    finally:
        gc.enable()


@pytest.mark.parametrize("size", [1, 2, 13])
async def test_body_in_tiny_http_chunks_takes_its_bytes(server: ServerProcess, size: int) -> None:
    before = server.anonymous_memory()
    pieces = raw.chunked(*[bytes(size)] * 1000)
    async with raw.connect(address_of(server)) as connection:
        await connection.send(raw.request("PUT", "/files/a", CHUNKED, host="127.0.0.1"))
        for _ in range(200):
            await connection.send(pieces)
        await all_is_read(server)
        # One by one they would be 60 MiB.
        assert server.anonymous_memory() - before < 16 * MIB
        await connection.send(raw.LAST_CHUNK)
        answer = await connection.receive()
        assert answer.json()["size"] == 200 * 1000 * size


async def test_readers_that_read_nothing_stop_neither_uploads_nor_downloads(
    limited: ServeLimited, random_bytes: RandomBytes
) -> None:
    server = await limited(memory=2 * MIB, stall_seconds=0.2, idle_seconds=0)
    content = random_bytes(12 * MIB)
    await put(server.client, "a", content)
    async with AsyncExitStack() as readers:
        stalled = [
            await readers.enter_async_context(stalled_download(server.client, "a"))
            for _ in range(300)
        ]
        # All of them have begun, so what they left to others is left for good.
        for reader in stalled[:20]:
            await reader.receive_some(1)
        async with asyncio.timeout(60):
            assert (await put(server.client, "b", content[:MIB]))["size"] == MIB
            assert await read(server.client, "a") == content
        # What was given back is read again when its client goes on.
        body = (await stalled[0].receive_some(8 * MIB)).partition(b"\r\n\r\n")[2]
        assert content.startswith(body)
    await memory_is_back(server)


async def test_window_is_kept_for_a_client_that_rests_while_nobody_wants_it(
    limited: ServeLimited, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await limited(stall_seconds=0.01, idle_seconds=0)
    await put(server.client, "a", bytes(12 * MIB))
    reads: list[int] = []
    read_chunks = store.contents.read

    async def noted(chunks: ChunkList, start: int, *bounds: Any) -> bytes:  # noqa: ANN401
        reads.append(start)
        return await read_chunks(chunks, start, *bounds)

    monkeypatch.setattr(store.contents, "read", noted)
    async with stalled_download(server.client, "a") as resting:
        await resting.receive_some(6 * MIB)
        await resting.receive_some(6 * MIB)
    assert len(reads) == len(set(reads))
    await memory_is_back(server)


async def test_uploads_that_stop_stop_neither_uploads_nor_downloads(
    limited: ServeLimited, random_bytes: RandomBytes
) -> None:
    server = await limited(memory=2 * MIB, stall_seconds=0.1, idle_seconds=0)
    content = random_bytes(MIB)
    await put(server.client, "a", content)
    async with AsyncExitStack() as uploads:
        stopped = [
            await uploads.enter_async_context(raw.connect(server.client)) for _ in range(600)
        ]
        for number, upload in enumerate(stopped):
            octets = raw.request("PUT", f"/files/{number}", "Content-Length: 4099", body=b"x")
            await upload.send(octets)
        async with asyncio.timeout(60):
            assert await read(server.client, "a") == content
            assert (await put(server.client, "b", content))["new_chunks"] == 0
        # Each goes on where it was.
        await stopped[0].send(bytes(4098))
        assert (await stopped[0].receive()).json()["size"] == 4099
    await memory_is_back(server)


async def test_uploads_of_one_address_that_stop_make_room_for_another(
    limited: ServeLimited, random_bytes: RandomBytes
) -> None:
    server = await limited(memory=2 * MIB, stall_seconds=0.1, idle_seconds=0)
    content = random_bytes(MIB)
    async with AsyncExitStack() as uploads:
        stopped = [
            await uploads.enter_async_context(raw.connect(server.client)) for _ in range(600)
        ]
        for number, upload in enumerate(stopped):
            octets = raw.request("PUT", f"/files/{number}", "Content-Length: 4096")
            await upload.send(octets + bytes(4095))
        reader, writer = await asyncio.open_connection(
            server.client.host, server.client.port, local_addr=("127.0.0.2", 0)
        )
        other = raw.Connection(reader, writer)
        sending = raw.request("PUT", "/files/b", f"Content-Length: {len(content)}") + content
        await other.send(sending)
        assert (await other.receive()).status == 201
        writer.transport.abort()
    await memory_is_back(server)


async def test_batches_that_never_come_keep_nobody_from_uploading(limited: ServeLimited) -> None:
    server = await limited(memory=MIB, idle_seconds=0, stall_seconds=0.01)
    head = ("Content-Type: application/jsonl", f"Content-Length: {MIB}")
    async with AsyncExitStack() as waiting:
        for _ in range(100):
            connection = await waiting.enter_async_context(raw.connect(server.client))
            await connection.send(raw.request("POST", "/batch", *head, body=b'{"edit": '))
        await put(server.client, "a", bytes(4 * CHUNK_SIZE))
        [told] = await apply(server.client, delete("a"))
        assert told == {"replaced": False}


async def test_what_is_put_is_read_within_the_least_memory(serve: Serve) -> None:
    content = bytes(range(256)) * 2800
    url = await upload(await serve(), content)
    # Another process, which has not seen the bytes, and has memory for one chunk at a time.
    client = await serve(memory=CHUNK_SIZE)
    await apply(client, put_of("a", url))
    assert await read(client, "a") == content
