"""Resumable uploads by tus 1.0.0, rule by rule (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from itertools import pairwise
from random import Random

import pytest
from aiohttp import ClientResponse
from blake3 import blake3

from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.conftest import Serve
from tests.http.raw import Server
from tests.http.steps import Client, on_shared_server, problem, put, read, status_of
from tests.http.steps import wait_until as until
from tests.store.rows import Rows

TUS = {"Tus-Resumable": "1.0.0"}
BODY = {**TUS, "Content-Type": "application/offset+octet-stream"}
EXTENSIONS = {
    "creation", "creation-with-upload", "creation-defer-length", "expiration", "checksum",
    "termination", "concatenation", "concatenation-unfinished",
}  # fmt: skip


def metadata(**values: str) -> str:
    return ",".join(f"{key} {b64encode(text.encode()).decode()}" for key, text in values.items())


async def create(client: Client, name: str, length: int | None, **headers: str) -> str:
    """Begin an upload and return its path."""
    told = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    async with client.post(
        "/uploads", headers={**TUS, **told, "Upload-Metadata": metadata(filename=name), **fields}
    ) as response:
        assert response.status == 201, await response.text()
        return response.headers["Location"]


async def patch(
    client: Client,
    path: str,
    offset: int,
    content: bytes | AsyncIterator[bytes] = b"",
    **headers: str,
) -> ClientResponse:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    response = await client.patch(
        path,
        data=BytesIO(content) if isinstance(content, bytes) else content,
        headers={**BODY, "Upload-Offset": str(offset), **fields},
    )
    await response.read()
    return response


async def appended(client: Client, path: str, offset: int, content: bytes) -> ClientResponse:
    response = await patch(client, path, offset, content)
    assert response.status == 204, await response.text()
    assert response.headers["Upload-Offset"] == str(offset + len(content))
    return response


async def offset_of(client: Client, path: str) -> int:
    async with client.head(path, headers=TUS) as response:
        assert response.status == 200
        return int(response.headers["Upload-Offset"])


async def create_part(client: Client, content: bytes, *, sent: int | None = None) -> str:
    headers = {**BODY, "Upload-Concat": "partial", "Upload-Length": str(len(content))}
    async with client.post("/uploads", headers=headers, data=content[:sent]) as response:
        assert response.status == 201, await response.text()
        return response.headers["Location"]


async def concatenate(client: Client, name: str, parts: list[str]) -> ClientResponse:
    headers = {**TUS, "Upload-Concat": "final;" + " ".join(parts)}
    headers["Upload-Metadata"] = metadata(filename=name)
    return await client.post("/uploads", headers=headers)


# Core


@on_shared_server
async def test_an_upload_in_two_requests(shared: Client, name: str, new_bytes: RandomBytes) -> None:
    content = new_bytes(3 * CHUNK_SIZE + 17)
    path = await create(shared, name, len(content))
    first = await appended(shared, path, 0, content[:5000])
    assert "Content-Location" not in first.headers
    assert await status_of(shared, name) == 404
    last = await appended(shared, path, 5000, content[5000:])
    assert last.headers["Content-Location"] == f"/files/{name}"
    assert last.headers["ETag"] == f'"{blake3(content).hexdigest()}"'
    assert await read(shared, name) == content


@on_shared_server
async def test_head_tells_the_state_of_an_upload(shared: Client, name: str) -> None:
    path = await create(shared, name, 10)
    await appended(shared, path, 0, b"123")
    async with shared.head(path, headers=TUS) as response:
        assert response.status == 200
        assert response.headers["Upload-Offset"] == "3"
        assert response.headers["Upload-Length"] == "10"
        assert response.headers["Upload-Metadata"] == metadata(filename=name)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Tus-Resumable"] == "1.0.0"
        assert response.headers["Upload-Expires"].endswith(" GMT")


@on_shared_server
async def test_head_tells_of_a_finished_upload(shared: Client, name: str) -> None:
    path = await create(shared, name, 3)
    await appended(shared, path, 0, b"123")
    async with shared.head(path, headers=TUS) as response:
        assert response.headers["Upload-Offset"] == response.headers["Upload-Length"] == "3"
        assert response.headers["Content-Location"] == f"/files/{name}"


@on_shared_server
@pytest.mark.parametrize("method", ["POST", "HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("version", ["0.2.2", "1.0.1", ""])
async def test_another_version_is_refused(
    shared: Client, name: str, method: str, version: str
) -> None:
    path = "/uploads" if method == "POST" else await create(shared, name, 3)
    headers = {**BODY, "Tus-Resumable": version, "Upload-Offset": "0", "Upload-Length": "3"}
    async with shared.request(method, path, headers=headers) as response:
        assert response.status == 412
        assert response.headers["Tus-Version"] == "1.0.0"


@on_shared_server
async def test_a_request_without_version_is_refused(shared: Client, name: str) -> None:
    path = await create(shared, name, 3)
    headers = {"Content-Type": BODY["Content-Type"], "Upload-Offset": "0"}
    await problem(await shared.patch(path, data=b"123", headers=headers), 412)
    await problem(await shared.post("/uploads", headers={"Upload-Length": "3"}), 412)


@on_shared_server
@pytest.mark.parametrize("path", ["/uploads", "/uploads/", "/uploads/any"])
async def test_options_tell_what_there_is(shared: Client, path: str) -> None:
    async with shared.options(path) as response:
        assert response.status == 204
        assert response.headers["Tus-Version"] == "1.0.0"
        assert set(response.headers["Tus-Extension"].split(",")) == EXTENSIONS
        assert "sha1" in response.headers["Tus-Checksum-Algorithm"].split(",")
        assert int(response.headers["Tus-Max-Size"]) > 0


@on_shared_server
@pytest.mark.parametrize("media_type", ["application/octet-stream", "text/plain"])
async def test_a_patch_of_another_type_is_refused(
    shared: Client, name: str, media_type: str
) -> None:
    path = await create(shared, name, 3)
    await problem(await patch(shared, path, 0, b"123", Content_Type=media_type), 415)
    assert await offset_of(shared, path) == 0


@on_shared_server
@pytest.mark.parametrize("offset", [0, 2, 4, 10, 2**62])
async def test_a_wrong_offset_is_a_conflict(shared: Client, name: str, offset: int) -> None:
    path = await create(shared, name, 10)
    await appended(shared, path, 0, b"123")
    response = await patch(shared, path, offset, b"x")
    assert response.status == 409
    assert response.headers["Upload-Offset"] == "3"
    assert (await response.json(content_type=None))["expected-offset"] == 3
    assert await offset_of(shared, path) == 3


@on_shared_server
@pytest.mark.parametrize("offset", ["-1", "1.5", "x", "", "0x1", "\u0661", " "])
async def test_an_offset_that_is_none_is_refused(shared: Client, name: str, offset: str) -> None:
    path = await create(shared, name, 10)
    await problem(await patch(shared, path, 0, b"x", Upload_Offset=offset), 400)


@on_shared_server
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
@pytest.mark.parametrize("upload", ["none", "a.b", "x" * 200])
async def test_an_unknown_upload_is_not_found(shared: Client, method: str, upload: str) -> None:
    headers = {**BODY, "Upload-Offset": "0"}
    async with shared.request(method, f"/uploads/{upload}", headers=headers) as response:
        assert response.status == 404
        assert "Upload-Offset" not in response.headers


@on_shared_server
async def test_more_bytes_than_declared_are_refused(shared: Client, name: str) -> None:
    path = await create(shared, name, 3)
    response = await patch(shared, path, 0, b"1234")
    assert response.status == 400
    assert (await response.json(content_type=None))["type"].endswith("inconsistent-upload-length")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"12"

    response = await patch(shared, path, 0, endless())
    assert response.status == 400
    assert await offset_of(shared, path) <= 2
    assert await status_of(shared, name) == 404


@on_shared_server
async def test_one_byte_patches_make_progress(shared: Client, name: str) -> None:
    content = b"one by one"
    path = await create(shared, name, len(content))
    for offset in range(len(content)):
        await appended(shared, path, offset, content[offset : offset + 1])
    assert await read(shared, name) == content


@on_shared_server
@pytest.mark.parametrize("method", ["PATCH", "DELETE", "HEAD"])
async def test_post_overrides_the_method(shared: Client, name: str, method: str) -> None:
    path = await create(shared, name, 3)
    headers = {**BODY, "X-HTTP-Method-Override": method, "Upload-Offset": "0"}
    body = b"123" if method == "PATCH" else None
    async with shared.post(path, headers=headers, data=body) as response:
        assert response.status == (200 if method == "HEAD" else 204), await response.text()
    expected = {"PATCH": 200, "DELETE": 404, "HEAD": 404}[method]
    assert await status_of(shared, name) == expected


@on_shared_server
@pytest.mark.parametrize("method", ["GET", "PUT", ""])
async def test_other_overrides_are_refused(shared: Client, name: str, method: str) -> None:
    path = await create(shared, name, 3)
    headers = {**TUS, "X-HTTP-Method-Override": method}
    await problem(await shared.post(path, headers=headers), 405)


@on_shared_server
async def test_the_last_request_can_be_repeated_without_bytes(shared: Client, name: str) -> None:
    path = await create(shared, name, 3)
    await appended(shared, path, 0, b"123")
    again = await appended(shared, path, 3, b"")
    assert again.headers["Content-Location"] == f"/files/{name}"
    assert (await patch(shared, path, 3, b"4")).status == 400


# Creation


@on_shared_server
async def test_without_a_byte_an_upload_lasts_minutes(shared: Client, name: str) -> None:
    path = await create(shared, name, 3)
    assert await seconds_left(shared, path) <= 600
    await appended(shared, path, 0, b"")
    assert await seconds_left(shared, path) <= 600
    await appended(shared, path, 0, b"1")
    assert await seconds_left(shared, path) > 3600


async def seconds_left(client: Client, path: str) -> float:
    async with client.head(path, headers=TUS) as response:
        expires = parsedate_to_datetime(response.headers["Upload-Expires"])
        return (expires - datetime.now(UTC)).total_seconds()


@on_shared_server
async def test_the_name_comes_from_the_metadata(shared: Client, name: str) -> None:
    told = metadata(filename="ä b.png", folder=f"{name}/deep/", filetype="image/x-mine")
    path = await create(shared, "", 1, Upload_Metadata=told)
    response = await appended(shared, path, 0, b"x")
    assert response.headers["Content-Location"] == f"/files/{name}/deep/%C3%A4%20b.png"
    async with shared.get(f"/files/{name}/deep/ä b.png") as file:
        assert file.headers["Content-Type"] == "image/x-mine"


@on_shared_server
@pytest.mark.parametrize(
    "told",
    [
        "", "filename", "filename !", "filename ,", "filename Lg==", "filename Li4vYQ==",
        "filename YQ==,filename YQ==", "filename /w==", "é YQ==", "filename YS9h,folder Li4=",
    ],
)  # fmt: skip
async def test_metadata_that_name_no_file_are_refused(shared: Client, told: str) -> None:
    headers = {**TUS, "Upload-Length": "1", "Upload-Metadata": told}
    await problem(await shared.post("/uploads", headers=headers), 400)


@on_shared_server
@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({}, 400),
        ({"Upload-Length": "-1"}, 400),
        ({"Upload-Length": "x"}, 400),
        ({"Upload-Length": "1e3"}, 400),
        ({"Upload-Length": str(2**63)}, 413),
        ({"Upload-Length": "9" * 30}, 413),
        ({"Upload-Length": str(2**50)}, 413),
        ({"Upload-Length": "1", "Upload-Defer-Length": "1"}, 400),
        ({"Upload-Defer-Length": "2"}, 400),
        ({"Upload-Concat": "other", "Upload-Length": "1"}, 400),
    ],
)
async def test_lengths_that_cannot_be_are_refused(
    shared: Client, name: str, told: dict[str, str], status: int
) -> None:
    headers = {**TUS, "Upload-Metadata": metadata(filename=name), **told}
    await problem(await shared.post("/uploads", headers=headers), status)


async def test_an_upload_larger_than_files_may_be_is_refused(serve: Serve) -> None:
    client = await serve(max_file_size=10)
    headers = {**TUS, "Upload-Metadata": metadata(filename="a"), "Upload-Length": "11"}
    await problem(await client.post("/uploads", headers=headers), 413)
    path = await create(client, "a", None)
    await problem(await patch(client, path, 0, b"x" * 11), 413)
    assert (await client.options("/uploads")).headers["Tus-Max-Size"] == "10"


@on_shared_server
async def test_an_empty_file_needs_no_patch(shared: Client, name: str) -> None:
    await create(shared, name, 0)
    assert await read(shared, name) == b""


@on_shared_server
@pytest.mark.parametrize("sent", [0, 1, 5000, 10_000])
async def test_creation_with_upload(
    shared: Client, name: str, new_bytes: RandomBytes, sent: int
) -> None:
    content = new_bytes(10_000)
    headers = {**BODY, "Upload-Length": "10000", "Upload-Metadata": metadata(filename=name)}
    async with shared.post("/uploads", headers=headers, data=content[:sent]) as response:
        assert response.status == 201
        assert response.headers["Upload-Offset"] == str(sent)
        path = response.headers["Location"]
        assert ("Content-Location" in response.headers) == (sent == 10_000)
    if sent < 10_000:
        await appended(shared, path, sent, content[sent:])
    assert await read(shared, name) == content


@on_shared_server
async def test_the_length_can_come_later(shared: Client, name: str) -> None:
    path = await create(shared, name, None)
    async with shared.head(path, headers=TUS) as response:
        assert response.headers["Upload-Defer-Length"] == "1"
        assert "Upload-Length" not in response.headers
    await appended(shared, path, 0, b"123")
    assert (await patch(shared, path, 3, b"45", Upload_Length="7")).status == 204
    assert (await patch(shared, path, 5, b"67", Upload_Length="8")).status == 400
    async with shared.head(path, headers=TUS) as response:
        assert response.headers["Upload-Length"] == "7"
    await appended(shared, path, 5, b"67")
    assert await read(shared, name) == b"1234567"


@on_shared_server
async def test_conditions_hold_at_creation_and_at_completion(shared: Client, name: str) -> None:
    path = await create(shared, name, 3, If_None_Match="*")
    old = await put(shared, name, b"old")
    await problem(await patch(shared, path, 0, b"new"), 412)
    headers = {**TUS, "Upload-Length": "3", "Upload-Metadata": metadata(filename=name)}
    refused = await shared.post("/uploads", headers={**headers, "If-None-Match": "*"})
    await problem(refused, 412)
    # All of it has come, but it never becomes a file: whoever looks is told.
    assert await read(shared, name) == b"old"
    assert (await shared.delete(f"/files/{name}")).status == 204
    for _ in range(2):
        async with shared.head(path, headers=TUS) as response:
            assert response.status == 412
        await problem(await patch(shared, path, 3, b""), 412)
    old = await put(shared, name, b"old")
    path = await create(shared, name, 3, If_Match=f'"{old["digest"]}"')
    await appended(shared, path, 0, b"new")
    assert await read(shared, name) == b"new"


# Expiration, checksum, termination


async def test_an_expired_upload_is_gone(client: Client, rows: Rows) -> None:
    path = await create(client, "a", 3)
    await rows.expire_uploads()
    await problem(await patch(client, path, 0, b"123"), 410)
    async with client.head(path, headers=TUS) as response:
        assert response.status == 410


@on_shared_server
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512", "md5"])
async def test_bytes_with_their_checksum_are_kept(
    shared: Client, name: str, new_bytes: RandomBytes, algorithm: str
) -> None:
    content = new_bytes(3 * CHUNK_SIZE)
    path = await create(shared, name, len(content))
    for start, stop in ((0, 100), (100, 9000), (9000, len(content))):
        digest = b64encode(hashlib.new(algorithm, content[start:stop]).digest()).decode()
        response = await patch(
            shared, path, start, content[start:stop], Upload_Checksum=f"{algorithm} {digest}"
        )
        assert response.status == 204
    assert await read(shared, name) == content


@on_shared_server
async def test_bytes_with_another_checksum_are_discarded(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(9 * 1024 * 1024)
    path = await create(shared, name, len(content))
    await appended(shared, path, 0, content[:100])
    wrong = b64encode(hashlib.sha1(b"").digest()).decode()
    response = await patch(shared, path, 100, content[100:], Upload_Checksum=f"sha1 {wrong}")
    assert response.status == 460
    assert response.reason == "Checksum Mismatch"
    assert await offset_of(shared, path) == 100
    await appended(shared, path, 100, content[100:])
    async with shared.head(f"/files/{name}") as file:
        assert file.headers["ETag"] == f'"{blake3(content).hexdigest()}"'


@on_shared_server
@pytest.mark.parametrize("checksum", ["crc32 AAAA", "sha1", "sha1 !", "", "sha1:AAAA"])
async def test_a_checksum_that_is_none_is_refused(shared: Client, name: str, checksum: str) -> None:
    path = await create(shared, name, 3)
    response = await patch(shared, path, 0, b"123", Upload_Checksum=checksum)
    assert response.status in (400, 460)
    assert await offset_of(shared, path) == 0


@on_shared_server
async def test_termination(shared: Client, name: str) -> None:
    path = await create(shared, name, 3)
    async with shared.delete(path, headers=TUS) as response:
        assert response.status == 204
    await problem(await patch(shared, path, 0, b"123"), 404)
    await problem(await shared.delete(path, headers=TUS), 404)


# Concatenation


@on_shared_server
@pytest.mark.parametrize(
    "cuts", [[CHUNK_SIZE, 3 * CHUNK_SIZE], [5000], [1, 2, 9000], [CHUNK_SIZE, 5000, 2 * CHUNK_SIZE]]
)
async def test_parts_become_one_file(
    shared: Client, name: str, new_bytes: RandomBytes, cuts: list[int]
) -> None:
    content = new_bytes(4 * CHUNK_SIZE + 99)
    bounds = [0, *cuts, len(content)]
    parts = [await create_part(shared, content[start:stop]) for start, stop in pairwise(bounds)]
    async with await concatenate(shared, name, parts) as response:
        assert response.status == 201, await response.text()
        assert response.headers["Content-Location"] == f"/files/{name}"
        path = response.headers["Location"]
    assert await read(shared, name) == content
    async with shared.head(f"/files/{name}") as file:
        assert file.headers["ETag"] == f'"{blake3(content).hexdigest()}"'
    async with shared.head(path, headers=TUS) as response:
        assert response.headers["Upload-Concat"] == "final;" + " ".join(parts)
        assert response.headers["Upload-Offset"] == response.headers["Upload-Length"]
    async with shared.head(parts[0], headers=TUS) as response:
        assert response.headers["Upload-Concat"] == "partial"
        assert int(response.headers["Upload-Offset"]) == cuts[0]


@on_shared_server
async def test_parts_of_whole_chunks_are_joined_by_their_lists(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(4 * CHUNK_SIZE)
    parts = [await create_part(shared, content[: 2 * CHUNK_SIZE])]
    parts.append(await create_part(shared, content[2 * CHUNK_SIZE :]))
    async with shared.get("/stats") as response:
        before = (await response.json())["chunks"]
    async with await concatenate(shared, name, [f"http://any.example{part}" for part in parts]):
        pass
    async with shared.get("/stats") as response:
        assert (await response.json())["chunks"] == before
    assert await read(shared, name) == content


@on_shared_server
async def test_a_final_upload_takes_no_bytes(shared: Client, name: str) -> None:
    parts = [await create_part(shared, b"12")]
    path = (await concatenate(shared, name, parts)).headers["Location"]
    await problem(await patch(shared, path, 2, b"3"), 403)
    assert await read(shared, name) == b"12"


@on_shared_server
async def test_parts_can_be_unfinished_when_they_are_concatenated(
    shared: Client, name: str
) -> None:
    parts = [await create_part(shared, b"12345", sent=2), await create_part(shared, b"678")]
    async with await concatenate(shared, name, parts) as response:
        assert response.status == 201
        path = response.headers["Location"]
        assert "Upload-Offset" not in response.headers
    async with shared.head(path, headers=TUS) as response:
        assert response.status == 200
        assert "Upload-Offset" not in response.headers
    await problem(await patch(shared, path, 0, b"3"), 403)
    await appended(shared, parts[0], 2, b"345")

    async def finished() -> bool:
        return await status_of(shared, name) == 200

    await until(finished)
    assert await read(shared, name) == b"12345678"


@on_shared_server
@pytest.mark.parametrize(
    ("concat", "status"),
    [
        ("final;", 400),
        ("final", 400),
        ("final;/files/x", 400),
        ("final;/uploads/none", 404),
        ("final;http://[", 400),
        ("final;/uploads/none http://other.example/uploads/none", 400),
        ("final;" + " ".join(f"/uploads/{number}" for number in range(1001)), 431),
    ],
)
async def test_what_cannot_be_concatenated(
    shared: Client, name: str, concat: str, status: int
) -> None:
    headers = {**TUS, "Upload-Concat": concat, "Upload-Metadata": metadata(filename=name)}
    await problem(await shared.post("/uploads", headers=headers), status)


async def test_head_waits_for_a_concatenation(
    client: Client, rows: Rows, random_bytes: RandomBytes
) -> None:
    content = random_bytes(2_000_000)
    bounds = [*range(0, len(content), 99_999), len(content)]
    parts = [await create_part(client, content[start:stop]) for start, stop in pairwise(bounds)]
    made = asyncio.create_task(concatenate(client, "a", parts))
    path = f"/uploads/{await concatenation_that_runs(rows)}"
    heads = [asyncio.create_task(client.head(path, headers=TUS)) for _ in range(3)]
    refused = await patch(client, path, 0, b"x")
    statuses = sorted([(await head).status for head in heads])
    assert (statuses, refused.status) == ([200, 200, 200], 403)
    assert (await made).status == 201
    assert await read(client, "a") == content


async def test_a_concatenation_ends_with_its_client(
    any_server: Server, rows: Rows, random_bytes: RandomBytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chunkstore.http.resumable.dialects._CHECK_SECONDS", 0.01)
    content = random_bytes(3_000_000)
    bounds = [*range(0, len(content), 39_999), len(content)]
    parts = []
    for start, stop in pairwise(bounds):
        piece = content[start:stop]
        fields = [f"{key}: {value}" for key, value in BODY.items()]
        fields += ["Upload-Concat: partial", f"Upload-Length: {len(piece)}"]
        created = await raw.ask(
            any_server,
            raw.request("POST", "/uploads", *fields, f"Content-Length: {len(piece)}", body=piece),
        )
        parts.append(created.headers["Location"])
    told = [f"{key}: {value}" for key, value in TUS.items()]
    final = f"Upload-Concat: final;{' '.join(parts)}"
    name = f"Upload-Metadata: {metadata(filename='a')}"
    async with raw.connect(any_server) as connection:
        await connection.send(raw.request("POST", "/uploads", *told, final, name))
        upload_id = await concatenation_that_runs(rows)

    async def stopped() -> bool:
        [before] = [row.received for row in await rows.uploads() if row.id == upload_id]
        await asyncio.sleep(0.2)
        [after] = [row.received for row in await rows.uploads() if row.id == upload_id]
        return before == after < len(content)

    await until(stopped)
    head = await raw.ask(any_server, raw.request("HEAD", f"/uploads/{upload_id}", *told), "HEAD")
    assert (head.status, head.headers["Content-Location"]) == (200, "/files/a")


async def concatenation_that_runs(rows: Rows) -> str:
    """Wait until some of a concatenation is there, and return its id."""
    found: list[str] = []

    async def begun() -> bool:
        found[:] = [
            row.id
            for row in await rows.uploads()
            if row.kind == "concatenation" and row.received and not row.whole
        ]
        return bool(found)

    await until(begun)
    return found[0]


# What survives


async def test_what_came_before_a_cut_is_kept(
    any_server: Server, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * 1024 * 1024)
    told = [f"{key}: {value}" for key, value in TUS.items()]
    name = f"Upload-Metadata: {metadata(filename='a')}"
    created = await raw.ask(
        any_server,
        raw.request("POST", "/uploads", *told, f"Upload-Length: {len(content)}", name),
    )
    path = created.headers["Location"]
    sent = 2 * 1024 * 1024 + 12345
    async with raw.connect(any_server) as connection:
        fields = [f"{key}: {value}" for key, value in BODY.items()]
        fields += ["Upload-Offset: 0", f"Content-Length: {len(content)}"]
        await connection.send(raw.request("PATCH", path, *fields, body=content[:sent]))
        # What was sent has arrived, or nearly so.
        await asyncio.sleep(0.5)
    head = await raw.ask(any_server, raw.request("HEAD", path, *told), "HEAD")
    offset = int(head.headers["Upload-Offset"])
    assert 0 < offset <= sent
    rest = content[offset:]
    fields = [f"{key}: {value}" for key, value in BODY.items()]
    fields += [f"Upload-Offset: {offset}", f"Content-Length: {len(rest)}"]
    answer = await raw.ask(any_server, raw.request("PATCH", path, *fields, body=rest))
    assert answer.status == 204
    got = await raw.ask(any_server, raw.request("GET", "/files/a"))
    assert got.body == content


async def test_the_newer_of_two_requests_wins(
    any_server: Server, random_bytes: RandomBytes
) -> None:
    content = random_bytes(1024 * 1024)
    told = [f"{key}: {value}" for key, value in TUS.items()]
    fields = [f"{key}: {value}" for key, value in BODY.items()]
    name = f"Upload-Metadata: {metadata(filename='a')}"
    created = await raw.ask(
        any_server,
        raw.request("POST", "/uploads", *told, f"Upload-Length: {len(content)}", name),
    )
    path = created.headers["Location"]
    older = raw.request(
        "PATCH", path, *fields, "Upload-Offset: 0", f"Content-Length: {len(content)}",
        body=content[:100_000],
    )  # fmt: skip
    async with raw.connect(any_server) as connection:
        await connection.send(older)
        await asyncio.sleep(0.3)
        # The older hangs. Asking for the offset ends it, and keeps what it brought.
        head = await raw.ask(any_server, raw.request("HEAD", path, *told), "HEAD")
        offset = int(head.headers["Upload-Offset"])
        assert offset == 100_000
        rest = content[offset:]
        fields += [f"Upload-Offset: {offset}", f"Content-Length: {len(rest)}"]
        answer = await raw.ask(any_server, raw.request("PATCH", path, *fields, body=rest))
        assert answer.status == 204
        assert (await connection.receive("PATCH")).status == 409
    assert (await raw.ask(any_server, raw.request("GET", "/files/a"))).body == content


async def test_a_storm_of_retries(any_server: Server, random_bytes: RandomBytes) -> None:
    content = random_bytes(600_000)
    told = [f"{key}: {value}" for key, value in TUS.items()]
    fields = [f"{key}: {value}" for key, value in BODY.items()]
    name = f"Upload-Metadata: {metadata(filename='a')}"
    created = await raw.ask(
        any_server,
        raw.request("POST", "/uploads", *told, f"Upload-Length: {len(content)}", name),
    )
    path = created.headers["Location"]
    random = Random(5)
    statuses: Counter[int] = Counter()
    known = 0  # The greatest offset that any answer has told.

    async def note(answer: raw.Answer, since: int) -> None:
        nonlocal known
        statuses[answer.status] += 1
        if "Upload-Offset" in answer.headers:
            offset = int(answer.headers["Upload-Offset"])
            assert offset >= since
            known = max(known, offset)

    async def look() -> None:
        since = known
        await note(await raw.ask(any_server, raw.request("HEAD", path, *told), "HEAD"), since)

    async def append() -> None:
        since, offset = known, random.choice([known, known, known, 0])
        rest = content[offset : offset + random.choice([1, 5000, 40_000])]
        sent = rest[: random.choice([len(rest), len(rest) // 2, 0])]
        head = [*fields, f"Upload-Offset: {offset}", f"Content-Length: {len(rest)}"]
        async with raw.connect(any_server) as connection:
            await connection.send(raw.request("PATCH", path, *head, body=sent))
            if len(sent) == len(rest):
                await note(await connection.receive("PATCH"), since)
            else:
                await asyncio.sleep(random.choice([0, 0.001, 0.01]))

    async def client() -> None:
        for _ in range(15):
            await (look() if random.random() < 0.4 else append())
            # So that some are left in peace to the end, and some are not.
            await asyncio.sleep(random.random() * 0.02)

    async def steady() -> None:
        while statuses[204] < 5:
            await look()
            await append()

    async with asyncio.timeout(60), asyncio.TaskGroup() as clients:
        clients.create_task(steady())
        for _ in range(6):
            clients.create_task(client())
    assert set(statuses) <= {200, 204, 400, 409}, statuses
    head = await raw.ask(any_server, raw.request("HEAD", path, *told), "HEAD")
    offset = int(head.headers["Upload-Offset"])
    assert offset >= known > 0
    if offset < len(content):
        fields += [f"Upload-Offset: {offset}", f"Content-Length: {len(content) - offset}"]
        octets = raw.request("PATCH", path, *fields, body=content[offset:])
        assert (await raw.ask(any_server, octets)).status == 204
    assert (await raw.ask(any_server, raw.request("GET", "/files/a"))).body == content


async def test_the_total_of_unfinished_uploads_is_bounded(serve: Serve) -> None:
    client = await serve(max_unfinished=10 * CHUNK_SIZE)
    path = await create(client, "a", 9 * CHUNK_SIZE)
    await appended(client, path, 0, b"x" * (9 * CHUNK_SIZE - 1))
    other = await create(client, "b", 8 * CHUNK_SIZE)
    await problem(await patch(client, other, 0, b"y" * (8 * CHUNK_SIZE)), 507)
    refused = {**TUS, "Upload-Length": "1", "Upload-Metadata": metadata(filename="c")}
    await problem(await client.post("/uploads", headers=refused), 507)
    refused["Upload-Length"] = str(10 * CHUNK_SIZE + 1)
    await problem(await client.post("/uploads", headers=refused), 413)
    await appended(client, path, 9 * CHUNK_SIZE - 1, b"x")
    offset = await offset_of(client, other)
    await appended(client, other, offset, b"y" * (8 * CHUNK_SIZE - offset))
