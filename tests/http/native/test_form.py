"""POST: files uploaded by an HTML form, and the form that deletes one."""

from __future__ import annotations

from urllib.parse import quote, quote_plus, urlencode

import pytest

from chunkstore.core.digest import Digest
from chunkstore.http.native.forms import PARTS
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http import raw
from tests.http.conftest import Serve
from tests.http.steps import (
    BROWSER,
    MIB,
    Client,
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

# As long as those of browsers.
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW3"
TYPE = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"


def part(disposition: str, content: bytes = b"", *headers: str) -> bytes:
    """Return one part, with the boundary before it; `disposition` is what follows form-data."""
    lines = [f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n"


def file(filename: str, content: bytes = b"content", *headers: str) -> bytes:
    """Return the part of a file, its name as it is."""
    return part(f'name="file"; filename="{filename}"', content, *headers)


END = f"--{BOUNDARY}--\r\n".encode()
OVERWRITE = part('name="overwrite"', b"yes")


async def post(client: Client, folder: str, body: bytes, *lines: str) -> raw.Answer:
    """Return the answer to the form; `lines` are header lines, a Content-Type among them or not."""
    if not any(line.startswith("Content-Type") for line in lines):
        lines = (TYPE, *lines)
    length = f"Content-Length: {len(body)}"
    octets = raw.request("POST", f"/files/{folder}", *lines, length, body=body)
    return await raw.ask(client, octets)


@on_shared_server
async def test_files_are_stored(shared: Client, name: str, random_bytes: RandomBytes) -> None:
    contents = {
        "empty": b"",
        "small.txt": b"hello",
        "large": random_bytes(300_001),
        "lines": b"\r\n--\r\n----WebKit\r\n\r\n" * 100,
        "nearly the boundary": f"\r\n--{BOUNDARY[:-1]}\r\n".encode() * 3000,
        "line end": b"\r\n",
        "half a line end": b"\r",
    }
    body = b"".join(file(filename, content) for filename, content in contents.items()) + END
    answer = await post(shared, f"{name}/", body)
    assert answer.status == 201
    told = answer.json()["files"]
    assert [(one["name"], one["size"]) for one in told] == [
        (f"{name}/{filename}", len(content)) for filename, content in contents.items()
    ]
    assert set(told[0]) == {
        "name",
        "size",
        "digest",
        "media_type",
        "modified",
        "chunks",
        "new_chunks",
        "new_size",
    }
    for filename, content in contents.items():
        assert await read(shared, f"{name}/{filename.replace(' ', '%20')}") == content


async def test_files_of_the_root_folder(client: Client) -> None:
    assert (await post(client, "", file("a") + file("b") + END)).status == 201
    assert await names(client) == ["a", "b"]


@on_shared_server
async def test_browser_is_sent_back_to_the_folder(shared: Client, name: str) -> None:
    accept = f"Accept: {BROWSER['Accept']}"
    answer = await post(shared, f"{name}%20%C3%A4/", file("a") + END, accept)
    assert answer.status == 303
    assert answer.headers["Location"] == f"/files/{name}%20%C3%A4/"
    assert await status_of(shared, f"{name}%20%C3%A4/a") == 200


@on_shared_server
async def test_body_may_have_what_surrounds_the_parts(shared: Client, name: str) -> None:
    # RFC 2046 §5.1.1: a preamble and an epilogue.
    body = b"preamble\r\n" + file("a") + END + b"epilogue"
    assert (await post(shared, f"{name}/", body)).status == 201
    assert await read(shared, f"{name}/a") == b"content"


@on_shared_server
async def test_end_needs_no_line_end(shared: Client, name: str) -> None:
    assert (await post(shared, f"{name}/", file("a") + END.rstrip())).status == 201
    assert await read(shared, f"{name}/a") == b"content"


@on_shared_server
async def test_form_of_unknown_length(shared: Client, name: str) -> None:
    body = raw.chunked(file("a") + END) + raw.LAST_CHUNK
    octets = raw.request("POST", f"/files/{name}/", TYPE, "Transfer-Encoding: chunked", body=body)
    assert (await raw.ask(shared, octets)).status == 201
    assert await read(shared, f"{name}/a") == b"content"


@on_shared_server
@pytest.mark.parametrize("size", [1, 7, 64])
async def test_form_in_small_pieces(shared: Client, name: str, size: int) -> None:
    content = f"\r\n--{BOUNDARY[:-1]}".encode() * 2
    body = file("a", content) + END
    async with raw.connect(shared) as connection:
        await connection.send(
            raw.request("POST", f"/files/{name}/", TYPE, "Transfer-Encoding: chunked")
        )
        for start in range(0, len(body), size):
            await connection.send(raw.chunked(body[start : start + size]))
        await connection.send(raw.LAST_CHUNK)
        assert (await connection.receive()).status == 201
    assert await read(shared, f"{name}/a") == content


@on_shared_server
async def test_media_type_of_a_part(shared: Client, name: str) -> None:
    body = file("a.txt") + file("b.txt", b"", "Content-Type: image/png") + END
    told = (await post(shared, f"{name}/", body)).json()["files"]
    assert [one["media_type"] for one in told] == ["text/plain; charset=utf-8", "image/png"]


@on_shared_server
@pytest.mark.parametrize("header", ["Content-Transfer-Encoding: base64", "Content-Encoding: gzip"])
async def test_content_of_a_part_is_stored_as_it_is(shared: Client, name: str, header: str) -> None:
    # RFC 7578 §4.7, §4.8: browsers send neither, and nothing is to be decoded.
    content = b"Y29udGVudA" * 1000
    assert (await post(shared, f"{name}/", file("a", content, header) + END)).status == 201
    assert await read(shared, f"{name}/a") == content


@on_shared_server
@pytest.mark.parametrize(
    ("filename", "stored"),
    [
        ("plain.txt", "plain.txt"),
        ("a b", "a b"),
        ("ä😀.txt", "ä😀.txt"),
        ("a\u0308", "ä"),
        # The HTML standard escapes quotes and line ends so, and nothing else.
        ("a%22b%22", 'a"b"'),
        ("100%.txt", "100%.txt"),
        ("a%2Fb", "a%2Fb"),
        ("%41", "%41"),
        ("a'b", "a'b"),
        ("a;b", "a;b"),
        ("a;b;c", "a;b;c"),
        ("a; filename=b", "a; filename=b"),
        ("a; filename*=utf-8''b", "a; filename*=utf-8''b"),
        ("a=b", "a=b"),
        ("a,b", "a,b"),
        ("a\\b", "a\\b"),
        ("\\a", "\\a"),
        ("a\\", "a\\"),
        ("<b>&amp;", "<b>&amp;"),
        # What webkitdirectory sends.
        ("folder/below/a", "folder/below/a"),
        (".hidden", ".hidden"),
        ("overwrite", "overwrite"),
    ],
)
async def test_names_of_files(shared: Client, name: str, filename: str, stored: str) -> None:
    # The second file shows that a name that is not understood is not passed over in silence.
    answer = await post(shared, f"{name}/", file(filename) + file("second") + END)
    assert answer.status == 201
    told = [one["name"] for one in answer.json()["files"]]
    assert told == [f"{name}/{stored}", f"{name}/second"]


@on_shared_server
async def test_names_without_quotes(shared: Client, name: str) -> None:
    # RFC 2183 §2 allows it, and .NET's client sends it.
    await put(shared, f"{name}/plain.txt", b"old")
    overwrite = part("name=overwrite", b"yes")
    body = overwrite + part("name=file; filename=plain.txt", b"new") + file("second") + END
    answer = await post(shared, f"{name}/", body)
    told = [one["name"] for one in answer.json()["files"]]
    assert told == [f"{name}/plain.txt", f"{name}/second"]
    assert await read(shared, f"{name}/plain.txt") == b"new"


@on_shared_server
@pytest.mark.timeout(20)
@pytest.mark.parametrize("unclosed", ["\\" * 4000, '\\"' * 2000, "; filename=" * 360])
async def test_name_without_an_end_does_not_hold_the_server_up(
    shared: Client, name: str, unclosed: str
) -> None:
    # A parser that tries all readings of so many backslashes would not come back.
    body = part(f'name="file"; filename="{unclosed}', b"content") + END
    assert (await post(shared, f"{name}/", body)).status == 400


@on_shared_server
async def test_name_in_both_forms(shared: Client, name: str) -> None:
    # RFC 7578 §4.2 forbids filename*, but clients exist that send it.
    body = part('name="file"; filename="a"; filename*=UTF-8\'\'%C3%A4', b"content") + END
    answer = await post(shared, f"{name}/", body)
    assert [one["name"] for one in answer.json()["files"]] == [f"{name}/ä"]


@on_shared_server
@pytest.mark.parametrize(
    "filename",
    [
        "..",
        ".",
        "../a",
        "a/../b",
        "a//b",
        "a/",
        "a%0D%0ASet-Cookie: b",
        "a\x01b",
        "x" * 1100,
        "/etc/passwd",
    ],
    ids=lambda filename: repr(filename)[:24],
)
async def test_names_that_are_not_possible(shared: Client, name: str, filename: str) -> None:
    answer = await post(shared, f"{name}/", file("first") + file(filename) + END)
    assert answer.status == 400
    assert await status_of(shared, f"{name}/first") == 404


@on_shared_server
async def test_backslashes_lead_out_of_no_folder(shared: Client, name: str) -> None:
    answer = await post(shared, f"{name}/", file("\\..\\a") + END)
    assert answer.status == 201
    assert [one["name"] for one in answer.json()["files"]] == [f"{name}/\\..\\a"]


@on_shared_server
async def test_name_that_is_not_utf8(shared: Client, name: str) -> None:
    body = file("first") + file("\0").replace(b"\0", b"\xff") + END
    assert (await post(shared, f"{name}/", body)).status == 400
    assert await status_of(shared, f"{name}/first") == 404


@on_shared_server
@pytest.mark.parametrize(
    ("second", "status"),
    [
        (file("taken"), 412),
        (file("folder"), 409),
        (file("taken/below"), 409),
        (file("first"), 412),
        (file("first/below"), 409),
        (file(".."), 400),
        (file("b", b"", "Content-Type: nonsense"), 400),
        (part('name="field"', b"x" * 10_000), 413),
        (file("b", b"content", "Content-Type: multipart/mixed; boundary=x"), 400),
    ],
    ids=lambda value: repr(value)[-40:],
)
async def test_all_files_or_none(shared: Client, name: str, second: bytes, status: int) -> None:
    await put(shared, f"{name}/taken", b"old")
    await put(shared, f"{name}/folder/a", b"old")
    answer = await post(shared, f"{name}/", file("first") + second + file("third") + END)
    assert answer.status == status
    assert answer.json()["status"] == status
    for filename in ("first", "third", "b"):
        assert await status_of(shared, f"{name}/{filename}") == 404
    assert await read(shared, f"{name}/taken") == b"old"


@on_shared_server
async def test_files_are_replaced_if_so_wished(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a", b"old")
    answer = await post(shared, f"{name}/", OVERWRITE + file("a", b"new") + END)
    assert answer.status == 200
    assert await read(shared, f"{name}/a") == b"new"
    answer = await post(shared, f"{name}/", OVERWRITE + file("a") + file("b") + END)
    assert answer.status == 201


def match(content: bytes | str) -> bytes:
    """Return a field that has the next file replace this content, or one with this ETag."""
    etag = content if isinstance(content, str) else f'"{Digest.of(content)}"'
    return part('name="if_match"', etag.encode())


@on_shared_server
async def test_each_file_replaces_the_content_that_it_names(shared: Client, name: str) -> None:
    for old in ("a", "b"):
        await put(shared, f"{name}/{old}", old.encode())
    matches = [match(b"a"), match("*")]
    body = matches[0] + file("a", b"1") + matches[1] + file("b", b"2") + file("c", b"3") + END
    assert (await post(shared, f"{name}/", body)).status == 201
    assert [await read(shared, f"{name}/{one}") for one in "abc"] == [b"1", b"2", b"3"]


@on_shared_server
@pytest.mark.parametrize("overwrite", [b"", OVERWRITE], ids=["no", "overwrite"])
async def test_a_file_that_replaces_other_content_is_named(
    shared: Client, name: str, overwrite: bytes
) -> None:
    for old in ("a", "b"):
        await put(shared, f"{name}/{old}", old.encode())
    files = file("new") + match(b"a") + file("a", b"1") + match(b"other") + file("b", b"2")
    answer = await post(shared, f"{name}/", overwrite + files + END)
    assert answer.status == 412
    told = answer.json()
    assert (told["type"], told["edit"]) == ("urn:chunkstore:problem:precondition-failed", 2)
    assert [await read(shared, f"{name}/{one}") for one in "ab"] == [b"a", b"b"]
    assert await status_of(shared, f"{name}/new") == 404
    # There is nothing that it could replace.
    answer = await post(shared, f"{name}/", match("*") + file("none") + END)
    assert (answer.status, answer.json()["edit"]) == (412, 0)


@on_shared_server
async def test_a_condition_is_of_the_next_file_alone(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a", b"a")
    # Of inputs of a page one may be left empty.
    empty = file("", b"")
    body = match(b"other") + empty + match(b"a") + file("a", b"1") + file("b", b"2") + END
    assert (await post(shared, f"{name}/", body)).status == 201
    answer = await post(shared, f"{name}/", match(b"1") + file("a", b"3") + file("b", b"4") + END)
    assert (answer.status, answer.json()["edit"]) == (412, 1)
    assert await read(shared, f"{name}/a") == b"1"


@on_shared_server
@pytest.mark.parametrize(
    "fields",
    [match(""), match("unquoted"), match(b"a") + match(b"b")],
    ids=["empty", "no ETag", "two"],
)
async def test_a_condition_that_is_none_is_a_mistake(
    shared: Client, name: str, fields: bytes
) -> None:
    await put(shared, f"{name}/a", b"a")
    answer = await post(shared, f"{name}/", OVERWRITE + fields + file("a", b"1") + END)
    assert answer.status == 400
    assert await read(shared, f"{name}/a") == b"a"


@on_shared_server
async def test_empty_overwrite_is_none(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a", b"old")
    body = part('name="overwrite"') + file("a", b"new") + END
    assert (await post(shared, f"{name}/", body)).status == 412
    assert await read(shared, f"{name}/a") == b"old"


@on_shared_server
@pytest.mark.parametrize(
    ("value", "status"),
    [(b"no", 412), (b"No", 412), (b"false", 412), (b"0", 412), (b" ", 412), (b"on", 200)],
)
async def test_overwrite_may_say_no(shared: Client, name: str, value: bytes, status: int) -> None:
    await put(shared, f"{name}/a", b"old")
    body = part('name="overwrite"', value) + file("a", b"new") + END
    assert (await post(shared, f"{name}/", body)).status == status
    assert await read(shared, f"{name}/a") == (b"old" if status == 412 else b"new")


@on_shared_server
async def test_delete_form_of_one_folder_deletes_in_no_other(shared: Client, name: str) -> None:
    await put(shared, f"{name}-b/a")
    await put(shared, f"{name}/a")
    answer = await post(shared, f"{name}/", f"delete={name}-b/a".encode(), URLENCODED)
    assert answer.status == 400
    assert await status_of(shared, f"{name}-b/a") == 200
    answer = await post(shared, "", f"delete={name}-b/a".encode(), URLENCODED)
    assert answer.status == 200


@on_shared_server
async def test_of_two_files_of_one_name_the_last_one_stays_if_so_wished(
    shared: Client, name: str
) -> None:
    body = OVERWRITE + file("a", b"first") + file("a", b"second") + END
    assert (await post(shared, f"{name}/", body)).status == 201
    assert await read(shared, f"{name}/a") == b"second"


@on_shared_server
@pytest.mark.parametrize(
    "body",
    [END, file("", b"") + END, OVERWRITE + END, part('name="file"', b"content") + END],
    ids=["no part", "no file chosen", "a field", "a file without a name"],
)
async def test_form_without_a_file(shared: Client, name: str, body: bytes) -> None:
    assert (await post(shared, f"{name}/", body)).status == 400


@on_shared_server
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=other", 400),
        ("multipart/form-data; boundary=" + "x" * 71, 400),
        ("multipart/form-data; boundary=ä", 400),
        ("multipart/mixed; boundary=" + BOUNDARY, 415),
        ("application/json", 415),
        ("text/plain", 415),
        ("", 415),
        ("nonsense", 415),
    ],
)
async def test_other_types(shared: Client, name: str, content_type: str, status: int) -> None:
    answer = await post(shared, f"{name}/", file("a") + END, f"Content-Type: {content_type}")
    assert answer.status == status
    assert answer.json()["status"] == status
    assert await status_of(shared, f"{name}/a") == 404


@on_shared_server
async def test_other_type_is_not_a_matter_of_codings(shared: Client, name: str) -> None:
    # RFC 9110 §12.5.3: such a 415 must not have Accept-Encoding.
    answer = await post(shared, f"{name}/", b"{}", "Content-Type: application/json")
    assert answer.headers["Accept-Encoding"] is None


@on_shared_server
async def test_encoded_form_is_not_taken(shared: Client, name: str) -> None:
    answer = await post(shared, f"{name}/", file("a") + END, "Content-Encoding: gzip")
    assert answer.status == 415
    assert await status_of(shared, f"{name}/a") == 404


@on_shared_server
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"nonsense", id="nonsense"),
        pytest.param(b"x" * 300_000, id="one long line"),
        pytest.param(b"\r\n" * 100_000, id="many lines"),
        pytest.param(file("a"), id="no boundary behind"),
        pytest.param(file("a") + END[:-4], id="no end"),
        pytest.param(file("a") + END[:-4] + b"\r\n", id="no headers"),
        pytest.param(file("a") + END[:-4] + b"\r\nContent-", id="half a header"),
        pytest.param(file("a") + END[:-4] + b"x\r\n" + END, id="another boundary"),
        pytest.param(file("a").replace(b"\r\n", b"\n") + END, id="bare line feeds"),
        pytest.param(file("a", b"", "no colon") + END, id="header without colon"),
        pytest.param(file("a", b"", ": no name") + END, id="header without name"),
        pytest.param(file("a", b"", "A: " + "x" * 100_000) + END, id="long header"),
        pytest.param(file("a", b"", *["A: b"] * 10_000) + END, id="many headers"),
        pytest.param(file("a", b"", "A: \0") + END, id="NUL in a header"),
        pytest.param(part('name="_charset_"', b"x" * 100) + file("a") + END, id="long charset"),
    ],
)
async def test_malformed_form(shared: Client, name: str, body: bytes) -> None:
    answer = await post(shared, f"{name}/", body)
    assert 400 <= answer.status < 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert await status_of(shared, f"{name}/a") == 404


@on_shared_server
@pytest.mark.parametrize(("charset", "status"), [(b"UTF-8", 201), (b"utf8", 201), (b"Big5", 400)])
async def test_charset_of_a_form(shared: Client, name: str, charset: bytes, status: int) -> None:
    # RFC 7578 §4.6: what a browser fills a hidden field of this name with.
    body = part('name="_charset_"', charset) + file("ä") + END
    assert (await post(shared, f"{name}/", body)).status == status
    assert await status_of(shared, f"{name}/%C3%A4") == (200 if status == 201 else 404)


@on_shared_server
@pytest.mark.parametrize("where", ["before", "behind"])
async def test_what_is_no_part_is_bounded(shared: Client, name: str, where: str) -> None:
    more = b"a\r\n" * 400_000
    body = more + file("a") + END if where == "before" else file("a") + END + more
    answer = await post(shared, f"{name}/", body)
    assert answer.status == 400
    assert await status_of(shared, f"{name}/a") == 404


async def test_form_that_ends_anywhere_but_at_its_end_stores_nothing(client: Client) -> None:
    body = file("a", b"content") + file("b", b"\r\ncontent\r\n") + END.rstrip()
    # Each place in the end, and some in all that stands before it.
    stops = {*range(0, len(body), 17), *range(len(body) - len(END), len(body))}
    statuses = set()
    async with raw.connect(client) as connection:
        for stop in stops:
            length = f"Content-Length: {stop}"
            await connection.send(raw.request("POST", "/files/", TYPE, length, body=body[:stop]))
            statuses.add((await connection.receive()).status)
    assert await names(client) == []
    assert statuses == {400}


async def test_form_that_is_cut_stores_nothing(
    client: Client, any_server: raw.Server, rows: Rows, random_bytes: RandomBytes
) -> None:
    async def two_are_open() -> bool:
        return await rows.unfinished() >= 2

    async def none_is_open() -> bool:
        return await rows.unfinished() == 0

    body = b"".join(file(name, random_bytes(3 * CHUNK_SIZE)) for name in "ab")
    # A third part, long and never complete, makes the server finish with the second.
    body += file("c", b"c" * 300_000)
    async with raw.connect(any_server) as connection:
        length = f"Content-Length: {2 * len(body)}"
        await connection.send(raw.request("POST", "/files/", TYPE, length, body=body))
        await wait_until(two_are_open)
    await wait_until(none_is_open)
    assert await names(client) == []


async def test_largest_number_of_files(client: Client) -> None:
    many = b"".join(file(f"{number}", b"") for number in range(1000))
    answer = await post(client, "a/", OVERWRITE + many + END)
    assert answer.status == 201
    assert len(answer.json()["files"]) == 1000
    answer = await post(client, "b/", OVERWRITE + many + file("one more") + END)
    assert answer.status == 413
    assert answer.json()["detail"] == "A form can have 1000 files."
    assert len(await names(client)) == 1000


async def test_largest_number_of_parts(client: Client) -> None:
    filler = part('name="x"', b"")
    answer = await post(client, "", filler * 1999 + file("a") + END)
    assert answer.status == 201
    answer = await post(client, "", filler * 2000 + file("b") + END)
    assert answer.status == 413
    assert answer.json()["type"].endswith(":too-large")
    assert await names(client) == ["a"]


async def test_files_that_wait_for_the_end_of_their_form_are_bounded(serve: Serve) -> None:
    client = await serve(memory=MIB)
    many = b"".join(file(f"{number}", b"") for number in range(1000))
    async with raw.connect(client) as connection:
        length = f"Content-Length: {len(many) + 1}"
        await connection.send(raw.request("POST", "/files/", TYPE, length, body=many))

        async def all_wait() -> bool:
            assert client.app is not None
            return bool(client.app[PARTS]._count == 1000)

        await wait_until(all_wait)
        answer = await post(client, "b/", file("a") + END)
        assert answer.headers["Retry-After"]
        assert answer.json()["type"] == "urn:chunkstore:problem:busy"

    async def others_are_taken() -> bool:
        return (await post(client, "b/", OVERWRITE + file("a") + END)).status < 300

    await wait_until(others_are_taken)


async def test_file_that_is_too_large(serve: Serve) -> None:
    client = await serve(max_file_size=10_000)
    assert (await post(client, "", file("a", b"x" * 10_000) + END)).status == 201
    answer = await post(client, "", file("b") + file("c", b"x" * 10_001) + END)
    assert answer.status == 413
    assert await names(client) == ["a"]


async def test_refused_form_stores_no_chunk_of_a_file(client: Client, rows: Rows) -> None:
    await put(client, "taken", b"old")
    await post(client, "", file("first") + file("taken") + END)
    held = await stats(client)
    assert (held["files"], held["contents"]) == (1, 1)
    assert await rows.unfinished() == 0


async def test_known_chunks_are_told(client: Client, random_bytes: RandomBytes) -> None:
    content = random_bytes(2 * CHUNK_SIZE)
    told = (await post(client, "", file("a", content) + file("b", content) + END)).json()["files"]
    assert [(one["chunks"], one["new_chunks"]) for one in told] == [(2, 2), (2, 0)]


@on_shared_server
async def test_form_is_for_folders(shared: Client, name: str) -> None:
    answer = await post(shared, name, file("a") + END)
    assert answer.status == 400
    assert b"forms are sent to folders" in answer.body
    answer = await post(shared, "../", file("a") + END)
    assert answer.status == 400


@on_shared_server
async def test_form_that_waits_to_be_invited(shared: Client, name: str) -> None:
    body = file("a") + END
    lines = (TYPE, f"Content-Length: {len(body)}", "Expect: 100-continue")
    async with raw.connect(shared) as connection:
        await connection.send(raw.request("POST", f"/files/{name}/", *lines))
        assert (await connection.receive()).status == 100
        await connection.send(body)
        assert (await connection.receive()).status == 201
    for refused in ("Sec-Fetch-Site: cross-site", "Content-Encoding: gzip"):
        octets = raw.request("POST", f"/files/{name}/", *lines, refused)
        assert (await raw.ask(shared, octets)).status in (403, 415)


URLENCODED = "Content-Type: application/x-www-form-urlencoded"


@on_shared_server
@pytest.mark.parametrize("filename", ["a", "d/a", "a b+c%&=;", 'ä"<script>', "\\"])
async def test_delete_button(shared: Client, name: str, filename: str) -> None:
    await put(shared, f"{name}/{quote(filename)}")
    body = urlencode({"delete": f"{name}/{filename}"}).encode()
    answer = await post(shared, f"{name}/", body, URLENCODED)
    assert (answer.status, answer.json()) == (200, {"files": []})
    assert f"{name}/{filename}" not in await names(shared)


@on_shared_server
async def test_delete_button_sends_a_browser_back(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    accept = f"Accept: {BROWSER['Accept']}"
    body = f"delete={name}/a".encode()
    answer = await post(shared, f"{name}/", body, URLENCODED, accept)
    assert (answer.status, answer.headers["Location"]) == (303, f"/files/{name}/")


@on_shared_server
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"delete={}/b", 404),
        (b"delete={}", 400),
        (b"delete={}-b/a", 400),
        (b"delete=", 400),
        (b"", 400),
        (b"other={}/a", 400),
        (b"delete={}/a&delete={}/a", 400),
        (b"delete={}/a&other=b", 400),
        (b"delete=..%2f{}/a", 400),
        (b"delete={}/a%00", 400),
        (b"delete=%ff", 400),
        (b"delete=%ed%a0%80", 400),
        (b"\xff=\xff", 400),
        (b"delete={}/a%2f", 400),
        (b"&".join([b"x=y"] * 1500), 400),
        (b"delete=" + b"x" * 9000, 413),
    ],
    ids=lambda value: repr(value)[:30],
)
async def test_delete_form_that_names_no_file(
    shared: Client, name: str, body: bytes, status: int
) -> None:
    await put(shared, f"{name}/a")
    answer = await post(shared, f"{name}/", body.replace(b"{}", name.encode()), URLENCODED)
    assert answer.status == status
    assert answer.json()["status"] == status
    assert await status_of(shared, f"{name}/a") == 200


@on_shared_server
async def test_delete_form_of_unknown_length(shared: Client, name: str) -> None:
    await put(shared, f"{name}/a")
    body = raw.chunked(f"delete={quote_plus(name)}%2Fa".encode()) + raw.LAST_CHUNK
    lines = (URLENCODED, "Transfer-Encoding: chunked")
    answer = await raw.ask(shared, raw.request("POST", f"/files/{name}/", *lines, body=body))
    assert answer.status == 200
    assert await status_of(shared, f"{name}/a") == 404


@on_shared_server
async def test_refused_form_is_a_problem_document(shared: Client, name: str) -> None:
    await problem(await shared.post(f"/files/{name}/", json={}), 415)
