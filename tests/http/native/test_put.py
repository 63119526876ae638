"""PUT of a file: the whole content or nothing, and what the answer tells."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime

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
    stats,
    status_of,
    wait_until,
)
from tests.store.rows import Rows

# More than a server with one MiB of memory keeps before it appends to the store.
LARGE = 600_000


def sha(algorithm: str, content: bytes) -> str:
    """Return a member of Content-Digest (RFC 9530 §2)."""
    value = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{b64encode(value).decode()}:"


async def nothing_is_open(rows: Rows) -> bool:
    """Whether no trace of an unfinished upload is left."""
    return await rows.unfinished() == 0 and not await rows.broken()


@on_shared_server
async def test_new_file_is_created_and_told_of(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    # A last chunk of one byte could be known from another test.
    size = 2 * CHUNK_SIZE + 100
    content = new_bytes(size)
    before = datetime.now(UTC)
    response = await shared.put(
        f"/files/{name}/a.txt", data=content, skip_auto_headers=["Content-Type"]
    )
    after = datetime.now(UTC)
    assert response.status == 201
    assert response.content_type == "application/json"
    digest = blake3(content).hexdigest()
    assert response.headers["ETag"] == f'"{digest}"'
    told = await response.json()
    assert before <= datetime.fromisoformat(told.pop("modified")) <= after
    assert told == {
        "name": f"{name}/a.txt",
        "size": size,
        "digest": digest,
        "media_type": "text/plain; charset=utf-8",
        "chunks": 3,
        "new_chunks": 3,
        "new_size": size,
    }


@on_shared_server
async def test_only_what_is_not_known_counts_as_new(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    first, second, third, fourth = (new_bytes(CHUNK_SIZE) for _ in range(4))
    before = (await stats(shared))["chunks"]
    for case, (content, new) in {
        "first": (first + second, 2),
        "the-same-again": (first + second, 0),
        "known-chunks-in-another-order": (second + first, 0),
        "one-new-chunk": (first + third, 1),
        "a-known-chunk-many-times": (third * 5, 0),
        "a-new-chunk-many-times": (fourth * 5, 1),
    }.items():
        told = await put(shared, f"{name}/{case}", content)
        assert (told["new_chunks"], told["new_size"]) == (new, new * CHUNK_SIZE), case
        assert told["chunks"] == len(content) // CHUNK_SIZE
    assert (await stats(shared))["chunks"] == before + 4


@on_shared_server
async def test_file_is_replaced(shared: Client, name: str) -> None:
    old = await put(shared, name, b"old content", Content_Type="text/plain")
    response = await shared.put(
        f"/files/{name}", data=b"new", headers={"Content-Type": "image/png"}
    )
    assert response.status == 200
    told = await response.json()
    assert (told["size"], told["media_type"]) == (3, "image/png")
    assert datetime.fromisoformat(told["modified"]) >= datetime.fromisoformat(old["modified"])
    assert response.headers["ETag"] == f'"{blake3(b"new").hexdigest()}"'
    assert await read(shared, name) == b"new"


@on_shared_server
async def test_last_modified_is_what_get_says(shared: Client, name: str) -> None:
    response = await shared.put(f"/files/{name}", data=b"content")
    got = await shared.get(f"/files/{name}")
    for field in ("ETag", "Last-Modified"):
        assert response.headers[field] == got.headers[field]


@on_shared_server
@pytest.mark.parametrize(
    ("filename", "sent", "kept"),
    [
        ("a", None, "application/octet-stream"),
        ("a.unknown", None, "application/octet-stream"),
        ("a.txt", None, "text/plain; charset=utf-8"),
        ("a.TXT", None, "text/plain; charset=utf-8"),
        ("a.html", None, "text/html; charset=utf-8"),
        ("a.png", None, "image/png"),
        ("a.json", None, "application/json"),
        ("a.pdf", None, "application/pdf"),
        ("a.tar.gz", None, "application/gzip"),
        ("a.svg", None, "image/svg+xml"),
        ("data:text/html,x", None, "application/octet-stream"),
        ("a.txt", "", "text/plain; charset=utf-8"),
        ("a.txt", "image/png", "image/png"),
        ("a.txt", 'application/x-My+Type;a=b; c="d e"', 'application/x-My+Type;a=b; c="d e"'),
        ("a", "text/plain;charset=iso-8859-1", "text/plain;charset=iso-8859-1"),
        ("a", "  image/png  ", "image/png"),
    ],
)
async def test_media_type_is_kept_or_guessed(
    shared: Client, name: str, filename: str, sent: str | None, kept: str
) -> None:
    lines = [] if sent is None else [f"Content-Type: {sent}"]
    octets = raw.request("PUT", f"/files/{name}/{filename}", *lines, "Content-Length: 0")
    answer = await raw.ask(shared, octets)
    assert answer.status == 201
    assert answer.json()["media_type"] == kept
    async with shared.get(exactly(f"/files/{name}/{filename}")) as response:
        assert response.headers["Content-Type"] == kept


@on_shared_server
@pytest.mark.parametrize(
    "sent",
    [
        b"text",
        b"text/",
        b"/plain",
        b"text/plain/x",
        b"text plain",
        b"text/plain, text/html",
        b"text/pl\xc3\xa4in",
        b"\xff/plain",
        b"text/plain; a=\xff",
        b"text/plain\x0b",
        b"a/" + b"b" * 300,
    ],
)
async def test_malformed_media_type_is_refused(shared: Client, name: str, sent: bytes) -> None:
    octets = raw.request("PUT", f"/files/{name}", b"Content-Type: " + sent, "Content-Length: 0")
    assert (await raw.ask(shared, octets)).status == 400
    assert await status_of(shared, name) == 404


@on_shared_server
@pytest.mark.parametrize("value", ["bytes 0-2/10", "bytes */10", "bytes 0-6/7", "nonsense"])
async def test_part_is_not_taken_for_the_whole(shared: Client, name: str, value: str) -> None:
    # RFC 9110 §14.5; `curl -C - -T file` sends it.
    await put(shared, name, b"content")
    response = await shared.put(f"/files/{name}", data=b"new", headers={"Content-Range": value})
    await problem(response, 400)
    assert await read(shared, name) == b"content"


@on_shared_server
@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Encoding: gzip"],
        ["Content-Encoding: x-unknown"],
        ["Content-Encoding: identity, gzip"],
        ["Content-Encoding: identity", "Content-Encoding: gzip"],
        ["Content-Encoding: gzip", "Content-Encoding: identity"],
    ],
    ids=str,
)
async def test_encoded_content_is_not_taken(shared: Client, name: str, lines: list[str]) -> None:
    body = gzip.compress(b"content")
    octets = raw.request("PUT", f"/files/{name}", *lines, f"Content-Length: {len(body)}", body=body)
    answer = await raw.ask(shared, octets)
    assert answer.status == 415
    # RFC 9110 §12.5.3: so that the client can tell it from a matter of the media type.
    assert answer.headers["Accept-Encoding"] == "identity"
    assert await status_of(shared, name) == 404


@on_shared_server
@pytest.mark.parametrize("coding", ["identity", "Identity"])
async def test_compressed_content_is_stored_as_it_is(
    shared: Client, name: str, coding: str
) -> None:
    body = gzip.compress(b"content" * 1000)
    told = await put(shared, name, body, Content_Encoding=coding, Content_Type="application/gzip")
    assert told["size"] == len(body)
    async with shared.get(f"/files/{name}") as response:
        assert "Content-Encoding" not in response.headers
        assert await response.read() == body


CONTENT = b"what is digested"
OTHER = b"what is not"


@on_shared_server
@pytest.mark.parametrize(
    "lines",
    [
        [sha("sha-256", CONTENT)],
        [sha("sha-512", CONTENT)],
        [sha("sha-256", CONTENT) + ", " + sha("sha-512", CONTENT)],
        [sha("sha-256", CONTENT), sha("sha-512", CONTENT)],
        [sha("sha-256", CONTENT) + ";a=1"],
        # RFC 9530 §5: unknown and insecure algorithms are ignored.
        ["md5=:AAAA:"],
        ["unknown=1, " + sha("sha-256", CONTENT)],
        ["blake2=:AAAA:"],
        # Not registered, and the digest that every file has here.
        [f"blake3=:{b64encode(blake3(CONTENT).digest()).decode()}:"],
        [""],
    ],
    ids=str,
)
async def test_digest_that_matches(shared: Client, name: str, lines: list[str]) -> None:
    length = f"Content-Length: {len(CONTENT)}"
    for field in ("Content-Digest", "Repr-Digest"):
        fields = [f"{field}: {line}" for line in lines]
        octets = raw.request("PUT", f"/files/{name}/{field}", *fields, length, body=CONTENT)
        assert (await raw.ask(shared, octets)).status == 201
        assert await read(shared, f"{name}/{field}") == CONTENT


@on_shared_server
@pytest.mark.parametrize(
    ("lines", "slug"),
    [
        ([sha("sha-256", OTHER)], "content-mismatch"),
        ([sha("sha-512", OTHER)], "content-mismatch"),
        ([sha("sha-256", CONTENT), sha("sha-512", OTHER)], "content-mismatch"),
        ([sha("sha-256", OTHER) + ", " + sha("sha-512", CONTENT)], "content-mismatch"),
        (["sha-256=:AAAA:"], "content-mismatch"),
        (["blake3=:AAAA:"], "content-mismatch"),
        (["sha-256=::"], "content-mismatch"),
        (["sha-256"], "invalid-request"),
        (["sha-256=1"], "invalid-request"),
        (["sha-256=abc"], "invalid-request"),
        (['sha-256="abc"'], "invalid-request"),
        (["sha-256=(:AAAA:)"], "invalid-request"),
        (["sha-256=:AAAA"], "invalid-request"),
        (["sha-256=:A:"], "invalid-request"),
        (["sha-256=:$$$$:"], "invalid-request"),
        (["sha-256="], "invalid-request"),
        (["sha-256=:AAAA:,"], "invalid-request"),
        (["="], "invalid-request"),
        (["SHA-256=:AAAA:"], "invalid-request"),
        (["ä"], "invalid-request"),
        ([b"\xff"], "invalid-request"),
    ],
    ids=str,
)
async def test_digest_that_does_not_match(
    shared: Client, name: str, lines: list[str | bytes], slug: str
) -> None:
    values = [line if isinstance(line, bytes) else line.encode() for line in lines]
    length = f"Content-Length: {len(CONTENT)}"
    for field in (b"Content-Digest: ", b"Repr-Digest: "):
        fields = [field + value for value in values]
        octets = raw.request("PUT", f"/files/{name}", *fields, length, body=CONTENT)
        answer = await raw.ask(shared, octets)
        assert answer.status == 400
        assert answer.json()["type"] == f"urn:chunkstore:problem:{slug}"
        assert await status_of(shared, name) == 404


@pytest.mark.parametrize("size", [3 * CHUNK_SIZE, LARGE])
async def test_mismatch_stores_nothing(
    serve: Serve, rows: Rows, random_bytes: RandomBytes, size: int
) -> None:
    client = await serve(memory=MIB)
    await put(client, "a", b"old")
    before = await stats(client)
    headers = {"Content-Digest": sha("sha-256", b"other")}
    async with client.put("/files/a", data=pieces(random_bytes(size)), headers=headers) as response:
        await problem(response, 400)
    await wait_until(lambda: nothing_is_open(rows))
    assert await read(client, "a") == b"old"
    assert await names(client) == ["a"]
    after = await stats(client)
    assert (after["files"], after["contents"]) == (before["files"], before["contents"])
    if size < LARGE:
        # Chunks appended on the way are left to collection.
        assert after["chunks"] == before["chunks"]


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """Yield the content so that it is sent in the chunked transfer coding."""
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


@on_shared_server
@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 300_001])
async def test_content_of_unknown_length(
    shared: Client, name: str, random_bytes: RandomBytes, size: int
) -> None:
    content = random_bytes(size)
    response = await shared.put(f"/files/{name}", data=pieces(content))
    assert response.status == 201
    assert await read(shared, name) == content


@on_shared_server
async def test_content_that_comes_byte_by_byte(shared: Client, name: str) -> None:
    content = bytes(range(256))
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("PUT", f"/files/{name}", "Transfer-Encoding: chunked"))
        for byte in content:
            await connection.send(raw.chunked(bytes([byte])))
        await connection.send(raw.LAST_CHUNK)
        assert (await connection.receive()).status == 201
    assert await read(shared, name) == content


@on_shared_server
async def test_put_without_any_length_is_an_empty_file(shared: Client, name: str) -> None:
    # RFC 9112 §6.3: a request without length has no body.
    assert (await raw.ask(shared, raw.request("PUT", f"/files/{name}"))).status == 201
    assert await read(shared, name) == b""


@pytest.mark.parametrize("header", [f"Content-Length: {2 * LARGE}", "Transfer-Encoding: chunked"])
async def test_upload_that_is_cut_changes_nothing(
    client: Client,
    any_server: raw.Server,
    rows: Rows,
    random_bytes: RandomBytes,
    header: str,
) -> None:
    await put(client, "a", b"old")
    content = random_bytes(LARGE)
    async with raw.connect(any_server) as connection:
        await connection.send(
            raw.request("PUT", "/files/a", header)
            + (content if "Length" in header else raw.chunked(content))
        )

        async def upload_is_open() -> bool:
            return await rows.unfinished() > 0

        await wait_until(upload_is_open)
    await wait_until(lambda: nothing_is_open(rows))
    assert await read(client, "a") == b"old"
    assert await names(client) == ["a"]


@on_shared_server
@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Content-Length: 100", b"short"),
        ("Content-Length: 100", b""),
        ("Transfer-Encoding: chunked", b"5\r\nshort\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nshort\r\n0\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nsh"),
        ("Transfer-Encoding: chunked", b"5\r\nshort\r\nxyz\r\n"),
    ],
)
async def test_short_upload_that_ends_early_changes_nothing(
    shared: Client, name: str, header: str, body: bytes
) -> None:
    await put(shared, name, b"old")
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("PUT", f"/files/{name}", header, body=body))
        connection.finish_sending()
        assert not (await connection.receive_rest()).startswith(b"HTTP/1.1 2")
    assert await read(shared, name) == b"old"


async def test_uploads_broken_off_give_their_memory_back(client: Client, serve: Serve) -> None:
    small = await serve(memory=CHUNK_SIZE)
    for _ in range(4):
        async with raw.connect(small) as connection:
            await connection.send(
                raw.request("PUT", "/files/a", "Content-Length: 10000", "Expect: 100-continue")
            )
            assert (await connection.receive()).status == 100
            await connection.send(b"x" * 5000)
    await put(small, "b", b"content")
    assert await names(client) == ["b"]


async def test_many_uploads_share_a_budget_smaller_than_each(
    client: Client, serve: Serve, random_bytes: RandomBytes
) -> None:
    small = await serve(memory=CHUNK_SIZE)
    contents = {f"n{number}": random_bytes(5 * CHUNK_SIZE + number) for number in range(6)}
    await asyncio.gather(*(put(small, name, content) for name, content in contents.items()))
    for name, content in contents.items():
        assert await read(client, name) == content


@pytest.fixture
async def limited(serve: Serve) -> Client:
    """Return the client of a server that takes files of up to 10,000 bytes."""
    return await serve(max_file_size=10_000)


async def test_largest_file_is_taken(limited: Client) -> None:
    await put(limited, "a", b"x" * 10_000)
    async with limited.put("/files/b", data=pieces(b"x" * 10_000)) as response:
        assert response.status == 201


async def test_too_large_file_is_refused_before_it_is_sent(limited: Client) -> None:
    await put(limited, "a", b"old")
    answer = await raw.ask(limited, raw.request("PUT", "/files/a", "Content-Length: 10001"))
    assert answer.status == 413
    assert answer.json()["type"].endswith(":too-large")
    assert answer.headers["Connection"] == "close"
    assert await read(limited, "a") == b"old"


async def test_too_large_file_of_unknown_length_is_refused(limited: Client, rows: Rows) -> None:
    await put(limited, "a", b"old")
    async with raw.connect(limited) as connection:
        await connection.send(
            raw.request("PUT", "/files/a", "Transfer-Encoding: chunked")
            + raw.chunked(b"x" * 10_001)
        )
        # The rest, which would never end, is not waited for.
        answer = await connection.receive()
    assert answer.status == 413
    assert answer.headers["Connection"] == "close"
    assert await nothing_is_open(rows)
    assert await read(limited, "a") == b"old"


async def send_expecting(client: Client, *lines: str, target: str = "/files/a") -> raw.Answer:
    """Return the first answer to a PUT that waits to be invited, and sends no body before."""
    fields = [line for line in lines if line.startswith("Content-Length")]
    fields = [] if fields else ["Content-Length: 5"]
    octets = raw.request("PUT", target, *lines, *fields, "Expect: 100-continue")
    return await raw.ask(client, octets)


async def test_expectation_is_refused_before_the_body_comes(limited: Client) -> None:
    # RFC 9110 §10.1.1: the final answer comes instead of 100, not behind it.
    await put(limited, "a", b"old")
    for lines, target, status in [
        (["If-None-Match: *"], "/files/a", 412),
        (['If-Match: "other"'], "/files/a", 412),
        (["If-Match: *"], "/files/b", 412),
        (["Content-Length: 10001"], "/files/a", 413),
        ([], "/files/%2e%2e", 400),
        (["Content-Range: bytes 0-4/10"], "/files/a", 400),
        (["Content-Type: nonsense"], "/files/a", 400),
        (["Content-Digest: sha-256=1"], "/files/a", 400),
        (["If-Match: nonsense"], "/files/a", 412),
        (["Content-Encoding: gzip"], "/files/a", 415),
        (["Sec-Fetch-Site: cross-site"], "/files/a", 403),
        (["Origin: http://elsewhere.example"], "/files/a", 403),
    ]:
        answer = await send_expecting(limited, *lines, target=target)
        assert answer.status == status, (lines, target)
        assert answer.json()["status"] == status
    assert await read(limited, "a") == b"old"


@on_shared_server
@pytest.mark.parametrize(("target", "status"), [("/nowhere", 404), ("/files/d/", 405)])
async def test_expectation_is_refused_where_nothing_takes_a_body(
    shared: Client, target: str, status: int
) -> None:
    assert (await send_expecting(shared, target=target)).status == status


@on_shared_server
async def test_expectation_is_met_by_one_invitation(shared: Client, name: str) -> None:
    async with raw.connect(shared) as connection:
        lines = ("Content-Length: 5", "Expect: 100-Continue")
        await connection.send(raw.request("PUT", f"/files/{name}", *lines))
        invitation = await connection.receive()
        assert invitation.status == 100
        assert not invitation.headers.items()
        await connection.send(b"hello" + raw.request("GET", f"/files/{name}"))
        assert (await connection.receive()).status == 201
        assert (await connection.receive()).body == b"hello"


@on_shared_server
async def test_refusal_after_the_invitation_is_a_plain_answer(shared: Client, name: str) -> None:
    async with raw.connect(shared) as connection:
        lines = (
            "Content-Length: 5",
            "Expect: 100-continue",
            f"Content-Digest: {sha('sha-256', b'')}",
        )
        await connection.send(raw.request("PUT", f"/files/{name}", *lines))
        assert (await connection.receive()).status == 100
        await connection.send(b"hello")
        answer = await connection.receive()
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@on_shared_server
async def test_unknown_expectation_cannot_be_met(shared: Client, name: str) -> None:
    for expectation in ("200-ok", "100-continue, more", "\xff"):
        octets = raw.request(
            "PUT", f"/files/{name}", "Content-Length: 5", f"Expect: {expectation}", body=b"hello"
        )
        answer = await raw.ask(shared, octets)
        assert answer.status == 417, expectation
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == 417
    assert await status_of(shared, name) == 404


@on_shared_server
async def test_expectation_of_http_1_0_is_ignored(shared: Client, name: str) -> None:
    # RFC 9110 §10.1.1: such a client would take the 100 for the answer.
    lines = ("Content-Length: 5", "Expect: 100-continue")
    octets = raw.request("PUT", f"/files/{name}", *lines, body=b"hello", version="1.0")
    assert (await raw.ask(shared, octets)).status == 201


@on_shared_server
async def test_folder_of_the_name_is_in_the_way(shared: Client, name: str) -> None:
    await put(shared, f"{name}/b", b"content")
    response = await shared.put(f"/files/{name}", data=b"new")
    assert (await problem(response, 409))["type"].endswith(":name-conflict")
    assert await read(shared, f"{name}/b") == b"content"


@on_shared_server
@pytest.mark.parametrize("below", ["b", "b/c", "b/c/d"])
async def test_file_on_the_way_is_in_the_way(shared: Client, name: str, below: str) -> None:
    await put(shared, name, b"content")
    response = await shared.put(f"/files/{name}/{below}", data=b"new")
    assert (await problem(response, 409))["type"].endswith(":name-conflict")
    assert await read(shared, name) == b"content"
    assert await status_of(shared, f"{name}/{below}") == 404


@on_shared_server
async def test_folder_cannot_be_put(shared: Client, name: str) -> None:
    response = await shared.put(f"/files/{name}/", data=b"content")
    await problem(response, 405)
    assert "PUT" not in response.headers["Allow"].split(", ")
    await problem(await shared.get(f"/files/{name}/"), 404)


@on_shared_server
async def test_connection_goes_on_after_a_refusal_whose_body_was_read(
    shared: Client, name: str
) -> None:
    async with raw.connect(shared) as connection:
        lines = ("Content-Length: 5", f"Content-Digest: {sha('sha-256', b'')}")
        await connection.send(raw.request("PUT", f"/files/{name}", *lines, body=b"hello"))
        assert (await connection.receive()).status == 400
        await connection.send(
            raw.request("PUT", f"/files/{name}", "Content-Length: 5", body=b"hello")
        )
        assert (await connection.receive()).status == 201


@on_shared_server
async def test_concurrent_puts_of_one_name_leave_one_whole(
    shared: Client, name: str, random_bytes: RandomBytes
) -> None:
    contents = [random_bytes(3 * CHUNK_SIZE + number) for number in range(8)]
    await asyncio.gather(*(put(shared, name, content) for content in contents))
    assert await read(shared, name) in contents


@on_shared_server
async def test_concurrent_puts_of_one_content_store_it_once(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(4 * CHUNK_SIZE)
    before = await stats(shared)
    paths = [f"{name}/{number}" for number in range(8)]
    told = await asyncio.gather(*(put(shared, path, content) for path in paths))
    assert sum(one["new_chunks"] for one in told) == 4
    after = await stats(shared)
    assert [after[key] - before[key] for key in ("files", "contents", "chunks")] == [8, 1, 4]


@on_shared_server
@pytest.mark.parametrize("path", ["{}/b", "{}/b/c", "{}-folder"])
@pytest.mark.parametrize("line", ["Expect: 100-continue", "X: y"])
async def test_name_that_conflicts_is_refused_before_the_body(
    shared: Client, name: str, path: str, line: str
) -> None:
    await put(shared, name)
    await put(shared, f"{name}-folder/a")
    target = f"/files/{path.format(name)}"
    for length in ("Content-Length: 1000000", "Transfer-Encoding: chunked"):
        # Not a byte of it is sent.
        answer = await raw.ask(shared, raw.request("PUT", target, line, length))
        assert answer.status == 409
        assert answer.json()["type"].endswith(":name-conflict")
