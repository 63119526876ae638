"""What packs and lists take of a server: memory within its budget, and no other's time."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import pytest

from chunkstore.core.chunk_lists import DIGESTS, MANIFEST
from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import DEFAULT_COMPRESSION, Compression
from chunkstore.core.packs import PACK
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.chunks.steps import (
    RAW,
    append,
    begin,
    cut,
    held,
    manifest_of,
    missing,
    pack,
    pack_of,
    put_list,
    send,
)
from tests.http.conftest import Address, Serve, ServeLimited
from tests.http.runtime.test_slow_clients import memory_is_back, stalled_download
from tests.http.steps import MIB, put, read
from tests.process import served

KIB: Final = 1024


async def test_packs_are_received_within_the_budget(tmp_path: Path) -> None:
    chunk = Chunk.of(bytes(256 * KIB))
    # Of 40 bytes each, that decode to 64 MiB together.
    body = pack_of([chunk], Compression(1)) * 256
    assert len(body) < 32 * KIB
    with served(tmp_path, "--min-free", "0", "--memory", "2MiB") as server:
        address = Address("127.0.0.1", server.port)
        before = server.anonymous_memory()
        begun = raw.request("POST", "/manifests/a", "Content-Length: 0", host="127.0.0.1")
        path = (await raw.ask(address, begun, "POST")).headers["Location"]
        octets = raw.request(
            "POST", f"{path}/chunks", f"Content-Type: {PACK}", f"Content-Length: {len(body)}",
            body=body, host="127.0.0.1",
        )  # fmt: skip
        answers = await asyncio.gather(*(raw.ask(address, octets, "POST") for _ in range(16)))
        assert [answer.json() for answer in answers] == [{"received": 256}] * 16
        assert server.anonymous_memory() - before < 32 * MIB


async def test_all_of_it_works_with_memory_for_one_chunk(
    serve: Serve, new_bytes: RandomBytes
) -> None:
    client = await serve(memory=CHUNK_SIZE)
    content = new_bytes(60 * CHUNK_SIZE) + bytes(60 * CHUNK_SIZE) + b"tail"
    chunks = cut(content)
    async with asyncio.timeout(60):
        path = await begin(client, "a")
        for body, form in ((pack_of(chunks, DEFAULT_COMPRESSION), PACK), (content, RAW)):
            assert (await send(client, path, body, form)).status == 200
        assert (await append(client, path, chunks)).status == 201
        assert (await put_list(client, "b", manifest_of(chunks[::-1]))).status == 201
        assert await missing(client, chunks) == b""
        assert await read(client, "a") == content
        assert {one.digest for one in await pack(client, "a", "0-")} == {
            one.digest for one in chunks
        }
        async with client.get("/manifests/a") as listed:
            assert await listed.read() == manifest_of(chunks)


async def test_packs_and_lists_that_stop_stop_no_others(
    limited: ServeLimited, new_bytes: RandomBytes
) -> None:
    server = await limited(memory=2 * MIB, stall_seconds=0.05, idle_seconds=0)
    client = server.client
    content = new_bytes(MIB)
    await put(client, "a", content)
    path = await begin(client, "b")
    record = pack_of(cut(content))[: CHUNK_SIZE + 44 + 100]
    listed = manifest_of(cut(content))[:50]
    async with AsyncExitStack() as stopped:
        for number in range(200):
            for target, form, body in (
                (f"POST {path}/chunks", PACK, record),
                (f"POST {path}/chunks", RAW, content[: CHUNK_SIZE + 1]),
                (f"PATCH {path}", MANIFEST, listed),
                ("POST /chunks/missing", DIGESTS, listed[:33]),
                ("POST /packs/a", "text/plain", b"0-"),
                (f"PUT /manifests/{number}", MANIFEST, listed),
            ):
                connection = await stopped.enter_async_context(raw.connect(client))
                await connection.send(
                    raw.request(
                        *target.split(" "),
                        f"Content-Type: {form}",
                        "Content-Length: 99999",
                        "Upload-Offset: 0",
                        body=body,
                    )
                )
        async with asyncio.timeout(60):
            assert await read(client, "a") == content
            assert (await put(client, "c", content))["new_chunks"] == 0
            other = await begin(client, "d")
            assert (await send(client, other, content, RAW)).status == 200
            assert (await append(client, other, cut(content))).status == 200 + 1
    await memory_is_back(server)


@pytest.mark.parametrize(("root", "count"), [("/packs/", 60), ("/manifests/", 20)])
async def test_readers_that_read_nothing_stop_neither_uploads_nor_downloads(
    limited: ServeLimited, new_bytes: RandomBytes, root: str, count: int
) -> None:
    server = await limited(memory=2 * MIB, stall_seconds=0.1, idle_seconds=0)
    client = server.client
    if root == "/packs/":
        content = new_bytes(6 * MIB)
        await put(client, "a", content)
        expected = pack_of(cut(content))
        target = "a?ranges=0-"
    else:
        # A list of some MiB, of few chunks.
        chunks = cut(new_bytes(64), 1) * 1000
        content = b"".join(one.content for one in chunks)
        path = await begin(client, "a")
        await send(client, path, pack_of(chunks[:64]))
        assert (await append(client, path, chunks)).status == 201
        async with client.get("/manifests/a") as listed:
            expected = await listed.read()
        target = "a"
    async with AsyncExitStack() as readers:
        stalled = [
            await readers.enter_async_context(stalled_download(client, target, root))
            for _ in range(count)
        ]
        for reader in stalled[:12]:
            await reader.receive_some(1)
        async with asyncio.timeout(60):
            assert (await put(client, "b", new_bytes(MIB)))["size"] == MIB
            assert await read(client, "a") == content
        # What was given back is read again when its client goes on, and nothing comes twice.
        assert (await stalled[12].receive()).body == expected
    await memory_is_back(server)


async def test_a_broken_upload_of_each_kind_gives_its_memory_back(
    limited: ServeLimited, new_bytes: RandomBytes
) -> None:
    server = await limited(memory=8 * MIB)
    content = new_bytes(3 * MIB)
    path = await begin(server.client, "a")
    for form, body in ((PACK, pack_of(cut(content))), (RAW, content)):
        octets = raw.request(
            "POST", f"{path}/chunks", f"Content-Type: {form}", f"Content-Length: {len(body)}",
            body=body[:-1],
        )  # fmt: skip
        async with raw.connect(server.client) as connection:
            await connection.send(octets)
        await memory_is_back(server)
    kept = await held(server.client, path)
    assert kept <= {one.digest for one in cut(content)}


async def test_what_came_is_the_same_however_it_was_cut(
    limited: ServeLimited, new_bytes: RandomBytes
) -> None:
    server = await limited(memory=MIB)
    content = new_bytes(40 * CHUNK_SIZE + 11)
    body = pack_of(cut(content), DEFAULT_COMPRESSION)
    for size in (1, 43, 44, 4139, 100_000):
        path = await begin(server.client, f"a{size}")
        octets = raw.request(
            "POST", f"{path}/chunks", f"Content-Type: {PACK}", "Transfer-Encoding: chunked"
        )
        most = body if size > 1 else body[: 2 * CHUNK_SIZE]
        pieces = [most[at : at + size] for at in range(0, len(most), size)]
        async with raw.connect(server.client) as connection:
            await connection.send(octets + raw.chunked(*pieces) + raw.LAST_CHUNK)
            answer = await connection.receive("POST")
        assert answer.status == (200 if size > 1 else 400)
        if size > 1:
            assert (await append(server.client, path, cut(content))).status == 201
            assert await read(server.client, f"a{size}") == content


async def test_a_list_that_its_head_tells_to_be_too_long_is_not_waited_for(
    limited: ServeLimited,
) -> None:
    server = await limited(memory=MIB)
    for method, path in (("POST", "/chunks/missing"), ("PUT", "/manifests/a")):
        head = raw.request(
            method, path, f"Content-Type: {DIGESTS}", "Content-Length: 2000000",
            "Expect: 100-continue",
        )  # fmt: skip
        answer = await raw.ask(server.client, head, method)
        assert (answer.status, answer.json()["type"]) == (413, "urn:chunkstore:problem:too-large")


async def test_an_answer_that_has_begun_breaks_off_if_its_upload_ends(serve: Serve) -> None:
    client = await serve()
    path = await begin(client, "a")
    tiny = [Chunk.of(number.to_bytes(4, "big")) for number in range(16_384)]
    for _ in range(8):
        assert (await send(client, path, pack_of(tiny))).status == 200
    # More than the sockets of both sides take.
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, (client.host, client.port))
        await loop.sock_sendall(slow, raw.request("GET", f"{path}/chunks"))
        head = await loop.sock_recv(slow, KIB)
        assert head.startswith(b"HTTP/1.1 200")
        async with client.delete(path) as answer:
            assert answer.status == 204
        octets = head
        with suppress(ConnectionError):
            while part := await loop.sock_recv(slow, MIB):
                octets += part
    assert octets.count(b"HTTP/1.1") == 1
    assert not octets.endswith(raw.LAST_CHUNK)
