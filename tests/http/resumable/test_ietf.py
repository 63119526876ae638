"""Resumable uploads as the IETF drafts them (draft-ietf-httpbis-resumable-upload), rule by rule."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from io import BytesIO

import pytest
from aiohttp import ClientResponse
from blake3 import blake3

from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.conftest import Serve
from tests.http.raw import Server
from tests.http.steps import Client, on_shared_server, problem, put, read, status_of
from tests.store.rows import Rows

PARTIAL = "application/partial-upload"
REGISTERED = "https://iana.org/assignments/http-problem-types#"


async def begin(
    client: Client, name: str, content: bytes = b"", *, method: str = "PUT", **headers: str
) -> ClientResponse:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    response = await client.request(
        method,
        f"/files/{name}",
        data=BytesIO(content),
        headers={"Upload-Complete": "?0", **fields},
    )
    await response.read()
    return response


async def append(
    client: Client, path: str, offset: int, content: bytes, complete: str = "?0", **headers: str
) -> ClientResponse:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    told = {"Upload-Offset": str(offset), "Upload-Complete": complete, "Content-Type": PARTIAL}
    response = await client.patch(path, data=BytesIO(content), headers={**told, **fields})
    await response.read()
    return response


async def location_of(client: Client, name: str, content: bytes = b"", **headers: str) -> str:
    response = await begin(client, name, content, **headers)
    assert response.status == 201, await response.text()
    return response.headers["Location"]


@on_shared_server
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_an_upload_in_several_requests(
    shared: Client, name: str, new_bytes: RandomBytes, method: str
) -> None:
    content = new_bytes(3 * CHUNK_SIZE + 5)
    begun = await begin(shared, name, content[:100], method=method, Content_Type="text/x-mine")
    assert begun.status == 201
    assert begun.headers["Upload-Complete"] == "?0"
    assert begun.headers["Upload-Offset"] == "100"
    assert "max-age=" in begun.headers["Upload-Limit"]
    path = begun.headers["Location"]
    middle = await append(shared, path, 100, content[100:9000])
    assert (middle.status, middle.headers["Upload-Complete"]) == (204, "?0")
    assert await status_of(shared, name) == 404
    last = await append(shared, path, 9000, content[9000:], "?1")
    # As PUT would have answered.
    assert (last.status, last.headers["Upload-Complete"]) == (201, "?1")
    assert last.headers["ETag"] == f'"{blake3(content).hexdigest()}"'
    assert last.headers["Content-Location"] == f"/files/{name}"
    assert (await last.json())["new_size"] == len(content)
    assert await read(shared, name) == content
    async with shared.head(f"/files/{name}") as file:
        assert file.headers["Content-Type"] == "text/x-mine"


@on_shared_server
async def test_head_tells_offset_and_completeness(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"12", Upload_Length="3")
    async with shared.head(path) as response:
        assert response.status == 204
        assert response.headers["Upload-Offset"] == "2"
        assert response.headers["Upload-Complete"] == "?0"
        assert response.headers["Upload-Length"] == "3"
        assert response.headers["Cache-Control"] == "no-store"
        assert "max-age=" in response.headers["Upload-Limit"]
    await append(shared, path, 2, b"3", "?1")
    async with shared.head(path) as response:
        assert response.headers["Upload-Offset"] == "3"
        assert response.headers["Upload-Complete"] == "?1"
        assert response.headers["Content-Location"] == f"/files/{name}"


@on_shared_server
async def test_get_tells_what_head_does(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"12", Upload_Length="3")
    async with shared.head(path) as head, shared.get(path) as got:
        assert got.status == head.status == 204
        for field in ("Upload-Offset", "Upload-Complete", "Upload-Length", "Cache-Control"):
            assert got.headers[field] == head.headers[field]
        assert "max-age=" in got.headers["Upload-Limit"]
        assert await got.read() == b""


@on_shared_server
@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Offset": "2"}, 400), ({"Upload-Complete": "?0"}, 400),
        ({"Upload-Complete": "?1"}, 400), ({"Upload-Offset": "x"}, 204),
    ],
)  # fmt: skip
async def test_who_asks_for_the_offset_tells_none(
    shared: Client, name: str, method: str, headers: dict[str, str], status: int
) -> None:
    path = await location_of(shared, name, b"12")
    async with shared.request(method, path, headers=headers) as response:
        assert response.status == status


@on_shared_server
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Upload-Offset": "1"}, 409), ({"Upload-Offset": "x"}, 400),
        ({"Upload-Complete": "x"}, 400), ({"Content-Type": "text/plain"}, 415),
        ({"Content-Encoding": "gzip"}, 415), ({"Content-Digest": "sha-256=1"}, 400),
        ({"Content-Digest": "sha-256=:AAAA:"}, 400), ({"Upload-Length": str(2**45)}, 413),
    ],
)  # fmt: skip
async def test_every_refused_append_tells_the_state(
    shared: Client, name: str, change: dict[str, str], status: int
) -> None:
    path = await location_of(shared, name, b"12")
    told = {"Upload-Offset": "2", "Upload-Complete": "?0", "Content-Type": PARTIAL, **change}
    async with shared.patch(path, data=b"x", headers=told) as response:
        assert response.status == status
        assert response.headers["Upload-Offset"] == "2"
        assert response.headers["Upload-Complete"] == "?0"
        assert "max-age=" in response.headers["Upload-Limit"]
    assert (await append(shared, path, 2, b"3", "?1")).status == 201


@on_shared_server
async def test_all_bytes_are_not_completeness(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"123", Upload_Length="3")
    async with shared.head(path) as response:
        assert (response.headers["Upload-Offset"], response.headers["Upload-Complete"]) == (
            "3",
            "?0",
        )
    assert await status_of(shared, name) == 404
    last = await append(shared, path, 3, b"", "?1")
    assert last.status == 201
    assert await read(shared, name) == b"123"


@on_shared_server
async def test_an_empty_upload(shared: Client, name: str) -> None:
    path = await location_of(shared, name)
    assert (await append(shared, path, 0, b"", "?1")).status == 201
    assert await read(shared, name) == b""


@on_shared_server
@pytest.mark.parametrize("version", [None, "4", "10", "?1", "x"])
async def test_nothing_is_told_early_unless_asked(
    shared: Client, name: str, version: str | None
) -> None:
    fields = ["Upload-Complete: ?0", "Content-Length: 3"]
    if version is not None:
        fields.append(f"Upload-Draft-Interop-Version: {version}")
    answer = await raw.ask(shared, raw.request("PUT", f"/files/{name}", *fields, body=b"123"))
    assert answer.status == 201


@on_shared_server
@pytest.mark.parametrize("version", ["5", "6", "7", "8", "9"])
async def test_who_asks_hears_of_the_upload_early(shared: Client, name: str, version: str) -> None:
    fields = [
        "Upload-Complete: ?1", "Content-Length: 3", "Expect: 100-continue",
        f"Upload-Draft-Interop-Version: {version}",
    ]  # fmt: skip
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("PUT", f"/files/{name}", *fields))
        told = await connection.receive("PUT")
        assert told.status == 104
        assert told.headers["Upload-Draft-Interop-Version"] == version
        assert ("expires=" if version == "6" else "max-age=") in told.headers["Upload-Limit"]
        # Telling of the upload does not spare inviting the body.
        assert (await connection.receive("PUT")).status == 100
        await connection.send(b"123")
        offset = await connection.receive("PUT")
        assert (offset.status, offset.headers["Upload-Offset"]) == (104, "3")
        answer = await connection.receive("PUT")
        assert answer.status == 201
        assert answer.headers["Location"] == told.headers["Location"]
        assert answer.headers["Upload-Complete"] == "?1"
    assert await read(shared, name) == b"123"


@on_shared_server
async def test_http_1_0_hears_nothing_early(shared: Client, name: str) -> None:
    fields = ["Upload-Complete: ?0", "Content-Length: 3", "Upload-Draft-Interop-Version: 8"]
    octets = raw.request("PUT", f"/files/{name}", *fields, body=b"123", version="1.0")
    assert (await raw.ask(shared, octets)).status == 201


@on_shared_server
@pytest.mark.parametrize("offset", [0, 1, 3, 2**40])
async def test_a_wrong_offset_is_a_conflict(shared: Client, name: str, offset: int) -> None:
    path = await location_of(shared, name, b"12")
    response = await append(shared, path, offset, b"x")
    assert (response.status, response.headers["Upload-Offset"]) == (409, "2")
    assert response.headers["Upload-Complete"] == "?0"
    document = await response.json(content_type=None)
    assert document["type"] == REGISTERED + "mismatching-upload-offset"
    assert (document["expected-offset"], document["provided-offset"]) == (2, offset)


@on_shared_server
@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Offset": "x"}, {"Upload-Offset": "-1"}, {"Upload-Offset": "1.0"},
        {"Upload-Offset": '"0"'}, {"Upload-Offset": "?1"}, {"Upload-Complete": "1"},
        {"Upload-Complete": "yes"}, {"Upload-Complete": "?2"},
    ],
)  # fmt: skip
async def test_fields_that_are_malformed_count_as_missing(
    shared: Client, name: str, headers: dict[str, str]
) -> None:
    path = await location_of(shared, name)
    told = {"Upload-Offset": "0", "Upload-Complete": "?0", "Content-Type": PARTIAL, **headers}
    await problem(await shared.patch(path, data=b"x", headers=told), 400)


@on_shared_server
async def test_a_patch_of_another_type_is_refused(shared: Client, name: str) -> None:
    path = await location_of(shared, name)
    response = await append(shared, path, 0, b"x", Content_Type="text/plain")
    assert response.status == 415
    assert PARTIAL in response.headers["Accept-Patch"]
    # The version of draft 3 had no type of its own yet.
    response = await append(
        shared, path, 0, b"x", Content_Type="text/plain", Upload_Draft_Interop_Version="5"
    )
    assert response.status == 204


@on_shared_server
@pytest.mark.parametrize(
    ("content", "complete", "length"),
    [(b"3", "?0", "6"), (b"3", "?1", None), (b"3", "?1", "3"), (b"3456", "?0", None)],
)
async def test_a_length_that_does_not_fit_voids_the_upload(
    shared: Client, name: str, content: bytes, complete: str, length: str | None
) -> None:
    path = await location_of(shared, name, b"12", Upload_Length="5")
    told = {} if length is None else {"Upload_Length": length}
    await refused_as_void(await append(shared, path, 2, content, complete, **told), offset="2")
    await check_void(shared, name, path)


@on_shared_server
@pytest.mark.parametrize(
    ("pieces", "complete"), [([b"34", b"56"], "?0"), ([b"34", b"56"], "?1"), ([b"3"], "?1")]
)
async def test_so_does_one_that_shows_as_bytes_come(
    shared: Client, name: str, pieces: list[bytes], complete: str
) -> None:
    path = await location_of(shared, name, b"12", Upload_Length="5")
    body = [raw.chunked(*pieces), raw.LAST_CHUNK]
    answer = await raw.ask(
        shared,
        raw.request(
            "PATCH", path, "Upload-Offset: 2", f"Upload-Complete: {complete}",
            f"Content-Type: {PARTIAL}", "Transfer-Encoding: chunked", body=b"".join(body),
        ),
    )  # fmt: skip
    assert (answer.status, answer.headers["Upload-Complete"]) == (400, "?0")
    await check_void(shared, name, path)


async def refused_as_void(response: ClientResponse, offset: str) -> None:
    assert response.status == 400
    assert response.headers["Upload-Complete"] == "?0"
    assert response.headers["Upload-Offset"] == offset
    document = await response.json(content_type=None)
    assert document["type"] == REGISTERED + "inconsistent-upload-length"


async def check_void(client: Client, name: str, path: str) -> None:
    """Check that nothing can be done with an upload but to cancel it."""
    for method in ("HEAD", "GET"):
        async with client.request(method, path) as response:
            assert (response.status, response.headers["Upload-Complete"]) == (400, "?0")
    for complete in ("?0", "?1"):
        response = await append(client, path, 2, b"345", complete)
        assert (response.status, response.headers["Upload-Complete"]) == (400, "?0")
    assert (await client.delete(path)).status == 204
    assert await status_of(client, name) == 404


@on_shared_server
async def test_lengths_of_one_request_must_agree(shared: Client, name: str) -> None:
    response = await begin(shared, name, b"12", Upload_Length="3", Upload_Complete="?1")
    assert response.status in (200, 201)  # A plain PUT: nothing would hear of an upload.
    response = await begin(
        shared, name, b"12", Upload_Length="3", Upload_Complete="?1",
        Upload_Draft_Interop_Version="8",
    )  # fmt: skip
    assert (response.status, response.headers["Upload-Complete"]) == (400, "?0")


@on_shared_server
async def test_a_stale_or_malformed_request_voids_nothing(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"12", Upload_Length="3")
    response = await append(shared, path, 2, b"3", "?1", Upload_Length="4")
    assert (response.status, response.headers["Upload-Complete"]) == (400, "?0")
    response = await append(shared, path, 0, b"12345")
    assert (response.status, response.headers["Upload-Offset"]) == (409, "2")
    await append(shared, path, 2, b"3", "?1")
    assert (await append(shared, path, 3, b"45", Upload_Length="5")).status == 400
    async with shared.head(path) as head:
        assert (head.status, head.headers["Upload-Complete"]) == (204, "?1")
    assert await read(shared, name) == b"123"


@on_shared_server
async def test_a_name_that_cannot_be_is_refused_at_creation(shared: Client, name: str) -> None:
    await put(shared, name)
    await problem(await begin(shared, f"{name}/below"), 409)


@on_shared_server
async def test_a_complete_upload_takes_nothing_more(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"12")
    await append(shared, path, 2, b"", "?1")
    for content in (b"", b"3"):
        response = await append(shared, path, 2, content, "?1")
        assert (response.status, response.headers["Upload-Complete"]) == (400, "?0")
        assert (await response.json(content_type=None))["type"] == REGISTERED + "completed-upload"
    assert await read(shared, name) == b"12"


@on_shared_server
async def test_cancellation(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"12")
    assert (await shared.delete(path)).status == 204
    assert (await append(shared, path, 2, b"3")).status == 404
    assert (await shared.head(path)).status == 404


async def test_an_expired_upload_is_gone(client: Client, rows: Rows) -> None:
    path = await location_of(client, "a", b"12")
    await rows.expire_uploads()
    await problem(await append(client, path, 2, b"3"), 410)


@on_shared_server
async def test_conditions_hold_at_completion(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"new", If_None_Match="*")
    await put(shared, name, b"old")
    response = await append(shared, path, 3, b"", "?1")
    # Not the transfer failed, but what it was for.
    assert (response.status, response.headers["Upload-Complete"]) == (412, "?1")
    for answer in (await shared.head(path), await append(shared, path, 3, b"", "?1")):
        assert (answer.status, answer.headers["Upload-Complete"]) == (412, "?1")
        assert answer.headers["Upload-Offset"] == "3"
    assert (await begin(shared, name, If_None_Match="*")).status == 412
    assert await read(shared, name) == b"old"


@on_shared_server
async def test_the_digest_of_one_request_is_checked(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"12")
    right, wrong = (b64encode(hashlib.sha256(text).digest()).decode() for text in (b"34", b"12"))
    refused = await append(shared, path, 2, b"34", Content_Digest=f"sha-256=:{wrong}:")
    assert refused.status == 400
    taken = await append(shared, path, 2, b"34", "?1", Content_Digest=f"sha-256=:{right}:")
    assert taken.status == 201
    assert await read(shared, name) == b"1234"


@on_shared_server
async def test_the_digest_of_the_whole_is_checked(shared: Client, name: str) -> None:
    for content, status in ((b"1234", 201), (b"1243", 400)):
        digest = b64encode(hashlib.sha256(b"1234").digest()).decode()
        path = await location_of(shared, name, content[:2], Repr_Digest=f"sha-256=:{digest}:")
        response = await append(shared, path, 2, content[2:], "?1")
        assert (response.status, response.headers["Upload-Complete"]) == (status, "?1")
    assert await read(shared, name) == b"1234"


async def test_limits_are_told(serve: Serve) -> None:
    client = await serve(max_file_size=100)
    for path in ("/files/a", "/uploads"):
        response = await client.options(path)
        assert PARTIAL in response.headers["Accept-Patch"]
        assert response.headers["Upload-Limit"].startswith("max-size=100, max-age=")
    response = await begin(client, "a", Upload_Length="101")
    assert response.status == 413
    assert "max-size=100" in response.headers["Upload-Limit"]
    response = await begin(client, "a", b"x" * 101, Upload_Complete="?1")
    assert response.status == 413
    assert "max-size=100" in response.headers["Upload-Limit"]


async def test_too_much_unfinished_tells_the_limits(serve: Serve) -> None:
    client = await serve(max_unfinished=2 * CHUNK_SIZE)
    path = await location_of(client, "a", b"x" * CHUNK_SIZE)
    await location_of(client, "b")
    for response in (await begin(client, "c"), await append(client, path, CHUNK_SIZE, b"x")):
        assert response.status == 507
        assert f"max-size={2 * CHUNK_SIZE}" in response.headers["Upload-Limit"]
    assert response.headers["Upload-Offset"] == str(CHUNK_SIZE)
    assert response.headers["Upload-Complete"] == "?0"


@on_shared_server
async def test_without_a_byte_an_upload_lasts_minutes(shared: Client, name: str) -> None:
    empty = await begin(shared, name)
    assert 500 < max_age_of(empty) <= 600
    path = empty.headers["Location"]
    assert max_age_of(await shared.head(path)) <= 600
    assert max_age_of(await append(shared, path, 0, b"")) <= 600
    assert max_age_of(await append(shared, path, 0, b"1")) > 3600
    assert max_age_of(await shared.head(path)) > 3600
    assert max_age_of(await begin(shared, name, b"1")) > 3600


def max_age_of(response: ClientResponse) -> int:
    return int(response.headers["Upload-Limit"].partition("max-age=")[2])


@on_shared_server
async def test_a_plain_put_leaves_nothing_when_it_is_cut(shared: Client, name: str) -> None:
    before = await shared.get("/stats")
    for fields in ([], ["Upload-Complete: ?1"]):
        async with raw.connect(shared) as connection:
            fields = [*fields, "Content-Length: 100000"]
            await connection.send(raw.request("PUT", f"/files/{name}", *fields, body=b"x" * 50_000))
            await asyncio.sleep(0.2)
    assert await status_of(shared, name) == 404
    assert before.status == 200


async def test_what_came_before_a_cut_is_kept(
    any_server: Server, random_bytes: RandomBytes
) -> None:
    content = random_bytes(3 * 1024 * 1024)
    fields = ["Upload-Complete: ?1", "Upload-Draft-Interop-Version: 8"]
    async with raw.connect(any_server) as connection:
        length = f"Content-Length: {len(content)}"
        head = raw.request("PUT", "/files/a", *fields, length)
        await connection.send(head + content[: 2 * 1024 * 1024 + 5])
        told = await connection.receive("PUT")
        assert told.status == 104
        await asyncio.sleep(0.5)
    path = told.headers["Location"]
    answer = await raw.ask(any_server, raw.request("HEAD", path), "HEAD")
    offset = int(answer.headers["Upload-Offset"])
    assert offset > 0
    assert answer.headers["Upload-Complete"] == "?0"
    rest = content[offset:]
    answer = await raw.ask(
        any_server,
        raw.request(
            "PATCH", path, f"Upload-Offset: {offset}", "Upload-Complete: ?1",
            f"Content-Length: {len(rest)}", f"Content-Type: {PARTIAL}", body=rest,
        ),
    )  # fmt: skip
    assert answer.status == 201
    assert answer.headers["ETag"] == f'"{blake3(content).hexdigest()}"'


@on_shared_server
async def test_an_upload_belongs_to_no_dialect(shared: Client, name: str) -> None:
    path = await location_of(shared, name, b"12", Upload_Length="4")
    tus = {"Tus-Resumable": "1.0.0"}
    async with shared.head(path, headers=tus) as response:
        assert (response.status, response.headers["Upload-Offset"]) == (200, "2")
    headers = {**tus, "Upload-Offset": "2", "Content-Type": "application/offset+octet-stream"}
    assert (await shared.patch(path, data=b"34", headers=headers)).status == 204
    assert await read(shared, name) == b"1234"
