"""`POST /batch`: several edits in one transaction, on both databases."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from hashlib import sha256
from io import BytesIO

import pytest
from aiohttp import ClientResponse

from chunkstore.http.native.edit_lines import MAX_EDITS, MAX_FOLDER_EDITS
from tests.http.conftest import Serve
from tests.http.steps import Client, Json, names, on_shared_server, put, read, status_of

JSON_LINES = {"Content-Type": "application/jsonl"}
TUS = {"Tus-Resumable": "1.0.0"}


def lines(*edits: Json) -> bytes:
    return b"".join(json.dumps(edit).encode() + b"\n" for edit in edits)


async def send(client: Client, *edits: Json) -> ClientResponse:
    return await client.post("/batch", data=lines(*edits), headers=JSON_LINES)


async def apply(client: Client, *edits: Json) -> list[Json]:
    response = await send(client, *edits)
    text = await response.text()
    assert response.status == 200, text
    assert response.content_type == "application/jsonl"
    return [json.loads(line) for line in text.splitlines()]


async def refused(client: Client, status: int, edit: int | None, *edits: Json) -> str:
    """Send a batch that fails by one edit; return what the answer says of it."""
    return await refusal(await send(client, *edits), status, edit)


async def refusal(response: ClientResponse, status: int, edit: int | None) -> str:
    told = await response.json(content_type="application/problem+json")
    assert response.status == told["status"] == status, told
    assert told.get("edit") == edit, told
    detail: str = told["detail"]
    return detail


async def upload(client: Client, content: bytes, length: int | None = None) -> str:
    """Begin a partial upload and return its URL; it is whole unless `length` is greater."""
    headers = {
        **TUS,
        "Upload-Concat": "partial",
        "Upload-Length": str(len(content) if length is None else length),
        "Content-Type": "application/offset+octet-stream",
    }
    response = await client.post("/uploads", data=content, headers=headers)
    assert response.status == 201, await response.text()
    return response.headers["Location"]


def put_of(name: str, upload_url: str, **members: object) -> Json:
    return {"edit": "put", "name": name, "upload": upload_url, **members}


def edit(kind: str, source: str, target: str, **members: object) -> Json:
    return {"edit": kind, "source": source, "target": target, **members}


def delete(name: str, **members: object) -> Json:
    return {"edit": "delete", "name": name, **members}


@on_shared_server
async def test_all_kinds_of_edits_at_once(shared: Client, name: str) -> None:
    await put(shared, f"{name}/old", b"old")
    await put(shared, f"{name}/d/inner", b"inner")
    first, second = await upload(shared, b"first"), await upload(shared, b"second" * 9999)
    told = await apply(
        shared,
        put_of(f"{name}/a.png", first, conditions={"If-None-Match": "*"}),
        put_of(f"{name}/old", second, media_type="text/x-new"),
        edit("copy", f"{name}/a.png", f"{name}/copy"),
        edit("move", f"{name}/d/", f"{name}/e/"),
        {"edit": "make_folder", "name": f"{name}/made/"},
        edit("move", f"{name}/copy", f"{name}/made/copy"),
        delete(f"{name}/e/inner"),
    )
    assert [one["replaced"] for one in told] == [False, True, False, False, False, False, False]
    assert [one.get("name") for one in told][:3] == [f"{name}/a.png", f"{name}/old", None]
    assert (told[0]["media_type"], told[1]["media_type"]) == ("image/png", "text/x-new")
    assert told[1]["size"] == 6 * 9999
    assert 0 < told[1]["new_chunks"] <= told[1]["chunks"]
    mine = [one for one in await names(shared) if one.startswith(f"{name}/")]
    assert mine == [f"{name}/a.png", f"{name}/made/copy", f"{name}/old"]
    assert await read(shared, f"{name}/made/copy") == b"first"
    assert await read(shared, f"{name}/old") == b"second" * 9999


@on_shared_server
async def test_each_edit_sees_what_those_before_have_left(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a", b"a")
    await put(shared, f"{name}/b", b"b")
    # Two names change places.
    await apply(
        shared,
        edit("move", f"{name}/a", f"{name}/spare"),
        edit("move", f"{name}/b", f"{name}/a"),
        edit("move", f"{name}/spare", f"{name}/b", overwrite=False),
    )
    assert (await read(shared, f"{name}/a"), await read(shared, f"{name}/b")) == (b"b", b"a")


@on_shared_server
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_that_fails_undoes_all(shared: Client, name: str, place: int) -> None:
    await put(shared, f"{name}/a", b"a")
    etag = (await shared.head(f"/files/{name}/a")).headers["ETag"]
    good = [edit("copy", f"{name}/a", f"{name}/{number}") for number in range(2)]
    failing = {
        409: edit("copy", f"{name}/none", f"{name}/b"),
        412: delete(f"{name}/a", conditions={"If-None-Match": etag}),
    }
    for status, bad in failing.items():
        edits = [*good[:place], bad, *good[place:]]
        assert await refused(shared, status, place, *edits)
        assert await status_of(shared, f"{name}/0") == 404
        assert await status_of(shared, f"{name}/a") == 200
    # An upload that was to be put with them can be put later.
    url = await upload(shared, b"content")
    edits = [put_of(f"{name}/new", url), *good, failing[409]]
    await refused(shared, 409, 3, *edits)
    await apply(shared, *edits[:3])
    assert await read(shared, f"{name}/new") == b"content"


@on_shared_server
@pytest.mark.parametrize(
    ("status", "members"),
    [
        (412, {"overwrite": False}),
        (412, {"conditions": {"If-Match": '"other"'}}),
        (412, {"target_conditions": {"If-Match": '"other"'}}),
        (412, {"target_conditions": {"If-None-Match": "*"}}),
        (403, {"target": "{name}/a"}),
        (409, {"target": "{name}/a/b"}),
        (409, {"target": "{name}"}),
        (409, {"source": "{name}/none"}),
    ],
)
async def test_conditions_of_a_transfer(
    shared: Client, name: str, status: int, members: Json
) -> None:
    await put(shared, f"{name}/a", b"a")
    await put(shared, f"{name}/b", b"b")
    asked = {
        key: value.replace("{name}", name) if isinstance(value, str) else value
        for key, value in members.items()
    }
    for kind in ("copy", "move"):
        one = {**edit(kind, f"{name}/a", f"{name}/b"), **asked}
        await refused(shared, status, 0, one)
    assert (await read(shared, f"{name}/a"), await read(shared, f"{name}/b")) == (b"a", b"b")


@on_shared_server
async def test_an_upload_is_put_once(shared: Client, name: str) -> None:
    url = await upload(shared, b"content")
    await refused(shared, 409, 1, put_of(f"{name}/a", url), put_of(f"{name}/b", url))
    await apply(shared, put_of(f"{name}/a", url))
    assert "already" in await refused(shared, 409, 0, put_of(f"{name}/b", url))
    head = await shared.head(url, headers=TUS)
    assert (head.status, head.headers["Upload-Offset"]) == (200, "7")


@on_shared_server
async def test_what_is_no_whole_upload_is_not_put(shared: Client, name: str) -> None:
    begun = await upload(shared, b"part", length=100)
    assert "not whole" in await refused(shared, 409, 0, put_of(f"{name}/a", begun))
    for url, status in ((f"/uploads/{name}", 409), ("/files/a", 400), ("http://[", 400)):
        await refused(shared, status, 0, put_of(f"{name}/a", url))
    part = await upload(shared, b"part")
    # One that another upload is to be made of stays its part.
    headers = {
        **TUS,
        "Upload-Concat": f"final;{part} {begun}",
        "Upload-Metadata": f"filename {name.encode().hex()}",
    }
    headers["Upload-Metadata"] = "filename YQ=="
    final = await shared.post("/uploads", headers=headers)
    assert final.status == 201, await final.text()
    assert "part of another" in await refused(shared, 409, 0, put_of(f"{name}/a", part))
    assert await status_of(shared, f"{name}/a") == 404
    await shared.delete(final.headers["Location"], headers=TUS)


@on_shared_server
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "JSON object"),
        (b"[]", "JSON object"),
        (b"\xff", "JSON object"),
        (b"[" * 100_000, "JSON object"),
        (b'{"edit": "delete", "name": "a", "name": "b"}', "once"),
        (b'{"edit": "link", "name": "a"}', "`edit` is"),
        (b'{"name": "a"}', "`edit`"),
        (b'{"edit": "delete"}', "`name`"),
        (b'{"edit": "delete", "name": 1}', "`name`"),
        (b'{"edit": "delete", "name": "a", "depth": 0}', "'depth'"),
        (b'{"edit": "delete", "name": "a//b"}', "empty segment"),
        (b'{"edit": "delete", "name": "a\\u0000"}', "control character"),
        (b'{"edit": "delete", "name": "\\ud800"}', "Unicode"),
        (b'{"edit": "delete", "name": "a", "conditions": {"If-Range": "x"}}', "If-Match"),
        (b'{"edit": "delete", "name": "a", "conditions": {"If-Match": 1}}', "texts"),
        (b'{"edit": "delete", "name": "a", "conditions": {"If-Match": "x"}}', "If-Match is 'x'"),
        (b'{"edit": "delete", "name": "a", "conditions": {"If-None-Match": ""}}', "If-None-Match"),
        (
            b'{"edit": "delete", "name": "a", "conditions":'
            b' {"If-Unmodified-Since": "2020-01-01T00:00:00Z"}}',
            "If-Unmodified-Since is",
        ),
        (
            b'{"edit": "delete", "name": "a", "conditions": {"If-Match": "' + b"x" * 9000 + b'"}}',
            "8192 characters",
        ),
        (b'{"edit": "delete", "name": "a", "conditions": null}', "If-Match"),
        (b'{"edit": "delete", "name": "a", "' + b"x" * 9000 + b'": 1}', "'" + "x" * 64 + "'"),
        (b'{"edit": "copy", "source": "a/", "target": "b/", "depth": 0.0}', "`depth`"),
        ('\ufeff{"edit": "delete", "name": "a"}'.encode(), "JSON object"),
        ('{"edit": "delete", "name": "a"}'.encode("utf-16"), "JSON object"),
        (b'{"edit": "delete", "name": "a", "conditions": []}', "If-Match"),
        (b'{"edit": "copy", "source": "a/", "target": "b"}', "both"),
        (b'{"edit": "copy", "source": "a/", "target": "b/", "depth": 1}', "`depth`"),
        (b'{"edit": "copy", "source": "a/", "target": "b/", "depth": false}', "`depth`"),
        (b'{"edit": "copy", "source": "a", "target": "b", "overwrite": "F"}', "`overwrite`"),
        (b'{"edit": "move", "source": "a/", "target": "b/", "depth": 0}', "'depth'"),
        (b'{"edit": "put", "name": "a/", "upload": "/uploads/x"}', "empty segment"),
        (b'{"edit": "put", "name": "a", "upload": "/uploads/x", "media_type": "x"}', "media type"),
        (b'{"edit": "put", "name": "a"}', "`upload`"),
    ],
)
async def test_a_malformed_line_is_named(shared: Client, name: str, line: bytes, said: str) -> None:
    await put(shared, f"{name}/a", b"a")
    body = lines(delete(f"{name}/a")) + b"\r\n" + line
    response = await shared.post("/batch", data=body, headers=JSON_LINES)
    assert said in await refusal(response, 400, 1)
    assert await status_of(shared, f"{name}/a") == 200


@on_shared_server
async def test_what_is_no_batch_is_refused(shared: Client, name: str) -> None:
    async def status(body: bytes, **headers: str) -> int:
        async with shared.post(
            "/batch", data=BytesIO(body), headers={**JSON_LINES, **headers}
        ) as response:
            return response.status

    body = lines(delete(f"{name}/a"))
    assert await status(b"") == 400
    assert await status(b" \n\n") == 400
    assert await status(body, **{"Content-Type": "application/json"}) == 415
    assert await status(body, **{"Content-Encoding": "gzip"}) == 415
    assert await status(body, **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert await status(body, **{"If-Match": "*"}) == 400
    digest = b64encode(sha256(b"other").digest()).decode()
    assert await status(body, **{"Content-Digest": f"sha-256=:{digest}:"}) == 400
    assert await status(b"\n" * (1024 * 1024 + 1)) == 413
    assert await status(lines(*[delete(f"{name}/a")] * (MAX_EDITS + 1))) == 413
    assert await status(lines(*[delete(f"{name}/d/")] * (MAX_FOLDER_EDITS + 1))) == 413
    assert (await shared.get("/batch")).status == 405
    assert "POST" in (await shared.options("/batch")).headers["Allow"]


@on_shared_server
async def test_as_many_edits_as_there_may_be(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a", b"a")
    edits = [edit("copy", f"{name}/a", f"{name}/{number:04}") for number in range(MAX_EDITS - 1)]
    told = await apply(shared, *edits, edit("move", f"{name}/a", f"{name}/b"))
    assert len(told) == MAX_EDITS
    for number in (0, MAX_EDITS - 2):
        assert await read(shared, f"{name}/{number:04}") == b"a"
    assert await status_of(shared, f"{name}/a") == 404


@on_shared_server
async def test_batches_of_the_same_names_at_once(shared: Client, name: str) -> None:
    for letter in "ab":
        await put(shared, f"{name}/{letter}", letter.encode())
    exchange = (
        edit("move", f"{name}/a", f"{name}/spare", overwrite=False),
        edit("move", f"{name}/b", f"{name}/a"),
        edit("move", f"{name}/spare", f"{name}/b"),
    )
    back = (
        edit("move", f"{name}/b", f"{name}/other", overwrite=False),
        edit("move", f"{name}/a", f"{name}/b"),
        edit("move", f"{name}/other", f"{name}/a"),
    )
    # Each is whole before the other begins, so an even number of them changes nothing.
    answers = await asyncio.gather(*(send(shared, *edits) for edits in (exchange, back) * 10))
    assert [answer.status for answer in answers] == [200] * 20
    assert (await read(shared, f"{name}/a"), await read(shared, f"{name}/b")) == (b"a", b"b")
    assert await status_of(shared, f"{name}/spare") == 404


async def test_a_large_folder_is_changed_by_itself_only(serve: Serve) -> None:
    client = await serve()
    edits = [edit("copy", "d/a", f"d/{number:04}") for number in range(MAX_EDITS)]
    await put(client, "d/a", b"a")
    await apply(client, *edits)
    await put(client, "d/b", b"b")
    response = await send(client, delete("d/"), {"edit": "make_folder", "name": "e/"})
    if response.status == 200:
        return  # PostgreSQL changes them in any number.
    assert "by itself" in await refusal(response, 409, 0)
    assert await status_of(client, "d/a") == 200
    await apply(client, delete("d/"))
    assert await names(client) == []
