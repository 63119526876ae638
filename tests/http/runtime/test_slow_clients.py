"""Clients that are slow, silent or too many: what becomes of them, and that others do not notice.

Limits are short here. Who must be cut off gets much time to be; who must not be is compared with
one who is.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import pytest

from chunkstore.service.memory import Use
from tests.http import raw
from tests.http.conftest import Limited, ServeLimited
from tests.http.steps import MIB, Client, names, put, read, stats, status_of, wait_until

FORM: Final = "Content-Type: multipart/form-data; boundary=b"
PART: Final = b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\ncontent'
# More than all buffers on the way to a client hold.
LARGE: Final = 8 * MIB
SOON: Final = 0.4
# Long enough for one who does something to do it in time on a busy machine.
LATER: Final = 3.0


@asynccontextmanager
async def stalled_download(
    client: Client, name: str, root: str = "/files/", *headers: str
) -> AsyncIterator[raw.Connection]:
    """Ask for a file, or for what lies under another root, and take no more than buffers do."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connected.setblocking(False)
    assert client.port is not None
    await asyncio.get_running_loop().sock_connect(connected, (client.host, client.port))
    reader, writer = await asyncio.open_connection(sock=connected, limit=1024)
    try:
        connection = raw.Connection(reader, writer)
        await connection.send(raw.request("GET", f"{root}{name}", *headers))
        yield connection
    finally:
        writer.transport.abort()


async def is_cut_off(connection: raw.Connection) -> None:
    """Wait for the server to break the connection off."""
    try:
        await connection.receive_rest()
    except ConnectionError:
        return


async def answers(connection: raw.Connection) -> None:
    """Make sure that a request on the connection is answered."""
    await connection.send(raw.request("GET", "/health/live"))
    assert (await connection.receive()).status == 200


async def memory_is_back(server: Limited) -> None:
    """Wait until no byte is reserved."""

    async def is_back() -> bool:
        return server.budget.free == server.budget.limit

    await wait_until(is_back)


# Connections and heads of requests.


async def test_silent_connection_is_closed(limited: ServeLimited) -> None:
    server = await limited(head_seconds=SOON)
    async with raw.connect(server.client) as connection:
        assert await connection.receive_rest() == b""


@pytest.mark.parametrize("octets", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n"])
@pytest.mark.parametrize("first", [True, False])
async def test_head_that_does_not_end_is_answered_with_408(
    limited: ServeLimited, octets: bytes, first: bool
) -> None:
    server = await limited(head_seconds=SOON)
    async with raw.connect(server.client) as connection:
        if not first:
            await answers(connection)
        await connection.send(octets)
        answer = await connection.receive()
        assert answer.status == 408
        assert answer.headers["Connection"] == "close"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Date"]
        assert answer.json()["type"] == "urn:chunkstore:problem:slow-request"
        assert await connection.receive_rest() == b""


async def test_head_that_comes_byte_by_byte_is_cut_off(limited: ServeLimited) -> None:
    server = await limited(head_seconds=SOON)
    async with raw.connect(server.client) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):  # noqa: PT012 - one of many is refused
            while True:
                await connection.send(b"x")
                await asyncio.sleep(0.01)


async def test_connection_between_requests_may_be_silent_for_longer(limited: ServeLimited) -> None:
    server = await limited(head_seconds=SOON)
    async with raw.connect(server.client) as patient, raw.connect(server.client) as silent:
        await answers(patient)
        assert await silent.receive_rest() == b""
        await answers(patient)


async def test_no_limit_on_time(limited: ServeLimited) -> None:
    server = await limited(head_seconds=0, idle_seconds=0, min_rate=0)
    assert (await put(server.client, "a"))["size"] == 7


# Bodies that come slowly.


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (("PUT", "/files/a", "Content-Length: 9"), b""),
        (("PUT", "/files/a", "Content-Length: 9"), b"content"),
        (("PUT", "/files/a", "Content-Length: 100000"), bytes(80_000)),
        (("PUT", "/files/a", "Transfer-Encoding: chunked"), raw.chunked(b"content")),
        (("PUT", "/files/a", "Transfer-Encoding: chunked"), b"5\r\nco"),
        (("POST", "/files/", FORM, "Content-Length: 1000"), b""),
        (("POST", "/files/", FORM, "Content-Length: 1000"), b"--b\r\nContent-Dispos"),
        (("POST", "/files/", FORM, "Content-Length: 1000"), PART),
        (("POST", "/files/", FORM, "Content-Length: 1000"), PART + b"\r\n--b\r\n"),
        (
            (
                "POST",
                "/files/",
                "Content-Type: application/x-www-form-urlencoded",
                "Content-Length: 9",
            ),
            b"delete=",
        ),
    ],
    ids=[
        "nothing",
        "a piece",
        "chunks",
        "a chunked piece",
        "half a chunked piece",
        "an empty form",
        "half a part's head",
        "half a part",
        "one part of two",
        "fields",
    ],
)
async def test_body_that_stops_leaves_nothing(
    limited: ServeLimited, lines: tuple[str, ...], body: bytes
) -> None:
    server = await limited(idle_seconds=SOON)
    async with raw.connect(server.client) as connection:
        await connection.send(raw.request(*lines, body=body))
        answer = await connection.receive()
        assert answer.status == 408
        assert answer.headers["Connection"] == "close"
        assert answer.json()["type"] == "urn:chunkstore:problem:slow-request"
    assert await names(server.client) == []
    assert (await stats(server.client))["contents"] == 0
    await memory_is_back(server)


async def test_body_slower_than_the_floor_is_ended(limited: ServeLimited) -> None:
    server = await limited(idle_seconds=SOON, min_rate=MIB)
    octets = raw.request("PUT", "/files/a", "Content-Length: 1000000")
    async with raw.connect(server.client) as connection:
        await connection.send(octets)
        receiving = asyncio.create_task(connection.receive())
        while not receiving.done():
            await connection.send(b"x")
            await asyncio.wait({receiving}, timeout=0.01)
        assert receiving.result().status == 408
    assert await status_of(server.client, "a") == 404


async def test_body_slow_but_not_too_slow_is_stored(limited: ServeLimited) -> None:
    server = await limited(idle_seconds=LATER, min_rate=1)
    octets = raw.request("PUT", "/files/a", "Transfer-Encoding: chunked")
    async with raw.connect(server.client) as steady, raw.connect(server.client) as stopped:
        await stopped.send(octets)
        await steady.send(octets)
        waiting = asyncio.create_task(stopped.receive())
        while not waiting.done():
            await steady.send(raw.chunked(b"x"))
            await asyncio.wait({waiting}, timeout=0.05)
        assert waiting.result().status == 408
        await steady.send(raw.LAST_CHUNK)
        assert (await steady.receive()).status == 201


async def test_client_that_the_server_makes_wait_loses_no_time(limited: ServeLimited) -> None:
    server = await limited(idle_seconds=SOON)
    body = b"content" * 10_000
    octets = raw.request("PUT", "/files/a", f"Content-Length: {len(body)}")
    async with raw.connect(server.client) as patient, raw.connect(server.client) as stopped:
        with await server.budget.account(Use.UPLOAD).reserve(MIB, MIB):
            await patient.send(octets + body)
            await stopped.send(octets)
            # The time that ends this one would have ended the other one.
            assert (await stopped.receive()).status == 408
        assert (await patient.receive()).status == 201
    assert await read(server.client, "a") == body


# Answers that are taken slowly.


async def test_download_that_is_not_taken_is_broken_off(limited: ServeLimited) -> None:
    server = await limited(idle_seconds=SOON)
    await put(server.client, "a", bytes(LARGE))
    async with stalled_download(server.client, "a") as connection:
        assert await connection.receive_some(1) == b"H"
        await memory_is_back(server)
        await is_cut_off(connection)


async def test_download_slower_than_the_floor_is_broken_off(limited: ServeLimited) -> None:
    server = await limited(idle_seconds=SOON, min_rate=1024 * MIB)
    await put(server.client, "a", bytes(LARGE))
    async with stalled_download(server.client, "a") as connection:
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):  # noqa: PT012 - likewise
            while True:
                await connection.receive_some(1024)
                await asyncio.sleep(0.01)
    await memory_is_back(server)


async def test_download_slow_but_not_too_slow_is_sent(limited: ServeLimited) -> None:
    server = await limited(idle_seconds=LATER, min_rate=1)
    await put(server.client, "a", bytes(LARGE))
    async with (
        stalled_download(server.client, "a") as steady,
        stalled_download(server.client, "a") as stopped,
    ):
        waiting = asyncio.create_task(connection_ends(server))
        while not waiting.done():
            await steady.receive_some(4096)
            await asyncio.wait({waiting}, timeout=0.05)
        await is_cut_off(stopped)
        await steady.receive_some(MIB)


async def connection_ends(server: Limited) -> None:
    """Wait until the server has one connection less than now."""
    watch = server.client.server.handler
    assert watch is not None
    before = len(watch.connections)

    async def is_less() -> bool:
        return len(watch.connections) < before

    await wait_until(is_less)


async def test_answers_of_other_kinds_are_not_kept_for_ever(limited: ServeLimited) -> None:
    # Lists, unlike downloads, are written in one go.
    server = await limited(idle_seconds=SOON)
    for number in range(20):
        await put(server.client, f"{number:02}" + "x" * 1000)
    async with raw.connect(server.client) as greedy:
        waiting = asyncio.create_task(connection_ends(server))
        while not waiting.done():
            with suppress(ConnectionError, TimeoutError):
                await asyncio.wait_for(greedy.send(raw.request("GET", "/files/") * 100), 0.1)


async def test_stalled_downloads_do_not_stop_another_client(limited: ServeLimited) -> None:
    server = await limited(idle_seconds=SOON)
    await put(server.client, "a", bytes(LARGE))
    async with AsyncExitStack() as stalled:
        for _ in range(64):
            await stalled.enter_async_context(stalled_download(server.client, "a"))
        assert len(await read(server.client, "a")) == LARGE
        await put(server.client, "b", bytes(MIB))
        await memory_is_back(server)


# More connections than there may be.


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        raw.request("GET", "/files/"),
        raw.request("PUT", "/files/a", "Content-Length: 100000", body=bytes(100_000)),
    ],
    ids=["silent", "get", "put"],
)
async def test_one_connection_too_many_is_told_so(limited: ServeLimited, octets: bytes) -> None:
    server = await limited(max_connections=2)
    async with raw.connect(server.client) as first, raw.connect(server.client) as second:
        await answers(first)
        await answers(second)
        async with raw.connect(server.client) as third:
            await third.send(octets)
            answer = await third.receive()
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["Connection"] == "close"
            assert answer.json()["type"] == "urn:chunkstore:problem:too-many-connections"
            assert await third.receive_rest() == b""
        await answers(first)
        await answers(second)


async def test_when_a_connection_ends_the_next_one_is_served(limited: ServeLimited) -> None:
    server = await limited(max_connections=1)
    async with raw.connect(server.client) as only:
        await answers(only)
        assert (await raw.ask(server.client, raw.request("GET", "/health/live"))).status == 503

    async def is_served() -> bool:
        return (await raw.ask(server.client, raw.request("GET", "/health/live"))).status == 200

    await wait_until(is_served)


@pytest.mark.parametrize("octets", [b"", b"GET", raw.request("GET", "/files/a") * 3])
async def test_client_that_does_nothing_does_not_keep_its_place(
    limited: ServeLimited, store_large_file: None, octets: bytes
) -> None:
    server = await limited(max_connections=1, head_seconds=SOON, idle_seconds=SOON)
    async with raw.connect(server.client) as useless:
        await useless.send(octets)

        async def is_served() -> bool:
            return (await raw.ask(server.client, raw.request("GET", "/health/live"))).status == 200

        await wait_until(is_served)


@pytest.fixture
async def store_large_file(limited: ServeLimited) -> None:
    """Put a file that no buffer takes."""
    await put((await limited()).client, "a", bytes(LARGE))


async def test_many_connections_too_many(
    limited: ServeLimited, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    server = await limited(max_connections=1)
    async with AsyncExitStack() as connections:
        only = await connections.enter_async_context(raw.connect(server.client))
        await answers(only)
        refused = [
            await connections.enter_async_context(raw.connect(server.client)) for _ in range(100)
        ]
        for connection in refused:
            assert (await connection.receive()).status == 503
            assert await connection.receive_rest() == b""
        await answers(only)
    assert caplog.messages == [
        "A connection from 127.0.0.1 was refused: all 1 that --max-connections allows are in use."
    ]
    await server.client.close()
    assert caplog.messages[1:] == ["99 more connections were refused since."]
