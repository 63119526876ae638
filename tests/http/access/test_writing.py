"""What may be created, replaced, copied, moved and deleted, by every way in."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
from blake3 import blake3

from chunkstore.service import known_chunks
from tests.backends import CHUNK_SIZE
from tests.http.access.people import Answer, Site
from tests.http.steps import BROWSER

TUS = {"Tus-Resumable": "1.0.0"}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
async def roles(site: Site) -> Site:
    """Return the server with one account of each role in `d/`, named after it."""
    for name in ("reader", "contributor", "editor", "dropper", "writer"):
        await site.add(name)
        await site.allow(name, "d/", "write" if name == "writer" else name)
    assert await site.status("admin", "PUT", "/files/d/there", data=b"old") == 201
    assert await site.status("admin", "PUT", "/files/e/there", data=b"old") == 201
    return site


async def put(site: Site, who: str, way: str, name: str, content: bytes) -> Answer:
    """Put a file by one of the ways in."""
    match way:
        case "PUT":
            return await site.ask(who, "PUT", f"/files/{name}", data=content)
        case "draft":
            return await site.ask(
                who, "PUT", f"/files/{name}", data=content,
                Upload_Complete="?1", Upload_Draft_Interop_Version="8",
            )  # fmt: skip
        case "tus":
            folder, _, filename = name.rpartition("/")
            metadata = f"filename {b64(filename)},folder {b64(folder)}"
            return await site.ask(
                who, "POST", "/uploads", data=content, **TUS, Upload_Length=str(len(content)),
                Upload_Metadata=metadata, Content_Type="application/offset+octet-stream",
            )  # fmt: skip
        case "form":
            folder, _, filename = name.rpartition("/")
            form = aiohttp.FormData()
            form.add_field("overwrite", "yes")
            form.add_field("file", content, filename=filename)
            response = await site.client.post(
                f"/files/{folder}/", data=form, headers=site.headers_of(who)
            )
            return await Answer.of(response)
        case "manifest":
            begun = await site.ask(who, "POST", f"/manifests/{name}", **{"Content-Length": "0"})
            if begun.status != 201:
                return begun
            url = begun.headers["Location"]
            sent = await site.ask(
                who, "POST", f"{url}/chunks", data=content, Content_Type="application/octet-stream"
            )
            assert sent.status == 200, sent
            entry = blake3(content).digest()
            return await site.ask(
                who, "PATCH", url, data=entry, Content_Type="application/vnd.chunkstore.digests",
                Upload_Offset="0", Upload_Complete="?1",
            )  # fmt: skip
    raise ValueError(way)


async def read(site: Site, name: str) -> bytes | None:
    answer = await site.ask("admin", "GET", f"/files/{name}")
    return answer.body if answer.status == 200 else None


WAYS = ["PUT", "draft", "tus", "form", "manifest"]


@pytest.mark.parametrize("way", WAYS)
async def test_each_role_puts_what_it_may(roles: Site, way: str) -> None:
    may = {
        "reader": (403, 403), "contributor": (201, 403), "editor": (201, 200), "writer": (403, 200),
    }  # fmt: skip
    for who, (new, replaced) in may.items():
        name = f"d/{way}-{who}"
        made = await put(roles, who, way, name, b"new")
        assert made.status == new, (who, made)
        assert await read(roles, name) == (b"new" if new == 201 else None)
        content = f"by {who}".encode()
        made = await put(roles, who, way, "d/there", content)
        if way == "tus" and replaced == 200:
            replaced = 201
        assert made.status == replaced, (who, made)
        if made.status != 403:
            assert await read(roles, "d/there") == content
        # And nowhere else.
        for other in ("e/there", "e/new", "d", "dd/new", "d-/new"):
            if way == "form" and "/" not in other:
                continue
            assert (await put(roles, who, way, other, b"x")).status in (403, 404), (who, other)
            assert await read(roles, other) == (b"old" if other == "e/there" else None)


@pytest.mark.parametrize("way", WAYS)
async def test_who_drops_files_learns_nothing(roles: Site, way: str) -> None:
    """A taken name is stored beside, and the answer is the same byte for byte."""
    new = await put(roles, "dropper", way, "d/a-free-nam", b"dropped")
    taken = await put(roles, "dropper", way, "d/there", b"dropped")
    # Below a file there is no room for another one.
    below = await put(roles, "dropper", way, "d/there/in", b"dropped")
    again = await put(roles, "dropper", way, "d/there", b"dropped")
    for answer in (new, taken, below, again):
        assert answer.status == 201, answer
        for told in ("ETag", "Last-Modified", "Content-Location", "Upload-New-Size"):
            assert told not in answer.headers
        assert b"new_size" not in answer.body
        assert b"digest" not in answer.body
    if way == "PUT":
        assert taken.headers.keys() == new.headers.keys()
        assert json.loads(taken.body) == {"name": "d/there"}
    assert await read(roles, "d/there") == b"old"
    listing = json.loads((await roles.ask("admin", "GET", "/files/d/?delimiter=")).body)
    dropped = [file for file in listing["files"] if file["name"] != "d/there"]
    assert len(dropped) == 4
    assert all(file["size"] == len(b"dropped") for file in dropped)


@pytest.fixture
def asked(roles: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the names of the store were asked to do, in order."""
    names, done = type(roles.store.names), list[str]()

    def count(name: str, ask: Any) -> None:  # noqa: ANN401 - a method of any kind
        async def counted(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever it takes
            done.append(name)
            return await ask(*arguments, **more)

        monkeypatch.setattr(names, name, counted)

    for name in ("apply", "check_put", "find"):
        count(name, getattr(names, name))
    return done


async def test_a_taken_name_takes_who_drops_files_as_long_as_a_free_one(
    roles: Site, asked: list[str]
) -> None:
    took = []
    for name in ("d/free", "d/there"):
        asked.clear()
        assert await roles.status("dropper", "PUT", f"/files/{name}", data=b"dropped") == 201
        took.append([*asked])
    assert took[0] == took[1] == ["check_put", "apply"]


@pytest.mark.parametrize(
    "names",
    [
        ["x"] * 30,
        ["there"] * 30,
        ["p", *(f"p/{n}" for n in range(30))],
        ["a/b/c/d", "a/b", "a"] * 9,
    ],
)
async def test_names_in_each_others_way_are_dropped_in_few_transactions(
    roles: Site, asked: list[str], names: list[str]
) -> None:
    """One for each would keep all who write waiting: a thousand files took 45 seconds."""
    form = aiohttp.FormData()
    for name in names:
        form.add_field("file", b"dropped", filename=name)
    response = await roles.client.post("/files/d/", data=form, headers=roles.headers_of("dropper"))
    assert response.status == 201
    assert asked.count("apply") <= 6
    listing = json.loads((await roles.ask("admin", "GET", "/files/d/?delimiter=")).body)
    assert len(listing["files"]) == len(names) + 1


async def test_a_deep_name_below_a_file_is_dropped_in_few_transactions(
    roles: Site, asked: list[str]
) -> None:
    name = "d/there/" + "a/" * 500 + "b"
    assert await roles.status("dropper", "PUT", f"/files/{name}", data=b"dropped") == 201
    assert asked.count("apply") <= 3


async def test_who_drops_files_cannot_ask_by_conditions(roles: Site) -> None:
    etag = (await roles.ask("admin", "HEAD", "/files/d/there")).headers["ETag"]
    for name in ("d/there", "d/missing"):
        for condition in ({"If_Match": etag}, {"If_Match": "*"}):
            answer = await roles.ask("dropper", "PUT", f"/files/{name}", data=b"", **condition)
            assert answer.status == 412
        answer = await roles.ask("dropper", "PUT", f"/files/{name}", data=b"", If_None_Match="*")
        assert answer.status == 201
    for method, path in (("MKCOL", "/files/d/there/"), ("MKCOL", "/files/d/new/")):
        assert await roles.status("dropper", method, path) == 403
    for name in ("d/there", "d/new"):
        await roles.allow("dropper", "mine/", "editor")
        await roles.status("dropper", "PUT", "/files/mine/x", data=b"")
        answer = await roles.ask("dropper", "COPY", "/files/mine/x", Destination=f"/files/{name}")
        assert answer.status == 403


async def test_a_condition_on_what_may_not_be_read_is_refused(roles: Site) -> None:
    """Conditions tell the digest: its letters could be guessed one by one."""
    etag = (await roles.ask("admin", "HEAD", "/files/d/there")).headers["ETag"]
    for condition in ({"If_Match": etag}, {"If_Match": '"x"'}, {"If_None_Match": etag}):
        answer = await roles.ask("writer", "PUT", "/files/d/there", data=b"", **condition)
        assert answer.status == 403
    assert await read(roles, "d/there") == b"old"


async def test_copy_needs_to_read_the_source_and_to_put_the_target(roles: Site) -> None:
    """dufs CVE-2026-129355, filebrowser CVE-2026-32758, Nextcloud CVE-2016-9461."""
    for method in ("COPY", "MOVE"):
        for who, source, target in (
            ("editor", "e/there", "d/stolen"),
            ("editor", "d/there", "e/planted"),
            ("editor", "d/there", "e/there"),
            ("writer", "d/there", "d/copy"),
            ("reader", "d/there", "d/copy"),
        ):
            answer = await roles.ask(
                who, method, f"/files/{source}", Destination=f"/files/{target}"
            )
            assert answer.status in (403, 404), (method, who, source, target)
    assert await read(roles, "d/stolen") is await read(roles, "e/planted") is None
    answer = await roles.ask("contributor", "COPY", "/files/d/there", Destination="/files/d/copy")
    assert answer.status == 201
    answer = await roles.ask("contributor", "COPY", "/files/d/there", Destination="/files/d/copy")
    assert answer.status == 403
    answer = await roles.ask("contributor", "MOVE", "/files/d/there", Destination="/files/d/new")
    assert answer.status == 403
    answer = await roles.ask("editor", "MOVE", "/files/d/there", Destination="/files/d/copy")
    assert answer.status == 204


async def test_whole_folders_are_changed_only_with_the_right_everywhere(roles: Site) -> None:
    await roles.status("admin", "PUT", "/files/d/in/secret", data=b"s")
    await roles.allow("editor", "d/in/", "-")
    for method, path in (("DELETE", "/files/d/"), ("COPY", "/files/d/"), ("MOVE", "/files/d/")):
        answer = await roles.ask("editor", method, path, Destination="/files/d2/")
        assert answer.status == 403, method
    await roles.allow("editor", "d2/", "editor")
    for method in ("COPY", "MOVE"):
        answer = await roles.ask("editor", method, "/files/d/", Destination="/files/d2/")
        assert answer.status == 403
        # Nor by a name without the slash.
        answer = await roles.ask("editor", method, "/files/d", Destination="/files/d2")
        assert answer.status in (403, 404)
    await roles.allow("editor", "d/in/", "reader")
    answer = await roles.ask("editor", "COPY", "/files/d/", Destination="/files/d2/")
    assert answer.status == 201
    assert await read(roles, "d2/in/secret") == b"s"
    # What would replace a folder may not take along what one may not delete.
    await roles.allow("editor", "d2/in/", "create,read,list,write")
    answer = await roles.ask("editor", "COPY", "/files/d/", Destination="/files/d2/")
    assert answer.status == 403
    assert await roles.status("editor", "DELETE", "/files/d2/") == 403


async def test_a_batch_is_judged_edit_by_edit(roles: Site) -> None:
    async def batch(who: str, *edits: Mapping[str, object]) -> Answer:
        body = "\n".join(json.dumps(edit) for edit in edits).encode()
        return await roles.ask(who, "POST", "/batch", data=body, Content_Type="application/jsonl")

    good = {"edit": "copy", "source": "d/there", "target": "d/copy"}
    for bad in (
        {"edit": "delete", "name": "e/there"},
        {"edit": "copy", "source": "e/there", "target": "d/x"},
        {"edit": "move", "source": "d/there", "target": "e/x"},
        {"edit": "make_folder", "name": "e/new/"},
        {"edit": "delete", "name": "e/"},
    ):
        answer = await batch("editor", good, bad)
        assert answer.status in (403, 404, 409), bad
        assert json.loads(answer.body)["edit"] == 1
        assert await read(roles, "d/copy") is None
    assert (await batch("editor", good)).status == 200
    # Each sees what those before it have made.
    makes = [{"edit": "make_folder", "name": name} for name in ("d/one/", "d/one/two/")]
    assert (await batch("editor", *makes)).status == 200


async def test_a_folder_may_be_made_where_files_may(roles: Site) -> None:
    assert await roles.status("contributor", "MKCOL", "/files/d/new/") == 201
    assert await roles.status("contributor", "MKCOL", "/files/d/new/") == 405
    assert await roles.status("reader", "MKCOL", "/files/d/other/") == 403
    assert await roles.status("contributor", "MKCOL", "/files/e/new/") == 404
    assert await roles.status("contributor", "DELETE", "/files/d/new/") == 403


async def test_a_form_deletes_only_what_may_be_deleted(roles: Site) -> None:
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    answer = await roles.ask("contributor", "POST", "/files/d/", data=b"delete=d/there", **form)
    assert answer.status == 403
    answer = await roles.ask("editor", "POST", "/files/d/", data=b"delete=d/there", **form)
    assert answer.status == 200


async def test_rights_are_judged_again_at_the_commit(roles: Site) -> None:
    """A rule that goes while the body comes refuses what the head would have been let do."""

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await roles.allow("editor", "d/", "reader")
        yield b"last"

    response = await roles.client.put(
        "/files/d/new", data=body(), headers=roles.headers_of("editor")
    )
    assert response.status == 403
    assert await read(roles, "d/new") is None


async def test_a_token_that_is_revoked_while_its_body_comes_puts_nothing(roles: Site) -> None:
    [token] = await roles.people.accounts.tokens("editor")

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await roles.people.accounts.revoke_token(token.id)
        yield b"last"

    response = await roles.client.put(
        "/files/d/new", data=body(), headers=roles.headers_of("editor")
    )
    assert response.status == 401
    assert await read(roles, "d/new") is None


async def begin(site: Site, who: str | None, name: str = "d/up", length: int = 6) -> str:
    folder, _, filename = name.rpartition("/")
    answer = await site.ask(
        who, "POST", "/uploads", **TUS, Upload_Length=str(length),
        Upload_Metadata=f"filename {b64(filename)},folder {b64(folder)}",
    )  # fmt: skip
    assert answer.status == 201, answer
    return answer.headers["Location"]


async def test_uploads_belong_to_who_began_them(roles: Site) -> None:
    """filebrowser CVE-2026-29188, and others' parts: 404, as if there were none."""
    await roles.add("other")
    await roles.allow("other", "d/", "editor")
    url = await begin(roles, "editor")
    missing = url[:-4] + "AAAA"
    patch = {
        **TUS, "Upload_Offset": "0", "Content_Type": "application/offset+octet-stream",
    }  # fmt: skip
    requests = [
        ("HEAD", "", {**TUS}, None),
        ("GET", "", {}, None),
        ("PATCH", "", patch, b"stolen"),
        ("DELETE", "", {**TUS}, None),
        ("GET", "/chunks", {}, None),
        ("POST", "/chunks", {"Content_Type": "application/octet-stream"}, b"x"),
        ("POST", "", {**TUS, "X_HTTP_Method_Override": "DELETE"}, None),
    ]
    for method, suffix, headers, data in requests:
        theirs = await roles.ask("other", method, url + suffix, data=data, **headers)
        none = await roles.ask("other", method, missing + suffix, data=data, **headers)
        assert theirs.status == 404, method
        assert theirs == none
        # Nor somebody who lost the right since.
        assert await roles.status(None, method, url + suffix, data=data, **headers) == 401
    batch = json.dumps({"edit": "put", "name": "d/x", "upload": url}).encode()
    answer = await roles.ask(
        "other", "POST", "/batch", data=batch, Content_Type="application/jsonl"
    )
    assert answer.status == 409
    assert "no such upload" in json.loads(answer.body)["detail"]
    answer = await roles.ask("editor", "PATCH", url, data=b"mine!!", **patch)
    assert answer.status == 204
    assert await read(roles, "d/up") == b"mine!!"


async def test_parts_of_others_cannot_be_concatenated(roles: Site) -> None:
    await roles.add("other")
    await roles.allow("other", "d/", "editor")
    part = await roles.ask(
        "editor", "POST", "/uploads", **TUS, Upload_Length="1", Upload_Concat="partial"
    )
    url = part.headers["Location"]
    metadata = f"filename {b64('d/stolen')}"
    theirs, none = [
        await roles.ask(
            "other", "POST", "/uploads", **TUS, Upload_Concat=concat, Upload_Metadata=metadata
        )
        for concat in (f"final;{url}", f"final;{url[:-4]}AAAA")
    ]
    assert theirs.status == 404
    assert theirs == none


async def test_an_upload_is_judged_when_it_becomes_its_file(roles: Site) -> None:
    url = await begin(roles, "editor")
    await roles.allow("editor", "d/", "reader")
    patch = {**TUS, "Upload_Offset": "0", "Content_Type": "application/offset+octet-stream"}
    assert await roles.status("editor", "PATCH", url, data=b"123456", **patch) in (403, 404)
    assert await read(roles, "d/up") is None
    await roles.allow("editor", "d/", "editor")
    assert await roles.status("editor", "PATCH", url, data=b"123456", **patch) == 204
    assert await read(roles, "d/up") == b"123456"


async def test_a_taken_name_does_not_end_an_upload_that_may_not_replace_it(roles: Site) -> None:
    url = await begin(roles, "contributor")
    await roles.status("admin", "PUT", "/files/d/up", data=b"first")
    patch = {**TUS, "Upload_Offset": "0", "Content_Type": "application/offset+octet-stream"}
    assert await roles.status("contributor", "PATCH", url, data=b"123456", **patch) == 403
    assert await read(roles, "d/up") == b"first"
    await roles.status("admin", "DELETE", "/files/d/up")
    assert await roles.status("contributor", "HEAD", url, **TUS) == 200
    assert await read(roles, "d/up") == b"123456"


async def test_what_is_new_is_told_to_who_reads_all(roles: Site) -> None:
    """Two accounts, byte-equal answers: whether somebody has the content is not told."""
    content = b"known" * 1000
    await roles.status("admin", "PUT", "/files/e/secret", data=content)
    known = await roles.ask("editor", "PUT", "/files/d/one", data=content)
    unknown = await roles.ask("editor", "PUT", "/files/d/two", data=content[::-1])
    one, two = json.loads(known.body), json.loads(unknown.body)
    assert one.keys() == two.keys()
    assert not one.keys() & {"new_chunks", "new_size"}
    for way in WAYS[1:]:
        answer = await put(roles, "editor", way, f"d/{way}", content + way.encode())
        assert b"new_size" not in answer.body
        assert "Upload-New-Size" not in answer.headers
    told = json.loads((await roles.ask("admin", "PUT", "/files/e/x", data=content)).body)
    assert told["new_size"] == 0
    # Who reads all but one folder does not read all.
    await roles.add("most")
    await roles.allow("most", "", "owner")
    await roles.allow("most", "e/", "-")
    answer = await roles.ask("most", "PUT", "/files/f/x", data=content)
    assert b"new_size" not in answer.body
    assert await roles.ask("most", "GET", "/files/", **BROWSER)


async def test_a_digest_alone_gives_nothing(roles: Site) -> None:
    """Gogs CVE-2026-52812, zot CVE-2024-39897: content is bound by its bytes, or by reading it."""
    content = b"secret content"
    digest = blake3(content).digest()
    await roles.status("admin", "PUT", "/files/e/secret", data=content)
    digests = {"Content_Type": "application/vnd.chunkstore.digests"}
    for base in ({}, {"Base": "/files/e/secret"}):
        missing = await roles.ask(
            "editor", "POST", "/chunks/missing", data=digest, **digests, **base
        )
        assert (missing.status, missing.body) == (200, digest)
        answer = await roles.ask(
            "editor", "PUT", "/manifests/d/stolen", data=digest, **digests, **base
        )
        assert answer.status == 409, answer
        begun = await roles.ask("editor", "POST", "/manifests/d/stolen", **base)
        assert begun.status == 201
        answer = await roles.ask(
            "editor", "PATCH", begun.headers["Location"], data=digest, **digests,
            Upload_Offset="0", Upload_Complete="?1",
        )  # fmt: skip
        assert answer.status == 409
    assert await read(roles, "d/stolen") is None
    # What may be read may be referred to, if it is named.
    await roles.allow("editor", "e/", "reader")
    base = {"Base": "/files/e/secret"}
    missing = await roles.ask("editor", "POST", "/chunks/missing", data=digest, **digests, **base)
    assert missing.body == b""
    missing = await roles.ask("editor", "POST", "/chunks/missing", data=digest, **digests)
    assert missing.body == digest
    answer = await roles.ask("editor", "PUT", "/manifests/d/copy", data=digest, **digests, **base)
    assert answer.status == 201, answer
    assert await read(roles, "d/copy") == content
    missing = await roles.ask("admin", "POST", "/chunks/missing", data=digest, **digests)
    assert missing.body == b""
    assert sha256(content).digest() != digest


async def test_long_lists_of_bases_are_not_read_without_end(
    roles: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen long bases and a digest that is in none would be read whole for each request."""
    monkeypatch.setattr(known_chunks, "_PAGE", 1)
    monkeypatch.setattr(known_chunks, "_MOST_PAGES", 10)
    monkeypatch.setattr(known_chunks, "_PAGES_EACH", 2)
    chunks, read = type(roles.store.chunks), list[int]()
    entries = chunks.entries

    async def counted(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - whatever it takes
        read.append(1)
        return await entries(*arguments, **more)

    monkeypatch.setattr(chunks, "entries", counted)
    pieces = [bytes([n]) * CHUNK_SIZE for n in range(20)]
    names = [f"d/base{n}" for n in range(16)]
    for name in names:
        await roles.status("editor", "PUT", f"/files/{name}", data=b"".join(pieces))
    ask = {
        "Content_Type": "application/vnd.chunkstore.digests",
        "Base": ", ".join(f"/files/{name}" for name in names),
    }
    unknown = blake3(b"unknown").digest()
    missing = await roles.ask("editor", "POST", "/chunks/missing", data=unknown, **ask)
    assert missing.body == unknown
    assert len(read) <= 12
    # A list in order is found, however long it is.
    digests = b"".join(blake3(piece).digest() for piece in pieces)
    missing = await roles.ask("editor", "POST", "/chunks/missing", data=digests, **ask)
    assert missing.body == b""


async def test_the_cache_of_nx_has_a_folder_of_its_own(roles: Site) -> None:
    await roles.add("ci")
    await roles.allow("ci", "nx/", "contributor")
    entry = "/nx/v1/cache/abc"
    assert await roles.status("ci", "PUT", entry, data=b"built") == 200
    assert await roles.status("ci", "PUT", entry, data=b"poison") == 409
    assert await roles.status("ci", "GET", entry) == 200
    assert await roles.status("editor", "GET", entry) == 404
    assert await roles.status("editor", "PUT", entry, data=b"x") == 404
    assert await roles.status(None, "GET", entry) == 401
