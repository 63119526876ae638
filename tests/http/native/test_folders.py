"""MKCOL, DELETE, COPY and MOVE of folders (RFC 4918 §9.3, §9.6, §9.8, §9.9)."""

from __future__ import annotations

import pytest

from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.steps import (
    Client,
    on_shared_server,
    problem,
    put,
    read,
    stats,
    status_of,
)
from tests.store.rows import Rows

both_methods = pytest.mark.parametrize("method", ["COPY", "MOVE"])


async def send(client: Client, method: str, folder: str, *lines: str) -> raw.Answer:
    """Return the answer to a request about a folder, with these header lines."""
    return await raw.ask(client, raw.request(method, f"/files/{folder}", *lines))


async def make(client: Client, folder: str) -> None:
    """Make a folder that can be made."""
    assert (await send(client, "MKCOL", folder)).status == 201


async def below(client: Client, folder: str) -> tuple[list[str], list[str]]:
    """Return the names of the files anywhere under a folder, and its own subfolders."""
    found = []
    for delimiter in ("", "/"):
        async with client.get(f"/files/{folder}", params={"delimiter": delimiter}) as response:
            assert response.status == 200
            found.append(await response.json())
    return [file["name"] for file in found[0]["files"]], found[1]["folders"]


async def exists(client: Client, folder: str) -> bool:
    """Whether the folder is there."""
    async with client.get(f"/files/{folder}") as response:
        assert response.status in (200, 404)
        return response.status == 200


@on_shared_server
@pytest.mark.parametrize("slash", ["/", ""])
async def test_made_folder_is_there_and_empty(shared: Client, name: str, slash: str) -> None:
    answer = await send(shared, "MKCOL", f"{name}%20%C3%A4{slash}")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/files/{name}%20%C3%A4/"
    assert answer.body == b""
    assert await below(shared, f"{name} ä/") == ([], [])
    assert f"{name} ä/" in (await below(shared, ""))[1]


@on_shared_server
async def test_made_folder_stays_when_its_last_file_goes(shared: Client, name: str) -> None:
    await make(shared, f"{name}/")
    await put(shared, f"{name}/a")
    assert (await shared.delete(f"/files/{name}/a")).status == 204
    assert await below(shared, f"{name}/") == ([], [])


@on_shared_server
async def test_folder_of_files_goes_with_its_last_file(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    assert (await shared.delete(f"/files/{name}/a")).status == 204
    assert not await exists(shared, f"{name}/")


@on_shared_server
async def test_folder_that_exists_cannot_be_made(shared: Client, name: str) -> None:
    await make(shared, f"{name}-made/")
    await put(shared, f"{name}-implied/a")
    for folder in (f"{name}-made/", f"{name}-made", f"{name}-implied/", ""):
        answer = await send(shared, "MKCOL", folder)
        assert answer.status == 405, folder
        # RFC 9110 §15.5.6: a 405 must say what is possible.
        assert "GET" in (answer.headers["Allow"] or ""), folder


@on_shared_server
async def test_folder_cannot_be_made_where_a_file_is(shared: Client, name: str) -> None:
    # RFC 4918 §9.3.1: MKCOL is for unmapped URLs only, else 405.
    await put(shared, name, b"content")
    assert (await send(shared, "MKCOL", name)).status == 405
    assert await read(shared, name) == b"content"


@on_shared_server
@pytest.mark.parametrize("folder", ["{}/b/", "{}-file/b/"])
async def test_folder_needs_its_parent(shared: Client, name: str, folder: str) -> None:
    await put(shared, f"{name}-file")
    answer = await send(shared, "MKCOL", folder.format(name))
    assert answer.status == 409
    assert not await exists(shared, f"{name}/")


@on_shared_server
async def test_parent_may_be_implied_by_a_file(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    await make(shared, f"{name}/b/")
    assert await below(shared, f"{name}/") == ([f"{name}/a"], [f"{name}/b/"])


@on_shared_server
async def test_make_with_a_body_is_not_understood(shared: Client, name: str) -> None:
    octets = raw.request(
        "MKCOL", f"/files/{name}/", "Content-Type: text/xml", "Content-Length: 4", body=b"<a/>"
    )
    answer = await raw.ask(shared, octets)
    assert answer.status == 415
    # RFC 9110 §12.5.3: a 415 must not have it when content codings are not the reason.
    assert answer.headers["Accept-Encoding"] is None
    assert not await exists(shared, f"{name}/")


@on_shared_server
@pytest.mark.parametrize("folder", ["..%2f", "a//", "%00/", "/", "%ff/", "a/./"])
async def test_folder_that_is_not_a_name(shared: Client, folder: str) -> None:
    for method in ("MKCOL", "DELETE", "COPY", "MOVE", "GET"):
        answer = await send(shared, method, folder, "Destination: /files/target-of-none/")
        assert answer.status == 400, method
        assert answer.json()["type"].endswith(":invalid-name")


@on_shared_server
async def test_deleted_folder_is_gone_with_all_that_was_in_it(shared: Client, name: str) -> None:
    for path in ("a", "b/c", "b/d/e"):
        await put(shared, f"{name}/{path}")
    await make(shared, f"{name}/made/")
    answer = await send(shared, "DELETE", f"{name}/")
    assert (answer.status, answer.body) == (204, b"")
    assert not await exists(shared, f"{name}/")
    assert await status_of(shared, f"{name}/b/d/e") == 404
    assert (await send(shared, "DELETE", f"{name}/")).status == 404


@on_shared_server
async def test_neighbours_with_a_like_name_stay(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    # The three come right before and right behind "/" in the order of names.
    neighbours = [f"{name}.txt", f"{name}0", f"{name}x/a"]
    for path in neighbours:
        await put(shared, path)
    assert (await send(shared, "DELETE", f"{name}/")).status == 204
    for path in neighbours:
        assert await status_of(shared, path) == 200


@on_shared_server
async def test_missing_folder_is_not_found(shared: Client, name: str) -> None:
    await put(shared, name)
    for method in ("DELETE", "COPY", "MOVE"):
        answer = await send(shared, method, f"{name}/", f"Destination: /files/{name}-b/")
        assert answer.status == 404, method


async def test_root_stays(client: Client) -> None:
    await put(client, "a")
    await make(client, "d/")
    for method, folder, destination in [
        ("DELETE", "", None),
        ("COPY", "", "b/"),
        ("MOVE", "", "b/"),
        ("COPY", "d/", ""),
        ("MOVE", "d/", ""),
    ]:
        lines = [] if destination is None else [f"Destination: /files/{destination}"]
        answer = await send(client, method, folder, *lines)
        assert answer.status == 403, (method, folder)
    assert await below(client, "") == (["a"], ["d/"])


@on_shared_server
@both_methods
@pytest.mark.parametrize("slash", ["/", ""])
async def test_folder_has_the_new_name(shared: Client, name: str, method: str, slash: str) -> None:
    contents = {"a": b"a", "b/c": b"c", "b/d/%C3%A4": b"d"}
    for path, content in contents.items():
        await put(shared, f"{name}/{path}", content)
    await make(shared, f"{name}/made/")
    answer = await send(shared, method, f"{name}/", f"Destination: /files/{name}-%C3%A4{slash}")
    assert answer.status == 201
    assert answer.headers["Location"] == f"/files/{name}-%C3%A4/"
    target = f"{name}-ä/"
    assert await below(shared, target) == (
        [f"{target}a", f"{target}b/c", f"{target}b/d/ä"],
        [f"{target}b/", f"{target}made/"],
    )
    for path, content in contents.items():
        assert await read(shared, f"{name}-%C3%A4/{path}") == content
    assert await exists(shared, f"{name}/") == (method == "COPY")


@on_shared_server
@both_methods
async def test_no_byte_is_copied(
    shared: Client, name: str, new_bytes: RandomBytes, method: str
) -> None:
    await put(shared, f"{name}/a", new_bytes(3 * CHUNK_SIZE))
    before = await stats(shared)
    await send(shared, method, f"{name}/", f"Destination: /files/{name}-b/")
    after = await stats(shared)
    for figure in ("contents", "chunks", "stored_size"):
        assert after[figure] == before[figure]
    assert after["files"] - before["files"] == (1 if method == "COPY" else 0)


@on_shared_server
async def test_move_keeps_the_times(shared: Client, name: str) -> None:
    told = await put(shared, f"{name}/a")
    await send(shared, "MOVE", f"{name}/", f"Destination: /files/{name}-b/")
    async with shared.get(f"/files/{name}-b/") as response:
        [moved] = (await response.json())["files"]
    assert moved["modified"] == told["modified"]


@on_shared_server
@both_methods
async def test_folder_at_the_destination_is_replaced_whole(
    shared: Client, name: str, method: str
) -> None:
    # RFC 4918 §9.8.4: as if it were deleted first; the two are not merged.
    await put(shared, f"{name}/a", b"new")
    await put(shared, f"{name}-b/a", b"old")
    await put(shared, f"{name}-b/only/there", b"old")
    await make(shared, f"{name}-b/made/")
    answer = await send(shared, method, f"{name}/", f"Destination: /files/{name}-b/")
    assert answer.status == 204
    assert await below(shared, f"{name}-b/") == ([f"{name}-b/a"], [])
    assert await read(shared, f"{name}-b/a") == b"new"
    assert await exists(shared, f"{name}/") == (method == "COPY")


@on_shared_server
@both_methods
async def test_folder_at_the_destination_is_kept_if_so_wished(
    shared: Client, name: str, method: str
) -> None:
    await put(shared, f"{name}/a", b"new")
    await put(shared, f"{name}-b/a", b"old")
    lines = (f"Destination: /files/{name}-b/", "Overwrite: F")
    assert (await send(shared, method, f"{name}/", *lines)).status == 412
    assert await read(shared, f"{name}-b/a") == b"old"
    assert await read(shared, f"{name}/a") == b"new"
    lines = (f"Destination: /files/{name}-c/", "Overwrite: F")
    assert (await send(shared, method, f"{name}/", *lines)).status == 201


@on_shared_server
@pytest.mark.parametrize("destination", ["{}/d/", "{}/d/e/", "{}/d/below/", "{}/"])
async def test_folder_cannot_go_into_itself_nor_over_what_holds_it(
    shared: Client, name: str, destination: str
) -> None:
    await put(shared, f"{name}/d/e/a", b"content")
    line = f"Destination: /files/{destination.format(name)}"
    for method in ("COPY", "MOVE"):
        assert (await send(shared, method, f"{name}/d/", line)).status == 403
    assert await below(shared, f"{name}/") == ([f"{name}/d/e/a"], [f"{name}/d/"])


@on_shared_server
@both_methods
async def test_folder_can_go_beside_one_whose_name_begins_alike(
    shared: Client, name: str, method: str
) -> None:
    await put(shared, f"{name}/a")
    answer = await send(shared, method, f"{name}/", f"Destination: /files/{name}{name}/")
    assert answer.status == 201
    assert await status_of(shared, f"{name}{name}/a") == 200


@on_shared_server
@both_methods
@pytest.mark.parametrize("destination", ["{}-file", "{}-file/", "{}-file/d/"])
async def test_file_is_in_the_way(shared: Client, name: str, method: str, destination: str) -> None:
    await put(shared, f"{name}/a")
    await put(shared, f"{name}-file", b"file")
    line = f"Destination: /files/{destination.format(name)}"
    assert (await send(shared, method, f"{name}/", line)).status == 409
    assert await read(shared, f"{name}-file") == b"file"
    assert await exists(shared, f"{name}/")


@on_shared_server
@both_methods
async def test_names_that_would_become_too_long(shared: Client, name: str, method: str) -> None:
    below_d = "/d/" + "x" * 900
    await put(shared, f"{name}{below_d}")
    await put(shared, f"{name}-b/a", b"old")
    longest = f"{name}-b/".ljust(1024 - 901, "y")
    line = f"Destination: /files/{longest}y/"
    assert (await send(shared, method, f"{name}/d/", line)).status == 400
    assert await read(shared, f"{name}-b/a") == b"old"
    assert await status_of(shared, f"{name}{below_d}") == 200
    line = f"Destination: /files/{longest}/"
    assert (await send(shared, method, f"{name}/d/", line)).status == 201


@on_shared_server
async def test_refused_replacement_keeps_what_was_there(shared: Client, name: str) -> None:
    # The names become too long only after the old folder has been cleared away.
    await put(shared, f"{name}/" + "x" * 1000)
    await put(shared, f"{name}-{'y' * 100}/a", b"old")
    line = f"Destination: /files/{name}-{'y' * 100}/"
    assert (await send(shared, "MOVE", f"{name}/", line)).status == 400
    assert await read(shared, f"{name}-{'y' * 100}/a") == b"old"


@on_shared_server
@pytest.mark.parametrize(
    ("method", "depth", "status"),
    [
        ("DELETE", "infinity", 204),
        ("DELETE", "Infinity", 204),
        ("DELETE", "0", 400),
        ("DELETE", "1", 400),
        ("MOVE", "infinity", 201),
        ("MOVE", "0", 400),
        ("COPY", "infinity", 201),
        ("COPY", "1", 400),
        ("COPY", "nonsense", 400),
    ],
)
async def test_depth(shared: Client, name: str, method: str, depth: str, status: int) -> None:
    # RFC 4918 §9.6.1, §9.8.3, §9.9.2: folders go whole.
    await put(shared, f"{name}/a")
    lines = (f"Destination: /files/{name}-b/", f"Depth: {depth}")
    assert (await send(shared, method, f"{name}/", *lines)).status == status
    assert await exists(shared, f"{name}-b/") == (status == 201)


@on_shared_server
async def test_copy_of_depth_0_has_no_members(shared: Client, name: str) -> None:
    # RFC 4918 §9.8.3.
    await put(shared, f"{name}/a")
    lines = (f"Destination: /files/{name}-b/", "Depth: 0")
    assert (await send(shared, "COPY", f"{name}/", *lines)).status == 201
    assert await exists(shared, f"{name}-b/")
    assert await status_of(shared, f"{name}-b/a") == 404
    assert await status_of(shared, f"{name}/a") == 200


@on_shared_server
async def test_copy_of_depth_0_replaces_a_folder_with_all_that_is_in_it(
    shared: Client, name: str
) -> None:
    await put(shared, f"{name}/a")
    await put(shared, f"{name}-b/b")
    lines = (f"Destination: /files/{name}-b/", "Depth: 0")
    assert (await send(shared, "COPY", f"{name}/", *lines, "Overwrite: F")).status == 412
    assert await status_of(shared, f"{name}-b/b") == 200
    assert (await send(shared, "COPY", f"{name}/", *lines)).status == 204
    assert await status_of(shared, f"{name}-b/b") == 404
    assert await exists(shared, f"{name}-b/")


@on_shared_server
async def test_body_has_no_meaning(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    lines = (f"Destination: /files/{name}-b/", "Content-Length: 4")
    for method in ("DELETE", "COPY", "MOVE"):
        assert (await send(shared, method, f"{name}/", *lines)).status == 415
    assert await exists(shared, f"{name}/")


@on_shared_server
async def test_condition_that_no_folder_fulfils_stops_the_request(
    shared: Client, name: str
) -> None:
    # RFC 9110 §13.1.1: a folder has no ETag, so none in If-Match is its own.
    await put(shared, f"{name}/a")
    lines = (f"Destination: /files/{name}-b/", 'If-Match: "abc"')
    for method in ("COPY", "MOVE", "DELETE"):
        assert (await send(shared, method, f"{name}/", *lines)).status == 412, method
    assert await exists(shared, f"{name}/")
    assert not await exists(shared, f"{name}-b/")


@on_shared_server
@pytest.mark.parametrize(
    ("destination", "status"),
    [
        (None, 400),
        ("http://elsewhere.example/files/b/", 502),
        ("/b/", 400),
        ("/files/../b/", 400),
        ("/files/b//", 400),
    ],
)
async def test_destination_that_is_not_possible(
    shared: Client, name: str, destination: str | None, status: int
) -> None:
    await put(shared, f"{name}/a")
    lines = [] if destination is None else [f"Destination: {destination}"]
    for method in ("COPY", "MOVE"):
        assert (await send(shared, method, f"{name}/", *lines)).status == status
    assert await exists(shared, f"{name}/")


@on_shared_server
async def test_file_outlives_the_folder_that_it_was_moved_out_of(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a", b"content")
    await send(shared, "MOVE", f"{name}/a", f"Destination: /files/{name}-a")
    assert (await send(shared, "DELETE", f"{name}/")).status == 404
    assert await read(shared, f"{name}-a") == b"content"


async def test_deleted_folder_leaves_no_row_behind(client: Client, rows: Rows) -> None:
    await make(client, "d/")
    await make(client, "d/e/")
    await put(client, "d/e/a")
    assert (await send(client, "DELETE", "d/")).status == 204
    assert await rows.names() == []


@on_shared_server
async def test_missing_folder_is_a_problem_document(shared: Client, name: str) -> None:
    await problem(await shared.get(f"/files/{name}/"), 404)
    await problem(await shared.delete(f"/files/{name}/"), 404)
