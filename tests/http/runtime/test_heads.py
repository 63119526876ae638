"""Heads of requests: how large they may be, together and one by one."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from chunkstore.http.runtime.heads import (
    MOST_BYTES,
    MOST_FIELDS,
    MOST_WAITING_BYTES,
    BoundedParser,
    HeadTooLarge,
)
from tests.http import raw
from tests.http.steps import Client, on_shared_server, put, read

LINE = 4000


def head(size: int, name: str = "/health/live") -> bytes:
    """Return a request whose head has about `size` bytes."""
    lines = [f"X-{number}: {'x' * LINE}" for number in range(size // LINE)]
    return raw.request("GET", name, *lines)


@on_shared_server
async def test_head_as_large_as_one_may_be(shared: Client) -> None:
    assert (await raw.ask(shared, head(MOST_BYTES - LINE))).status == 200


@on_shared_server
@pytest.mark.parametrize("size", [MOST_BYTES + LINE, 200_000])
async def test_larger_head_is_refused(shared: Client, size: int) -> None:
    async with raw.connect(shared) as connection:
        await connection.send(head(size))
        answer = await connection.receive()
        assert await connection.receive_rest() == b""
    assert answer.status == 431
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:chunkstore:problem:header-too-large"


@on_shared_server
@pytest.mark.parametrize("more", [1, 2, 10_000 - MOST_FIELDS])
async def test_more_fields_than_there_may_be_are_refused(shared: Client, more: int) -> None:
    # Host is one of them.
    most = ["X-Many: x"] * (MOST_FIELDS - 1)
    assert (await raw.ask(shared, raw.request("GET", "/health/live", *most))).status == 200
    answer = await raw.ask(shared, raw.request("GET", "/health/live", *most, *["X: x"] * more))
    assert answer.status == 431
    assert answer.json()["type"] == "urn:chunkstore:problem:header-too-large"
    assert f"{MOST_FIELDS} fields" in answer.json()["detail"]


@on_shared_server
async def test_head_is_refused_before_it_ends(shared: Client) -> None:
    async with raw.connect(shared) as connection:
        await connection.send(head(MOST_BYTES + 2 * LINE)[:-2])
        assert (await connection.receive()).status == 431


@on_shared_server
@pytest.mark.parametrize("behind", ["a request", "a body"])
async def test_later_head_is_refused_too(shared: Client, name: str, behind: str) -> None:
    first = raw.request("GET", "/health/live")
    if behind == "a body":
        first = raw.request("PUT", f"/files/{name}", "Content-Length: 100000", body=bytes(100_000))
    async with raw.connect(shared) as connection:
        await connection.send(first)
        assert (await connection.receive()).status in (200, 201)
        await connection.send(head(MOST_BYTES + 2 * LINE))
        assert (await connection.receive()).status == 431


@on_shared_server
async def test_trailers_are_bounded(shared: Client, name: str) -> None:
    lines = "".join(f"X-{number}: {'x' * LINE}\r\n" for number in range(100)).encode()
    async with raw.connect(shared) as connection:
        await connection.send(
            raw.request(
                "PUT", f"/files/{name}", "Transfer-Encoding: chunked", body=raw.chunked(b"x")
            )
        )
        await connection.send(b"0\r\n" + lines[: MOST_BYTES + LINE])
        await connection.send(lines[MOST_BYTES + LINE :])
        assert (await connection.receive()).status == 400
    assert (await shared.get(f"/files/{name}")).status == 404


@on_shared_server
@pytest.mark.parametrize("line", [b"X-A: \x00\r\n", b"X-\xff: a\r\n", b"no field\r\n"])
@pytest.mark.parametrize("count", [1, 2000])
async def test_trailers_that_are_malformed_end_the_request(
    shared: Client, name: str, line: bytes, count: int
) -> None:
    body = raw.chunked(*[b"x"] * count)
    async with raw.connect(shared) as connection:
        await connection.send(
            raw.request("PUT", f"/files/{name}", "Transfer-Encoding: chunked", body=body)
        )
        # In a packet of their own: the handler waits for more of the body by then.
        await asyncio.sleep(0)
        await connection.send(b"0\r\n" + line + b"\r\n")
        assert (await connection.receive()).status == 400
    assert (await shared.get(f"/files/{name}")).status == 404


@on_shared_server
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_body_that_is_malformed_behind_its_answer_is_no_failure(
    shared: Client, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    octets = raw.request(method, "/nowhere", "Transfer-Encoding: chunked", body=raw.chunked(b"x"))
    async with raw.connect(shared) as connection:
        await connection.send(octets)
        assert (await connection.receive(method)).status == 404
        await connection.send(b"no size\r\n")
        assert await connection.receive_rest() == b""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@on_shared_server
async def test_body_is_no_head(shared: Client, name: str) -> None:
    for lines, body in (
        (("Content-Length: 3000000",), bytes(3_000_000)),
        (("Transfer-Encoding: chunked",), raw.chunked(*[bytes(50_000)] * 60) + raw.LAST_CHUNK),
    ):
        answer = await raw.ask(shared, raw.request("PUT", f"/files/{name}", *lines, body=body))
        assert answer.status in (200, 201)
        assert answer.json()["size"] == 3_000_000


@on_shared_server
async def test_many_requests_may_wait(shared: Client) -> None:
    count = 300
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("GET", "/health/live", "X-Some: " + "x" * 300) * count)
        for _ in range(count):
            assert (await connection.receive()).status == 200


@on_shared_server
@pytest.mark.parametrize("count", [1, 2, 20])
@pytest.mark.parametrize(
    "malformed", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"\0" * 100]
)
async def test_requests_before_a_malformed_one_are_answered(
    shared: Client, count: int, malformed: bytes
) -> None:
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("GET", "/health/live") * count + malformed)
        for _ in range(count):
            assert (await connection.receive()).status == 200
        assert (await connection.receive()).status in (400, 501)
        assert await connection.receive_rest() == b""


@on_shared_server
async def test_upload_before_a_malformed_request_is_stored(shared: Client, name: str) -> None:
    upload = raw.request("PUT", f"/files/{name}", "Content-Length: 5", body=b"hello")
    async with raw.connect(shared) as connection:
        await connection.send(upload + b"nonsense\r\n\r\n")
        assert (await connection.receive("PUT")).status == 201
        assert (await connection.receive()).status in (400, 501)
    assert await read(shared, name) == b"hello"


@on_shared_server
@pytest.mark.parametrize("body", [b"0x0\r\n\r\n", raw.chunked(b"hello") + b"x\r\n"])
@pytest.mark.parametrize("apart", [True, False])
async def test_body_that_is_malformed_before_it_is_read_is_refused(
    shared: Client, name: str, body: bytes, apart: bool
) -> None:
    # A handler begins to read only when it has looked at what is there.
    octets = raw.request("PUT", f"/files/{name}", "Transfer-Encoding: chunked", "If-None-Match: *")
    async with raw.connect(shared) as connection:
        if apart:
            await connection.send(octets)
            await connection.send(body)
        else:
            await connection.send(octets + body)
        assert (await connection.receive("PUT")).status == 400
    assert (await shared.get(f"/files/{name}")).status == 404


@on_shared_server
async def test_delete_with_a_malformed_body_deletes_nothing(shared: Client, name: str) -> None:
    await put(shared, name)
    octets = raw.request("DELETE", f"/files/{name}", "Transfer-Encoding: chunked")
    answer = await raw.ask(shared, octets + b"0x0\r\n\r\n", "DELETE")
    assert answer.status == 400
    assert await read(shared, name)


def parser() -> BoundedParser:
    """Return one as a connection has it."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    return BoundedParser(HttpRequestParser(protocol, loop, 2**20, max_msg_queue_size=32))


async def test_heads_that_wait_are_bounded_together() -> None:
    one = head(MOST_BYTES - LINE)
    waiting = parser()
    for _ in range(MOST_WAITING_BYTES // len(one)):
        assert len(waiting.feed_data(one)[0]) == 1
    with pytest.raises(HeadTooLarge):
        waiting.feed_data(one)
    with pytest.raises(HeadTooLarge):
        waiting.feed_data(b"")
    taken = parser()
    for _ in range(10):
        assert len(taken.feed_data(one)[0]) == 1
        taken.message_consumed()


@settings(deadline=None)
@given(
    # All of them may come in one piece, and wait.
    sizes=st.lists(st.integers(0, MOST_WAITING_BYTES // 4 - LINE), max_size=4),
    bodies=st.lists(st.integers(0, 300_000), min_size=4, max_size=4),
    cuts=st.lists(st.integers(1, 400_000), max_size=8),
)
async def test_requests_are_the_same_however_they_come(
    sizes: list[int], bodies: list[int], cuts: list[int]
) -> None:
    octets = b""
    for size, body in zip(sizes, bodies, strict=False):
        line = f"Content-Length: {body}\r\n\r\n".encode()
        octets += head(size)[:-2] + line + bytes(body)
    bounded = parser()
    payloads = []
    for start, stop in pairwise(
        sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    ):
        for _, payload in bounded.feed_data(octets[start:stop])[0]:
            payloads.append(payload)
            bounded.message_consumed()
    assert [payload.total_bytes for payload in payloads] == bodies[: len(sizes)]
    assert all(payload.is_eof() for payload in payloads)


async def test_more_requests_than_may_wait_are_kept() -> None:
    bounded = parser()
    octets = raw.request("GET", "/")
    come = len(bounded.feed_data(octets * 100)[0])
    assert come < 40
    for _ in range(100):
        bounded.message_consumed()
        come += len(bounded.feed_data(b"")[0])
    assert come == 100
    assert len(bounded.feed_data(octets)[0]) == 1


@settings(deadline=None)
@given(
    count=st.integers(0, 20),
    blank=st.integers(0, 3),
    body=st.none() | st.integers(0, 300),
    cuts=st.lists(st.integers(1, 10_000), max_size=8),
    malformed=st.sampled_from([b"nonsense\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"]),
)
async def test_error_comes_behind_all_requests_however_they_come(
    count: int, blank: int, body: int | None, cuts: list[int], malformed: bytes
) -> None:
    octets = (b"\r\n" * blank + raw.request("GET", "/")) * count
    if body is not None:
        # Only the last, for aiohttp does not tell where in a piece a body ends.
        octets += raw.request("PUT", "/files/a", f"Content-Length: {body}", body=bytes(body))
    octets += malformed
    bounded = parser()
    come = 0
    stops = sorted({len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    with pytest.raises(HttpProcessingError):  # noqa: PT012 - which piece brings it is open
        for start, stop in pairwise([0, *stops]):
            messages, _, _ = bounded.feed_data(octets[start:stop])
            come += len(messages)
            for _ in messages:
                bounded.message_consumed()
            if bounded.error_is_pending:
                bounded.feed_data(b"")
    assert bounded.count == come + 1
    assert come == count + (body is not None)
