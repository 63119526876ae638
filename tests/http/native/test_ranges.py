"""Range and If-Range (RFC 9110 §13.1.5 and §14)."""

from __future__ import annotations

import asyncio
from collections import Counter
from email import message_from_bytes
from email.message import Message
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from chunkstore.core.manifest import ChunkList
from chunkstore.core.ranges import MAX_RANGES
from chunkstore.store.contract.store import Store
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.conftest import Serve, ServeLimited
from tests.http.runtime.test_slow_clients import memory_is_back
from tests.http.steps import MIB, Client, on_shared_server, problem, put, read

pytestmark = on_shared_server

SIZE = 3 * CHUNK_SIZE + 123
MEDIA_TYPE = "text/plain; charset=utf-8"


CONTENT = Random(20230521).randbytes(SIZE)
PATH = "/files/ranges/a"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def file(shared: Client) -> Client:
    """Return the client of a server that has CONTENT at PATH."""
    await put(shared, "ranges/a", CONTENT, Content_Type=MEDIA_TYPE)
    return shared


def parts_of(headers: Message, body: bytes) -> list[Message]:
    """Return the parts of a multipart answer as the standard library's e-mail parser sees them."""
    content_type = headers["Content-Type"]
    assert content_type.startswith("multipart/byteranges; boundary=")
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = message_from_bytes(head + body)
    assert message.is_multipart()
    assert message.defects == []
    assert not message.epilogue
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, Message)]


async def ask_for(client: Client, ranges: str, path: str = PATH) -> raw.Answer:
    """Return the answer to a GET of these ranges, and see that its length is what it says."""
    async with raw.connect(client) as connection:
        await connection.send(
            raw.request("GET", path, f"Range: {ranges}") + raw.request("GET", "/health/live")
        )
        answer = await connection.receive()
        assert (await connection.receive()).json() == {"status": "ok"}
    return answer


@pytest.mark.parametrize(
    ("ranges", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, SIZE),
        ("bytes=5-10", 5, 11),
        (f"bytes=0-{SIZE - 1}", 0, SIZE),
        (f"bytes=0-{SIZE}", 0, SIZE),
        (f"bytes=10-{SIZE * 10}", 10, SIZE),
        (f"bytes={CHUNK_SIZE - 1}-{CHUNK_SIZE}", CHUNK_SIZE - 1, CHUNK_SIZE + 1),
        (f"bytes={CHUNK_SIZE}-{2 * CHUNK_SIZE - 1}", CHUNK_SIZE, 2 * CHUNK_SIZE),
        (f"bytes=1-{SIZE - 2}", 1, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-200", SIZE - 200, SIZE),
        (f"bytes=-{SIZE}", 0, SIZE),
        (f"bytes=-{SIZE * 10}", 0, SIZE),
        ("bytes=0-" + "9" * 4000, 0, SIZE),
        ("bytes=-" + "9" * 4000, 0, SIZE),
        ("bytes=" + "0" * 4000 + "-1", 0, 2),
        # RFC 9110 §14.1: units are case-insensitive; §5.6.1.2: empty elements mean nothing.
        ("BYTES=0-1", 0, 2),
        ("bytes=,0-1,,", 0, 2),
        ("bytes= 0-1 , ", 0, 2),
        # Those that cannot be satisfied are left out of those that can.
        (f"bytes=0-1,{SIZE}-", 0, 2),
        ("bytes=-0,0-1", 0, 2),
        # Those that overlap or touch become one.
        ("bytes=0-99,50-149", 0, 150),
        ("bytes=0-99,100-199", 0, 200),
        ("bytes=100-199,0-99", 0, 200),
        ("bytes=0-99,10-20,30-40", 0, 100),
        ("bytes=0-,-5,7-7", 0, SIZE),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_one_range(file: Client, ranges: str, start: int, stop: int) -> None:
    answer = await ask_for(file, ranges)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.headers["Content-Type"] == MEDIA_TYPE
    assert answer.body == CONTENT[start:stop]


async def test_partial_answer_has_the_fields_of_a_whole_one(file: Client) -> None:
    # RFC 9110 §15.3.7: the client may put it together with what it has.
    whole = await file.get(PATH)
    part = await file.get(PATH, headers={"Range": "bytes=0-1"})
    for field in ("ETag", "Last-Modified", "Cache-Control", "Content-Disposition"):
        assert part.headers[field] == whole.headers[field]
    assert part.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in part.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("ranges", "bounds"),
    [
        ("bytes=0-0,2-2", [(0, 1), (2, 3)]),
        ("bytes=0-9,-10", [(0, 10), (SIZE - 10, SIZE)]),
        ("bytes=500-599,0-99", [(0, 100), (500, 600)]),
        ("bytes=0-99,50-149,200-299,300-300", [(0, 150), (200, 301)]),
        (
            f"bytes=1-{CHUNK_SIZE},{CHUNK_SIZE + 2}-{2 * CHUNK_SIZE},{SIZE - 1}-",
            [(1, CHUNK_SIZE + 1), (CHUNK_SIZE + 2, 2 * CHUNK_SIZE + 1), (SIZE - 1, SIZE)],
        ),
    ],
)
async def test_several_ranges(file: Client, ranges: str, bounds: list[tuple[int, int]]) -> None:
    answer = await ask_for(file, ranges)
    assert answer.status == 206
    # RFC 9110 §15.3.7.2: it is in the parts, and must not be in the header.
    assert answer.headers["Content-Range"] is None
    parts = parts_of(answer.headers, answer.body)
    assert [part["Content-Range"] for part in parts] == [
        f"bytes {start}-{stop - 1}/{SIZE}" for start, stop in bounds
    ]
    assert [part["Content-Type"] for part in parts] == [MEDIA_TYPE] * len(bounds)
    assert [part.get_payload(decode=True) for part in parts] == [
        CONTENT[start:stop] for start, stop in bounds
    ]


@pytest.mark.asyncio(loop_scope="function")
async def test_several_ranges_of_several_windows_each(
    serve: Serve, random_bytes: RandomBytes
) -> None:
    client = await serve(memory=MIB)
    content = random_bytes(600_000)
    await put(client, "a", content)
    bounds = [(1, 299_999), (300_001, 600_000)]
    ranges = "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in bounds)
    answer = await ask_for(client, ranges, "/files/a")
    payloads = [part.get_payload(decode=True) for part in parts_of(answer.headers, answer.body)]
    assert payloads == [content[start:stop] for start, stop in bounds]


@pytest.mark.asyncio(loop_scope="function")
async def test_ranges_of_one_chunk_read_it_once(
    serve: Serve, store: Store, random_bytes: RandomBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await serve()
    content = random_bytes(4 * CHUNK_SIZE)
    await put(client, "a", content)
    reads: list[tuple[int, int]] = []
    read_chunks = store.contents.read

    async def noted(chunks: ChunkList, start: int, stop: int, *bounds: Any) -> bytes:  # noqa: ANN401
        reads.append((start, stop))
        return await read_chunks(chunks, start, stop, *bounds)

    monkeypatch.setattr(store.contents, "read", noted)
    # The last of those in the first chunk goes on into the second; the third is not asked for.
    starts = [*range(0, CHUNK_SIZE, 80), 3 * CHUNK_SIZE, 3 * CHUNK_SIZE + 500]
    bounds = [(start, start + 60) for start in starts]
    ranges = "bytes=" + ",".join(f"{start}-{stop - 1}" for start, stop in bounds)
    answer = await ask_for(client, ranges, "/files/a")
    parts = parts_of(answer.headers, answer.body)
    assert [part.get_payload(decode=True) for part in parts] == [
        content[start:stop] for start, stop in bounds
    ]
    assert reads == [(0, starts[-3] + 60), (3 * CHUNK_SIZE, 3 * CHUNK_SIZE + 560)]


@pytest.mark.asyncio(loop_scope="function")
async def test_clients_that_ask_for_many_ranges_read_their_chunks_once_in_little_memory(
    limited: ServeLimited, store: Store, random_bytes: RandomBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await limited(memory=MIB)
    content = random_bytes(2 * MAX_RANGES * CHUNK_SIZE)
    await put(server.client, "a", content)
    reads: list[tuple[int, int]] = []
    read_chunks = store.contents.read

    async def noted(chunks: ChunkList, start: int, stop: int, *bounds: Any) -> bytes:  # noqa: ANN401
        reads.append((start, stop))
        return await read_chunks(chunks, start, stop, *bounds)

    monkeypatch.setattr(store.contents, "read", noted)
    # Each in a chunk of its own, from the last to the first, all but two of them twice.
    starts = [2 * place * CHUNK_SIZE for place in reversed(range(MAX_RANGES // 2 + 1))]
    texts = [f"{start}-{start + 9}" for start in starts]
    texts += [f"{start + 5}-{start + 6}" for start in starts[1:-1]]
    assert len(texts) == MAX_RANGES
    clients = 16
    answers = await asyncio.gather(
        *[ask_for(server.client, f"bytes={','.join(texts)}", "/files/a") for _ in range(clients)]
    )
    for answer in answers:
        parts = parts_of(answer.headers, answer.body)
        assert [part.get_payload(decode=True) for part in parts] == [
            content[start : start + 10] for start in reversed(starts)
        ]
    assert Counter(reads) == {(start, start + 10): clients for start in starts}
    await memory_is_back(server)


async def test_boundary_is_new_each_time(file: Client) -> None:
    # Otherwise a content could be made that has it inside.
    answers = [await ask_for(file, "bytes=0-0,2-2") for _ in range(2)]
    assert answers[0].headers["Content-Type"] != answers[1].headers["Content-Type"]


@pytest.mark.parametrize(
    "ranges",
    [
        f"bytes={SIZE}-",
        f"bytes={SIZE}-{SIZE + 10}",
        f"bytes={SIZE}-,{SIZE + 1}-{SIZE + 2}",
        "bytes=" + "9" * 4000 + "-",
        "bytes=-0",
        f"bytes=-0,{SIZE}-",
    ],
    ids=lambda value: value[:40],
)
async def test_nothing_to_satisfy(file: Client, ranges: str) -> None:
    response = await file.get(PATH, headers={"Range": ranges})
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"
    await problem(response, 416)


@pytest.mark.parametrize("ranges", ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=-5"])
async def test_empty_file_has_no_range(shared: Client, name: str, ranges: str) -> None:
    await put(shared, name, b"")
    response = await shared.get(f"/files/{name}", headers={"Range": ranges})
    assert response.headers["Content-Range"] == "bytes */0"
    await problem(response, 416)


@pytest.mark.parametrize(
    "ranges",
    [
        "lines=0-1",
        "byte=0-1",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes 0-1",
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,5-2",
        "bytes=0-1,x",
        "bytes=1-2-3",
        "bytes=--5",
        "bytes=+0-1",
        "bytes=0x0-0x1",
        "bytes=0.0-1",
        "bytes=0 -1",
        "bytes=a-b",
        "bytes=٠-١",  # noqa: RUF001 - digits, but not ASCII ones
        "",
    ],
)
async def test_what_is_not_understood_is_ignored(file: Client, ranges: str) -> None:
    # RFC 9110 §14.2: an unknown unit must be ignored, an invalid ranges-specifier may be.
    answer = await raw.ask(file, raw.request("GET", PATH, f"Range: {ranges}"))
    assert answer.status == 200
    assert answer.headers["Content-Range"] is None
    assert answer.body == CONTENT


async def test_range_lines_of_two_units_are_ignored(file: Client) -> None:
    lines = ("Range: bytes=0-1", "Range: lines=0-1")
    answer = await raw.ask(file, raw.request("GET", PATH, *lines))
    assert (answer.status, answer.body) == (200, CONTENT)


async def test_as_many_ranges_are_served_as_zsync_asks_for(file: Client) -> None:
    ranges = "bytes=" + ",".join(f"{2 * index}-{2 * index}" for index in range(256))
    answer = await ask_for(file, ranges)
    assert answer.status == 206
    assert len(parts_of(answer.headers, answer.body)) == 256


@pytest.mark.parametrize("spec", ["{}-{}", "0-", "{0}-{0},", "-{0}"])
async def test_with_more_ranges_the_whole_is_sent(file: Client, spec: str) -> None:
    ranges = "bytes=" + ",".join(spec.format(2 * index, 2 * index) for index in range(257))
    answer = await ask_for(file, ranges)
    assert answer.status == 200
    assert answer.body == CONTENT


async def test_overlapping_ranges_do_not_multiply_the_content(file: Client) -> None:
    # CVE-2011-3192
    answer = await ask_for(file, "bytes=" + ",".join(f"{first}-" for first in range(100)))
    assert answer.status == 206
    assert answer.body == CONTENT


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"{digest}"', 206),
        ('"{other}"', 200),
        # RFC 9110 §13.1.5: strong comparison, so a weak one never matches.
        ('W/"{digest}"', 200),
        ("{digest}", 200),
        ('"{digest}", "{other}"', 200),
        ("*", 200),
        ('""', 200),
        ("", 200),
        ("{modified}", 206),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 200),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 200),
        ("yesterday", 200),
    ],
)
async def test_if_range(file: Client, condition: str, status: int) -> None:
    head = await file.head(PATH)
    condition = condition.format(
        digest=head.headers["ETag"].strip('"'),
        other="0" * 64,
        modified=head.headers["Last-Modified"],
    )
    lines = ("Range: bytes=1-2", f"If-Range: {condition}")
    answer = await raw.ask(file, raw.request("GET", PATH, *lines))
    assert answer.status == status
    assert answer.body == (CONTENT[1:3] if status == 206 else CONTENT)


async def test_if_range_that_fails_also_lifts_what_cannot_be_satisfied(file: Client) -> None:
    headers = {"Range": f"bytes={SIZE}-", "If-Range": '"other"'}
    response = await file.get(PATH, headers=headers)
    assert response.status == 200
    assert await response.read() == CONTENT


async def test_if_range_without_range_means_nothing(file: Client) -> None:
    response = await file.get(PATH, headers={"If-Range": '"other"'})
    assert response.status == 200
    assert await response.read() == CONTENT


async def test_resumed_download_never_mixes_two_contents(
    shared: Client, name: str, random_bytes: RandomBytes
) -> None:
    old, new = random_bytes(SIZE), random_bytes(SIZE)
    etag = f'"{(await put(shared, name, old))["digest"]}"'
    await put(shared, name, new)
    headers = {"Range": "bytes=100-", "If-Range": etag}
    response = await shared.get(f"/files/{name}", headers=headers)
    assert response.status == 200
    assert await response.read() == new


@pytest.mark.parametrize(
    ("condition", "status"), [('If-None-Match: "{}"', 304), ('If-Match: "{}x"', 412)]
)
async def test_conditions_come_before_the_range(file: Client, condition: str, status: int) -> None:
    # RFC 9110 §13.2.2
    digest = (await file.head(PATH)).headers["ETag"].strip('"')
    lines = (condition.format(digest), f"Range: bytes={SIZE}-")
    assert (await raw.ask(file, raw.request("GET", PATH, *lines))).status == status


async def test_range_of_a_put_means_nothing(shared: Client, name: str) -> None:
    await put(shared, name, b"content")
    await put(shared, name, b"new", Range="bytes=0-1")
    assert await read(shared, name) == b"new"


async def test_range_of_a_list_means_nothing(file: Client) -> None:
    response = await file.get("/files/ranges/", headers={"Range": "bytes=0-1"})
    assert response.status == 200
    assert [listed["name"] for listed in (await response.json())["files"]] == ["ranges/a"]
