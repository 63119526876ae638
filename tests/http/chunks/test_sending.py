"""Sending a file as its list and the chunks that are missing (docs/sync.md)."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from io import BytesIO
from typing import Final

import pytest
from blake3 import blake3

from chunkstore.core.chunk_lists import DIGESTS, MANIFEST, TEXT
from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import (
    DEFAULT_COMPRESSION,
    NO_COMPRESSION,
    Codec,
    Compression,
    Encoded,
)
from chunkstore.core.packs import PACK, Record
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.chunks.steps import (
    RAW,
    append,
    begin,
    cut,
    digests_of,
    held,
    manifest_of,
    missing,
    pack_of,
    put_list,
    send,
)
from tests.http.conftest import Serve
from tests.http.steps import Client, on_shared_server, problem, put, read, status_of

REGISTERED: Final = "https://iana.org/assignments/http-problem-types#"


def claim(content: bytes, algorithm: str = "blake3") -> str:
    if algorithm == "blake3":
        digest = blake3(content).digest()
    else:
        digest = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{b64encode(digest).decode()}:"


@on_shared_server
@pytest.mark.parametrize("form", [DIGESTS, MANIFEST])
@pytest.mark.parametrize("compression", [NO_COMPRESSION, DEFAULT_COMPRESSION])
async def test_a_new_version_sends_what_is_new(
    shared: Client, name: str, new_bytes: RandomBytes, form: str, compression: Compression
) -> None:
    old = new_bytes(6 * CHUNK_SIZE + 17)
    await put(shared, name, old)
    new = bytearray(old)
    new[CHUNK_SIZE : 2 * CHUNK_SIZE] = name.encode() * (CHUNK_SIZE // len(name)) + b"xxxx"
    new += new_bytes(CHUNK_SIZE)
    content = bytes(new)
    chunks = cut(content)
    lacks = await missing(shared, chunks)
    assert len(lacks) == 3 * 32
    path = await begin(shared, name)
    sent = [chunk for chunk in chunks if chunk.digest.raw in lacks]
    answer = await send(shared, path, pack_of(sent, compression))
    assert (answer.status, await answer.json()) == (200, {"received": 3})
    answer = await append(shared, path, chunks, form=form)
    assert answer.status == 200, await answer.text()
    assert answer.headers["ETag"] == f'"{blake3(content).hexdigest()}"'
    assert answer.headers["Upload-Complete"] == "?1"
    assert (await answer.json())["size"] == len(content)
    assert await read(shared, name) == content
    assert await missing(shared, chunks) == b""


@on_shared_server
async def test_raw_chunks_need_no_digests(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(3 * CHUNK_SIZE + 5)
    path = await begin(shared, name, File_Type="text/x-mine", Upload_Length=str(len(content)))
    answer = await send(shared, path, content, RAW)
    assert await answer.json() == {"received": 4}
    assert await held(shared, path) == {chunk.digest for chunk in cut(content)}
    answer = await append(shared, path, cut(content))
    assert answer.status == 201
    assert answer.headers["Content-Location"] == f"/files/{name}"
    async with shared.get(f"/files/{name}") as file:
        assert file.headers["Content-Type"] == "text/x-mine"
        assert await file.read() == content


@on_shared_server
@pytest.mark.parametrize("form", [DIGESTS, MANIFEST])
async def test_an_empty_list_is_an_empty_file(shared: Client, name: str, form: str) -> None:
    path = await begin(shared, name)
    answer = await append(shared, path, [], form=form)
    assert answer.status == 201
    assert await read(shared, name) == b""
    assert (await put_list(shared, f"{name}-b", b"", form)).status == 201
    assert await read(shared, f"{name}-b") == b""


@on_shared_server
async def test_chunks_of_any_length_and_more_than_once(shared: Client, name: str) -> None:
    # As many bytes as there are, each a chunk; and then again.
    content = bytes(range(256)) + name.encode() * 3
    chunks = cut(content, 1)
    path = await begin(shared, name)
    answer = await send(shared, path, pack_of([*chunks, *chunks, Chunk.of(content)]))
    assert await answer.json() == {"received": 2 * len(content) + 1}
    answer = await append(shared, path, [*chunks, Chunk.of(content), *chunks])
    assert answer.status == 201, await answer.text()
    assert await read(shared, name) == content * 3


@on_shared_server
async def test_a_list_in_several_requests_is_resumed_where_head_says(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    chunks = cut(new_bytes(5 * CHUNK_SIZE + 1))
    path = await begin(shared, name)
    await send(shared, path, pack_of(chunks))
    answer = await append(shared, path, chunks[:2], last=False)
    assert answer.status == 204
    assert answer.headers["Upload-Offset"] == str(2 * CHUNK_SIZE)
    assert answer.headers["Upload-Complete"] == "?0"
    assert "max-age=" in answer.headers["Upload-Limit"]
    # Its answer was lost.
    repeated = await append(shared, path, chunks[:2], last=False)
    assert (await repeated.json())["type"] == REGISTERED + "mismatching-upload-offset"
    assert repeated.headers["Upload-Offset"] == str(2 * CHUNK_SIZE)
    async with shared.head(path) as state:
        assert state.headers["Upload-Offset"] == str(2 * CHUNK_SIZE)
        assert state.headers["Upload-Complete"] == "?0"
    answer = await append(shared, path, chunks[2:], 2 * CHUNK_SIZE)
    assert answer.status == 201
    size = str(5 * CHUNK_SIZE + 1)
    async with shared.head(path) as state:
        assert state.headers["Upload-Offset"] == size
        assert state.headers["Upload-Complete"] == "?1"
        assert state.headers["ETag"] == answer.headers["ETag"]
    repeated = await append(shared, path, chunks[2:], 2 * CHUNK_SIZE)
    assert (await repeated.json())["type"] == REGISTERED + "completed-upload"
    assert repeated.headers["ETag"] == answer.headers["ETag"]
    assert repeated.headers["Upload-Complete"] == "?1"


@on_shared_server
async def test_what_is_missing_is_told_and_what_came_before_is_kept(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    chunks = cut(new_bytes(8 * CHUNK_SIZE))
    path = await begin(shared, name)
    await send(shared, path, pack_of([*chunks[:3], chunks[5]]))
    answer = await append(shared, path, [*chunks, chunks[7]])
    assert answer.status == 409
    assert answer.headers["Upload-Offset"] == str(3 * CHUNK_SIZE)
    assert answer.headers["Upload-Complete"] == "?0"
    told = await answer.json()
    assert told["type"] == "urn:chunkstore:problem:chunks-missing"
    # Of the entries one comes twice.
    assert told["missing"] == 5
    assert told["first"] == [str(chunks[at].digest) for at in (3, 4, 6, 7)]
    assert await status_of(shared, name) == 404
    await send(shared, path, pack_of(chunks[3:]))
    answer = await append(shared, path, [*chunks[3:], chunks[7]], 3 * CHUNK_SIZE)
    assert answer.status == 201
    assert await read(shared, name) == b"".join(one.content for one in [*chunks, chunks[7]])


@on_shared_server
async def test_long_lists_are_appended_as_they_come(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    # Several batches, of which the last has one that is not there.
    chunks = cut(new_bytes(9), 1)
    lost = Chunk.of(name.encode())
    path = await begin(shared, name)
    await send(shared, path, pack_of(chunks))
    listed = [*chunks * 500, lost, *chunks * 20_000, lost]
    answer = await append(shared, path, listed)
    assert answer.status == 409
    assert answer.headers["Upload-Offset"] == "4500"
    told = await answer.json()
    # The last one is behind what is looked up.
    assert (told["missing"], told["first"]) == (1, [str(lost.digest)])


@on_shared_server
@pytest.mark.parametrize("cut_at", [1, 43, 44, 60, CHUNK_SIZE])
async def test_a_pack_that_ends_within_a_record_keeps_those_before(
    shared: Client, name: str, new_bytes: RandomBytes, cut_at: int
) -> None:
    chunks = cut(new_bytes(3 * CHUNK_SIZE))
    path = await begin(shared, name)
    whole = pack_of(chunks[:2])
    answer = await send(shared, path, whole + pack_of(chunks[2:])[:cut_at])
    assert (await problem(answer, 400))["type"].endswith(":invalid-request")
    assert await held(shared, path) == {chunk.digest for chunk in chunks[:2]}


@on_shared_server
@pytest.mark.parametrize("at", [0, 1, 5])
async def test_a_chunk_that_is_not_what_it_says_is_refused(
    shared: Client, name: str, new_bytes: RandomBytes, at: int
) -> None:
    chunks = cut(new_bytes(6 * CHUNK_SIZE))
    records = [Record(one.digest, one.size, Encoded(Codec.IDENTITY, one.content)) for one in chunks]
    other = new_bytes(CHUNK_SIZE)
    records[at] = Record(chunks[at].digest, CHUNK_SIZE, Encoded(Codec.IDENTITY, other))
    path = await begin(shared, name)
    answer = await send(shared, path, b"".join(record.to_bytes() for record in records))
    assert (await problem(answer, 400))["type"].endswith(":digest-mismatch")
    assert await held(shared, path) == {chunk.digest for chunk in chunks[:at]}
    assert len(await missing(shared, [Chunk.of(other)])) == 32


@on_shared_server
@pytest.mark.parametrize(
    "head",
    [
        bytes(32) + b"\2\0\0\0" + bytes([0, 0, 0, 1]) * 2,
        bytes(32) + b"\0\0\1\0" + bytes([0, 0, 0, 1]) * 2,
        bytes(32) + b"\0\0\0\0" + b"\xff" * 8,
        bytes(32) + b"\1\0\0\0" + b"\0\0\0\1" + b"\xff" * 4,
        bytes(32) + b"\0\0\0\0" + bytes(8),
    ],
)
async def test_a_record_that_cannot_be_is_refused_and_those_before_are_kept(
    shared: Client, name: str, new_bytes: RandomBytes, head: bytes
) -> None:
    chunks = cut(new_bytes(2 * CHUNK_SIZE))
    path = await begin(shared, name)
    answer = await send(shared, path, pack_of(chunks) + head + bytes(10 * CHUNK_SIZE))
    assert (await problem(answer, 400))["type"].endswith(":invalid-request")
    assert await held(shared, path) == {chunk.digest for chunk in chunks}


@on_shared_server
@pytest.mark.parametrize(
    ("media_type", "status"),
    [("text/plain", 415), ("", 415), (DIGESTS, 415), (PACK + "; a=b", 200), (RAW, 200)],
)
async def test_other_media_types_of_packs_are_refused(
    shared: Client, name: str, media_type: str, status: int
) -> None:
    path = await begin(shared, name)
    assert (await send(shared, path, b"", media_type)).status == status
    encoded = await send(shared, path, b"", RAW, Content_Encoding="gzip")
    assert encoded.status == 415


@on_shared_server
async def test_a_broken_connection_keeps_whole_records(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    chunks = cut(new_bytes(3 * CHUNK_SIZE))
    path = await begin(shared, name)
    body = pack_of(chunks)
    octets = raw.request(
        "POST", f"{path}/chunks", f"Content-Type: {PACK}", f"Content-Length: {len(body)}",
        body=body[:-1],
    )  # fmt: skip
    wanted = {chunk.digest for chunk in chunks[:2]}
    async with asyncio.timeout(20):
        # What the server has not read when the connection breaks is lost with it.
        while await held(shared, path) != wanted:
            async with raw.connect(shared) as connection:
                await connection.send(octets)
                await held(shared, path)


@on_shared_server
async def test_conditions_are_judged_at_the_beginning_and_at_the_end(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    chunks = cut(new_bytes(2 * CHUNK_SIZE))
    path = await begin(shared, name, If_None_Match="*")
    await send(shared, path, pack_of(chunks))
    await put(shared, name, b"another was faster")
    answer = await append(shared, path, chunks)
    assert (await problem(answer, 412))["type"].endswith(":precondition-failed")
    async with shared.head(path) as state:
        assert state.status == 412
    for fields in ({"If-None-Match": "*"}, {"If-Match": '"x"'}):
        async with shared.post(f"/manifests/{name}", headers=fields) as begun:
            await problem(begun, 412)
    assert (await put_list(shared, name, manifest_of(chunks), If_Match='"x"')).status == 412
    assert await read(shared, name) == b"another was faster"
    # Nothing that it was sent is held any more.
    assert await held(shared, path) == set()


@on_shared_server
@pytest.mark.parametrize("algorithm", ["blake3", "sha-256", "sha-512"])
async def test_what_the_client_claims_is_compared(
    shared: Client, name: str, new_bytes: RandomBytes, algorithm: str
) -> None:
    content = new_bytes(2 * CHUNK_SIZE + 9)
    for right in (True, False):
        claimed = claim(content if right else b"x", algorithm)
        path = await begin(shared, f"{name}-{right}", Repr_Digest=claimed)
        await send(shared, path, content, RAW)
        answer = await append(shared, path, cut(content))
        assert answer.status == (201 if right else 400), await answer.text()
        body = manifest_of(cut(content))
        answer = await put_list(shared, f"{name}-{right}", body, Repr_Digest=claimed)
        assert answer.status == (200 if right else 400), await answer.text()
    assert await status_of(shared, f"{name}-False") == 404


@on_shared_server
async def test_lengths_have_to_agree(shared: Client, name: str, new_bytes: RandomBytes) -> None:
    content = new_bytes(2 * CHUNK_SIZE)
    chunks = cut(content)
    path = await begin(shared, name, Upload_Length=str(len(content)))
    await send(shared, path, content, RAW)
    for listed, offset in ((chunks[:1], 0), (chunks, CHUNK_SIZE)):
        answer = await append(shared, path, listed, offset)
        assert (await answer.json())["type"] == REGISTERED + "inconsistent-upload-length"
        assert answer.headers["Upload-Offset"] == str(CHUNK_SIZE)
    assert (await append(shared, path, chunks[1:], CHUNK_SIZE)).status == 201


@on_shared_server
async def test_sizes_that_are_given_have_to_be_right(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(CHUNK_SIZE)
    await put(shared, f"{name}-a", content)
    entry = Chunk.of(content).digest.raw + (CHUNK_SIZE - 1).to_bytes(4)
    answer = await put_list(shared, name, entry)
    assert "bytes" in (await problem(answer, 400))["detail"]
    path = await begin(shared, name)
    headers = {"Content-Type": MANIFEST, "Upload-Offset": "0", "Upload-Complete": "?1"}
    async with shared.patch(path, data=entry, headers=headers) as refused:
        assert (await problem(refused, 400))["type"].endswith(":invalid-request")
        assert refused.headers["Upload-Offset"] == "0"


@on_shared_server
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": TEXT}, b"", 415),
        ({"Content-Type": DIGESTS, "Content-Encoding": "gzip"}, b"", 415),
        ({"Content-Type": DIGESTS, "Upload-Offset": "x"}, b"", 400),
        ({"Content-Type": DIGESTS, "Upload-Offset": "1"}, b"", 409),
        ({"Content-Type": DIGESTS, "Upload-Offset": "0"}, b"x", 400),
        ({"Content-Type": MANIFEST, "Upload-Offset": "0"}, bytes(36), 400),
        ({"Content-Type": DIGESTS, "Upload-Offset": "0"}, bytes(32), 409),
    ],
)
async def test_lists_that_are_refused(
    shared: Client, name: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    path = await begin(shared, name)
    async with shared.patch(path, data=BytesIO(body), headers=headers) as answer:
        assert answer.status == status, await answer.text()
    async with shared.head(path) as state:
        assert state.headers["Upload-Offset"] == "0"


@on_shared_server
async def test_uploads_that_are_not_there(shared: Client, name: str) -> None:
    path = await begin(shared, name)
    async with shared.delete(path) as deleted:
        assert deleted.status == 204
    for gone in (path, "/uploads/none", "/uploads/n%6Fne"):
        assert (await send(shared, gone, b"")).status == 404
        assert (await append(shared, gone, [])).status == 404
        async with shared.get(f"{gone}/chunks") as answer:
            await problem(answer, 404)


@on_shared_server
async def test_a_complete_upload_takes_no_more(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    chunks = cut(new_bytes(CHUNK_SIZE))
    path = await begin(shared, name)
    await send(shared, path, pack_of(chunks))
    assert (await append(shared, path, chunks)).status == 201
    answer = await send(shared, path, pack_of(chunks))
    assert (await answer.json())["type"] == REGISTERED + "completed-upload"


@on_shared_server
async def test_bytes_and_lists_may_follow_each_other(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    known = new_bytes(2 * CHUNK_SIZE)
    await put(shared, f"{name}-a", known)
    # A tail that fills no chunk, then a list, then bytes again.
    first, last = new_bytes(CHUNK_SIZE + 100), new_bytes(CHUNK_SIZE + 50)
    partial = {"Upload-Complete": "?0"}
    async with shared.put(f"/files/{name}", data=BytesIO(first), headers=partial) as begun:
        path = begun.headers["Location"]
    answer = await append(shared, path, cut(known), len(first), last=False)
    assert answer.status == 204, await answer.text()
    offset = len(first) + len(known)
    assert answer.headers["Upload-Offset"] == str(offset)
    headers = {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(offset),
        "Upload-Complete": "?1",
    }
    async with shared.patch(path, data=BytesIO(last), headers=headers) as finished:
        assert finished.status == 201, await finished.text()
    assert await read(shared, name) == first + known + last


@on_shared_server
async def test_two_lists_at_once_leave_one(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    chunks = cut(new_bytes(8 * CHUNK_SIZE))
    path = await begin(shared, name)
    await send(shared, path, pack_of(chunks))
    answers = await asyncio.gather(*(append(shared, path, chunks) for _ in range(5)))
    assert {answer.status for answer in answers} <= {201, 204, 400, 409}
    async with shared.head(path) as state:
        if state.headers["Upload-Complete"] == "?0":
            offset = int(state.headers["Upload-Offset"])
            rest = chunks[offset // CHUNK_SIZE :]
            assert (await append(shared, path, rest, offset)).status == 201
    assert await read(shared, name) == b"".join(chunk.content for chunk in chunks)


@on_shared_server
async def test_many_packs_at_once_are_all_held(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    chunks = cut(new_bytes(24 * CHUNK_SIZE))
    path = await begin(shared, name)
    # Each chunk comes twice, in packs that overlap, while others ask for the offset.
    parts = [chunks[at : at + 4] for at in range(0, 24, 2)] + [chunks[:4]]
    answers, _ = await asyncio.gather(
        asyncio.gather(*(send(shared, path, pack_of(part)) for part in parts)),
        asyncio.gather(*(shared.head(path) for _ in range(4))),
    )
    assert [answer.status for answer in answers] == [200] * len(parts)
    assert await held(shared, path) == {chunk.digest for chunk in chunks}
    assert (await append(shared, path, chunks)).status == 201


# With a server of its own


async def test_an_answer_that_takes_long_is_202(serve: Serve, new_bytes: RandomBytes) -> None:
    client = await serve(finish_seconds=0)
    content = new_bytes(20 * CHUNK_SIZE)
    path = await begin(client, "a")
    await send(client, path, content, RAW)
    answer = await append(client, path, cut(content))
    assert answer.status == 202
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Upload-Complete"] == "?0"
    assert answer.headers["Upload-Offset"] == str(len(content))
    async with asyncio.timeout(20):
        while True:
            async with client.head(path) as state:
                assert state.status == 204
                if state.headers["Upload-Complete"] == "?1":
                    break
                assert state.headers["Retry-After"]
    assert state.headers["ETag"] == f'"{blake3(content).hexdigest()}"'
    assert await read(client, "a") == content
    # Its chunks in another order are no content that is known.
    answer = await put_list(client, "b", manifest_of([*cut(content)[1:], *cut(content)[:1]]))
    assert answer.status == 202
    async with asyncio.timeout(20):
        while await status_of(client, "b") == 404:
            await client.head(answer.headers["Location"])
    assert await read(client, "b") == content[CHUNK_SIZE:] + content[:CHUNK_SIZE]


async def test_unfinished_packs_count(serve: Serve, new_bytes: RandomBytes) -> None:
    client = await serve(max_unfinished=20 * CHUNK_SIZE)
    path = await begin(client, "a")
    chunks = cut(new_bytes(16 * CHUNK_SIZE))
    assert (await send(client, path, pack_of(chunks))).status == 200
    refused = await send(client, path, pack_of(cut(new_bytes(16 * CHUNK_SIZE))))
    assert (await problem(refused, 507))["type"].endswith(":too-much-unfinished")
    # What is known counts for little.
    assert (await append(client, path, chunks * 4)).status in (201, 413)
    async with client.delete(path) as deleted:
        assert deleted.status == 204
    path = await begin(client, "b")
    assert (await send(client, path, pack_of(chunks))).status == 200


async def test_too_large_a_file_is_refused(serve: Serve, new_bytes: RandomBytes) -> None:
    client = await serve(max_file_size=3 * CHUNK_SIZE)
    chunks = cut(new_bytes(CHUNK_SIZE)) * 4
    path = await begin(client, "a")
    await send(client, path, pack_of(chunks))
    assert (await append(client, path, chunks)).status == 413
    assert (await put_list(client, "a", digests_of(chunks), DIGESTS)).status == 413
    async with client.post("/manifests/a", headers={"Upload-Length": "99999"}) as refused:
        await problem(refused, 413)


@on_shared_server
async def test_base_is_a_list_of_paths(shared: Client, name: str, new_bytes: RandomBytes) -> None:
    content = new_bytes(2 * CHUNK_SIZE)
    await put(shared, f"{name}%2C%20old", content)
    path = await begin(shared, name, Base=f"/files/{name}%2C%20old , /files/none,,")
    assert (await append(shared, path, cut(content))).status == 201
    many = ",".join(["/files/a"] * 17)
    for base in ("/elsewhere", "/files/a//b", many, "/files/%ff", "%", "/files/"):
        async with shared.post(f"/manifests/{name}", headers={"Base": base}) as refused:
            await problem(refused, 400)


@on_shared_server
async def test_digests_are_parsed_in_each_form(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(3 * CHUNK_SIZE)
    await put(shared, f"{name}-a", content[: 2 * CHUNK_SIZE])
    chunks = cut(content)
    lines = "".join(f"{chunk.digest}\n" for chunk in [*chunks, *chunks])
    async with shared.post(
        "/chunks/missing", data=lines, headers={"Content-Type": "text/plain; charset=utf-8"}
    ) as answer:
        assert await answer.text() == f"{chunks[2].digest}\n"
        assert answer.content_type == TEXT
    for form, body in (
        (DIGESTS, digests_of(chunks[:2])),
        (MANIFEST, manifest_of(chunks[:2])),
        (TEXT, "".join(f"{one.digest} {one.size}\r\n" for one in chunks[:2]).encode()),
        (TEXT, "".join(f"{one.digest}\n" for one in chunks[:2]).encode()[:-1]),
    ):
        answer = await put_list(shared, name, body, form)
        assert answer.status in (200, 201), await answer.text()
        assert await read(shared, name) == content[: 2 * CHUNK_SIZE]
    answer = await put_list(shared, name, manifest_of(chunks))
    told = await answer.json()
    assert (answer.status, told["missing"]) == (409, 1)
    assert told["first"] == [str(chunks[2].digest)]
    assert "Upload-Offset" not in answer.headers


@on_shared_server
@pytest.mark.parametrize(
    ("form", "body", "status"),
    [
        (DIGESTS, bytes(31), 400),
        (TEXT, b"x\n", 400),
        (TEXT, b"a" * 100, 400),
        (MANIFEST, b"", 415),
        ("application/json", b"[]", 415),
        (DIGESTS, bytes(32) * 16_384, 200),
        (DIGESTS, bytes(32) * 16_385, 413),
        (TEXT, (b"ab" * 32 + b"\n") * 16_385, 413),
    ],
)
async def test_questions_that_are_refused(
    shared: Client, form: str, body: bytes, status: int
) -> None:
    headers = {"Content-Type": form}
    async with shared.post("/chunks/missing", data=BytesIO(body), headers=headers) as answer:
        assert answer.status == status, await answer.text()
        if status == 200:
            assert await answer.read() == bytes(32)


@on_shared_server
async def test_a_pack_has_a_most_of_records_and_of_bytes(shared: Client, name: str) -> None:
    path = await begin(shared, name)
    one = Chunk.of(name.encode())
    most = await send(shared, path, pack_of([one]) * 16_384)
    assert await most.json() == {"received": 16_384}
    assert (await send(shared, path, pack_of([one]) * 16_385)).status == 413
    head = raw.request(
        "POST", f"{path}/chunks", f"Content-Type: {RAW}", f"Content-Length: {65 << 20}",
        "Expect: 100-continue",
    )  # fmt: skip
    assert (await raw.ask(shared, head, "POST")).status == 413


@on_shared_server
async def test_what_a_server_can_do_is_told(shared: Client) -> None:
    async with shared.get("/chunks") as answer, shared.head("/chunks") as head:
        assert answer.status == head.status == 200
        assert await answer.json() == {
            "version": 1,
            "hash": "blake3",
            "chunking": [f"fixed;size={CHUNK_SIZE}"],
            "max_chunk_size": CHUNK_SIZE,
            "max_digests": 16_384,
            "max_pack_size": 64 << 20,
            "codecs": ["identity", "zstd"],
        }


@on_shared_server
async def test_frames_that_are_not_as_chunks_are_kept_are_refused(
    shared: Client, name: str
) -> None:
    content = bytes(CHUNK_SIZE)
    chunk = Chunk.of(content)
    good = Compression(1).encode(content).content
    # More behind it, another frame, one that decodes to more than it says, and no saving.
    more = Compression(1).encode(bytes(CHUNK_SIZE + 1)).content
    path = await begin(shared, name)
    for frame in (good + b"\0", good + good, more, b"\x28\xb5\x2f\xfd", b"x"):
        record = Record(chunk.digest, chunk.size, Encoded(Codec.ZSTD, frame))
        answer = await send(shared, path, record.to_bytes())
        assert (await problem(answer, 400))["type"].endswith(":digest-mismatch")
    assert await held(shared, path) == set()
    record = Record(chunk.digest, chunk.size, Encoded(Codec.ZSTD, good))
    assert (await send(shared, path, record.to_bytes())).status == 200
