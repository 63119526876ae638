"""COPY and MOVE of files (RFC 4918 §9.8 and §9.9)."""

from __future__ import annotations

import pytest

from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.steps import (
    Client,
    Json,
    on_shared_server,
    problem,
    put,
    read,
    stats,
    status_of,
)

both_methods = pytest.mark.parametrize("method", ["COPY", "MOVE"])


async def send(client: Client, method: str, source: str, *lines: str | bytes) -> raw.Answer:
    """Return the answer to a COPY or MOVE with these header lines."""
    return await raw.ask(client, raw.request(method, f"/files/{source}", *lines))


async def told_of(client: Client, path: str) -> Json:
    """Return what the list tells of the file."""
    parameters = {"prefix": path, "delimiter": "", "limit": "1"}
    async with client.get("/files/", params=parameters) as response:
        [told] = (await response.json())["files"]
        assert isinstance(told, dict)
        assert told["name"] == path
        return told


@on_shared_server
@both_methods
async def test_content_has_the_new_name(shared: Client, name: str, method: str) -> None:
    await put(shared, name, b"content", Content_Type="image/png")
    source = await told_of(shared, name)
    answer = await send(shared, method, name, f"Destination: /files/{name}-b%20%C3%A4")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/files/{name}-b%20%C3%A4"
    assert answer.body == b""
    assert await read(shared, f"{name}-b%20%C3%A4") == b"content"
    target = await told_of(shared, f"{name}-b ä")
    for field in ("size", "digest", "media_type"):
        assert target[field] == source[field]
    assert await status_of(shared, name) == (200 if method == "COPY" else 404)


@on_shared_server
async def test_move_keeps_the_time(shared: Client, name: str) -> None:
    modified = (await put(shared, name))["modified"]
    await send(shared, "MOVE", name, f"Destination: /files/{name}-b")
    assert (await told_of(shared, f"{name}-b"))["modified"] == modified


@on_shared_server
@both_methods
async def test_no_byte_is_copied(
    shared: Client, name: str, new_bytes: RandomBytes, method: str
) -> None:
    await put(shared, name, new_bytes(3 * CHUNK_SIZE))
    before = await stats(shared)
    await send(shared, method, name, f"Destination: /files/{name}-b")
    after = await stats(shared)
    assert after["files"] - before["files"] == (1 if method == "COPY" else 0)
    for figure in ("contents", "chunks", "stored_size"):
        assert after[figure] == before[figure]


@on_shared_server
async def test_copies_live_apart(shared: Client, name: str) -> None:
    await put(shared, name, b"content")
    await send(shared, "COPY", name, f"Destination: /files/{name}-b")
    await put(shared, name, b"new")
    assert await read(shared, f"{name}-b") == b"content"
    assert (await shared.delete(f"/files/{name}")).status == 204
    assert await read(shared, f"{name}-b") == b"content"


@on_shared_server
@pytest.mark.parametrize(
    "destination",
    [
        "/files/{}-b",
        "  /files/{}-b  ",
        "http://test/files/{}-b",
        "http://TEST/files/{}-b",
        "http://test:80/files/{}-b",
        "/files/{}%2Db",
    ],
)
async def test_destination_here(shared: Client, name: str, destination: str) -> None:
    await put(shared, name)
    answer = await send(shared, "MOVE", name, f"Destination: {destination.format(name)}")
    assert answer.status == 201
    assert await status_of(shared, f"{name}-b") == 200


@on_shared_server
@both_methods
async def test_destination_with_the_real_host(shared: Client, name: str, method: str) -> None:
    await put(shared, name)
    headers = {"Destination": str(shared.make_url(f"/files/{name}-b"))}
    async with shared.request(method, f"/files/{name}", headers=headers) as response:
        assert response.status == 201
    assert await status_of(shared, f"{name}-b") == 200


@on_shared_server
@both_methods
async def test_destination_has_the_scheme_that_the_client_uses(
    shared: Client, name: str, method: str
) -> None:
    # Behind a proxy that ends TLS, clients name the host with https; Host is what they share.
    await put(shared, name)
    answer = await send(shared, method, name, f"Destination: https://test/files/{name}-b")
    assert answer.status == 201


@on_shared_server
@pytest.mark.parametrize(
    ("destination", "status"),
    [
        (None, 400),
        ("http://elsewhere.example/files/{}-b", 502),
        ("http://test:8080/files/{}-b", 502),
        ("//elsewhere.example/files/{}-b", 400),
        ("//test/files/{}-b", 400),
        ("ftp://test/files/{}-b", 400),
        ("javascript:/files/{}-b", 400),
        ("http:/files/{}-b", 400),
        ("http:///files/{}-b", 400),
        ("", 400),
        ("/", 400),
        ("/files", 400),
        ("/files/", 400),
        ("/{}-b", 400),
        ("{}-b", 400),
        ("/other/{}-b", 400),
        ("/files/{}-b/", 400),
        ("/files/{}-b?query", 400),
        ("/files/{}-b#fragment", 400),
        ("/files/{}-b#", 400),
        ("/files/{}-b?", 400),
        ("/%66iles/{}-b", 400),
        ("/files/../{}-b", 400),
        ("/files/%2e%2e/{}-b", 400),
        ("/files//{}-b", 400),
        ("/files/%00{}-b", 400),
        ("/files/%zz{}-b", 400),
        ("/files/%ff{}-b", 400),
        ("http://[/files/{}-b", 400),
        ("http://test:99999/files/{}-b", 400),
        ("http://test:x/files/{}-b", 400),
        ("http://test:80:80/files/{}-b", 400),
        ("http://[::1]:99999/files/{}-b", 400),
        ("http://xn--/files/{}-b", 502),
    ],
)
async def test_destination_that_is_not_possible(
    shared: Client, name: str, destination: str | None, status: int
) -> None:
    await put(shared, name, b"content")
    lines = [] if destination is None else [f"Destination: {destination.format(name)}"]
    answer = await send(shared, "MOVE", name, *lines)
    assert answer.status == status
    assert answer.json()["status"] == status
    assert await read(shared, name) == b"content"
    assert await status_of(shared, f"{name}-b") == 404


@on_shared_server
@pytest.mark.parametrize(
    "lines",
    [
        ["Destination: /files/{}-b", "Destination: /files/{}-c"],
        ["Destination: /files/{}-b", "Overwrite: T", "Overwrite: F"],
    ],
)
async def test_what_is_said_twice_is_not_guessed_at(
    shared: Client, name: str, lines: list[str]
) -> None:
    await put(shared, name, b"content")
    await put(shared, f"{name}-b", b"other")
    answer = await send(shared, "MOVE", name, *(line.format(name) for line in lines))
    assert answer.status == 400
    assert await read(shared, name) == b"content"
    assert await read(shared, f"{name}-b") == b"other"


@on_shared_server
async def test_destination_that_is_not_text(shared: Client, name: str) -> None:
    await put(shared, name, b"content")
    for method in ("COPY", "MOVE"):
        answer = await send(shared, method, name, b"Destination: /files/\xff")
        assert answer.status == 400
    assert await read(shared, name) == b"content"


@on_shared_server
@both_methods
@pytest.mark.parametrize(
    ("lines", "status"),
    [([], 204), (["Overwrite: T"], 204), (["Overwrite: t"], 204), (["Overwrite: F"], 412)],
    ids=str,
)
async def test_file_at_the_destination(
    shared: Client, name: str, method: str, lines: list[str], status: int
) -> None:
    await put(shared, name, b"content")
    await put(shared, f"{name}-b", b"in the way")
    answer = await send(shared, method, name, f"Destination: /files/{name}-b", *lines)
    assert answer.status == status
    done = status == 204
    assert await read(shared, f"{name}-b") == (b"content" if done else b"in the way")
    assert await status_of(shared, name) == (404 if done and method == "MOVE" else 200)


@on_shared_server
@both_methods
async def test_nothing_at_the_destination_needs_no_overwriting(
    shared: Client, name: str, method: str
) -> None:
    await put(shared, name)
    lines = (f"Destination: /files/{name}-b", "Overwrite: F")
    assert (await send(shared, method, name, *lines)).status == 201


@on_shared_server
@pytest.mark.parametrize("value", ["", "yes", "TF", "0"])
async def test_overwrite_that_is_neither(shared: Client, name: str, value: str) -> None:
    await put(shared, name)
    lines = (f"Destination: /files/{name}-b", f"Overwrite: {value}")
    for method in ("COPY", "MOVE"):
        assert (await send(shared, method, name, *lines)).status == 400
    assert await status_of(shared, f"{name}-b") == 404


@on_shared_server
@both_methods
async def test_source_and_destination_are_the_same(shared: Client, name: str, method: str) -> None:
    await put(shared, f"{name}%C3%A4", b"content")
    decomposed = f"{name}a%CC%88"
    first_letter_encoded = f"%{ord(name[0]):X}{name[1:]}%C3%A4"
    for same in (f"{name}%C3%A4", decomposed, first_letter_encoded):
        answer = await send(shared, method, f"{name}%C3%A4", f"Destination: /files/{same}")
        assert answer.status == 403
        assert answer.json()["type"].endswith(":forbidden")
    assert await read(shared, f"{name}%C3%A4") == b"content"


@on_shared_server
@both_methods
async def test_missing_source_is_not_found(shared: Client, name: str, method: str) -> None:
    await put(shared, f"{name}-b", b"content")
    answer = await send(shared, method, name, f"Destination: /files/{name}-b")
    assert answer.status == 404
    assert await read(shared, f"{name}-b") == b"content"


@on_shared_server
@pytest.mark.parametrize(
    "destination", ["{}/below", "{}-folder", "{}-file/below", "{}-file/below/more"]
)
async def test_names_in_the_way(shared: Client, name: str, destination: str) -> None:
    contents = {name: b"content", f"{name}-folder/a": b"a", f"{name}-file": b"file"}
    for path, content in contents.items():
        await put(shared, path, content)
    for method in ("COPY", "MOVE"):
        line = f"Destination: /files/{destination.format(name)}"
        answer = await send(shared, method, name, line)
        assert answer.status == 409
        assert answer.json()["type"].endswith(":name-conflict")
    for path, content in contents.items():
        assert await read(shared, path) == content


@on_shared_server
@both_methods
async def test_destination_may_lie_in_a_new_folder(shared: Client, name: str, method: str) -> None:
    await put(shared, name, b"content")
    answer = await send(shared, method, name, f"Destination: /files/{name}-d/e/f")
    assert answer.status == 201
    assert await read(shared, f"{name}-d/e/f") == b"content"


@on_shared_server
@both_methods
async def test_body_has_no_meaning(shared: Client, name: str, method: str) -> None:
    await put(shared, name)
    lines = (f"Destination: /files/{name}-b", "Content-Length: 4")
    assert (await send(shared, method, name, *lines)).status == 415
    assert await status_of(shared, f"{name}-b") == 404


@on_shared_server
async def test_file_can_move_out_of_its_folder_and_back(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a/b", b"content")
    answer = await send(shared, "MOVE", f"{name}/a/b", f"Destination: /files/{name}-b")
    assert answer.status == 201
    # The folder was only there because of the file.
    assert (await shared.get(f"/files/{name}/a/")).status == 404
    answer = await send(shared, "MOVE", f"{name}-b", f"Destination: /files/{name}")
    assert answer.status == 201
    assert await read(shared, name) == b"content"


@on_shared_server
@both_methods
async def test_longest_name_is_a_destination_and_no_longer_one(
    shared: Client, name: str, method: str
) -> None:
    await put(shared, name)
    longest = name.ljust(1024, "x")
    answer = await send(shared, method, name, f"Destination: /files/{longest}x")
    assert answer.status == 400
    answer = await send(shared, method, name, f"Destination: /files/{longest}")
    assert answer.status == 201
    assert await status_of(shared, longest) == 200


@on_shared_server
async def test_depth_of_a_file_means_nothing(shared: Client, name: str) -> None:
    # RFC 4918 §10.2: it says how deep into a collection to go.
    await put(shared, name)
    lines = (f"Destination: /files/{name}-b", "Depth: 0")
    assert (await send(shared, "COPY", name, *lines)).status == 201


@on_shared_server
@both_methods
async def test_refused_file_is_a_problem_document(shared: Client, name: str, method: str) -> None:
    async with shared.request(method, f"/files/{name}") as response:
        assert "Destination" in (await problem(response, 400))["detail"]


@on_shared_server
@both_methods
@pytest.mark.parametrize("slash", ["", "/"])
async def test_folder_without_its_slash(shared: Client, name: str, method: str, slash: str) -> None:
    # RFC 4918 §5.2
    await put(shared, f"{name}/a/b")
    destination = f"Destination: /files/{name}-b{slash}"
    answer = await send(shared, method, name, destination, "If-Match: *")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/files/{name}-b/"
    assert await read(shared, f"{name}-b/a/b") == b"content"
    assert await status_of(shared, f"{name}/a/b") == (200 if method == "COPY" else 404)
    if method == "COPY":
        assert (await send(shared, method, name, destination, "Overwrite: F")).status == 412
        assert (await send(shared, method, name, destination, "Depth: 0")).status == 204
        assert await status_of(shared, f"{name}-b/a/b") == 404


@on_shared_server
@both_methods
async def test_file_cannot_go_where_only_a_folder_can(
    shared: Client, name: str, method: str
) -> None:
    await put(shared, name)
    assert (await send(shared, method, name, f"Destination: /files/{name}-b/")).status == 400
    assert (await send(shared, method, f"{name}-c", f"Destination: /files/{name}-b")).status == 404


@on_shared_server
async def test_a_file_has_no_slash_behind_its_new_name(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    for method in ("COPY", "MOVE"):
        headers = {"Destination": f"/files/{name}/new/"}
        async with shared.request(method, f"/files/{name}/a", headers=headers) as answer:
            assert "no slash" in (await problem(answer, 400))["detail"]
