"""Texts of requests: what is no text, or too much of it, is refused before anything reads it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import chunkstore.http
from chunkstore.http.message import fields as gate
from chunkstore.http.message.fields import IGNORED_IF_MALFORMED, MOST_BYTES
from tests.http import raw
from tests.http.steps import BROWSER, Client, on_shared_server

# 502 is what RFC 4918 §9.8.5 has for a Destination on another server.
NO_FAILURES: Final = {501, 502, 503, 505, 507}
TUS = "Tus-Resumable: 1.0.0"
# The name `a` in Base64.
METADATA = "Upload-Metadata: filename YQ=="
DRAFT = "Upload-Complete: ?0"
# Each way in which fields are read, with what it takes to come so far.
WAYS: Final = {
    "list": ("GET", "/files/", ()),
    "get": ("GET", "/files/fields", ()),
    "put": ("PUT", "/files/fields", ("Content-Length: 0",)),
    "put a part": ("PUT", "/files/fields/new", (DRAFT, "Content-Length: 0")),
    "delete": ("DELETE", "/files/fields", ('If-Match: "none"',)),
    "copy": ("COPY", "/files/fields", ("Destination: /files/fields-copy",)),
    "move": ("MOVE", "/files/fields-none/", ("Destination: /files/fields-other/",)),
    "form": ("POST", "/files/", ("Content-Length: 0",)),
    "begin": ("POST", "/uploads", (TUS, METADATA, "Upload-Length: 9")),
    "tus patch": (
        "PATCH",
        "/uploads/none",
        (TUS, "Content-Type: application/offset+octet-stream", "Upload-Offset: 0"),
    ),
    "patch": ("PATCH", "/uploads/none", ("Content-Type: application/partial-upload", DRAFT)),
    "override": ("POST", "/uploads/none", ("X-HTTP-Method-Override: PATCH",)),
    "options": ("OPTIONS", "/files/", ("Origin: http://elsewhere.example",)),
}

STRUCTURE = [b"a", b"1", b'"', b"\\", b";", b",", b"=", b" ", b":", b"(", b"?", b"%", b"@", b"\xe9"]
VALUES = st.one_of(
    st.binary(max_size=100),
    st.text(max_size=50).map(lambda text: text.encode(errors="replace")),
    st.lists(st.sampled_from(STRUCTURE), max_size=30).map(b"".join),
).map(lambda octets: octets.translate(None, b"\r\n\0"))


@on_shared_server
@settings(max_examples=200, deadline=None)
@given(
    way=st.sampled_from(sorted(WAYS)),
    fields=st.lists(st.tuples(st.sampled_from(sorted(MOST_BYTES)), VALUES), min_size=1, max_size=3),
)
@example(way="begin", fields=[("Upload-Metadata", "filename é".encode())])
@example(way="begin", fields=[("Upload-Metadata", b"filename \xff")])
@example(way="begin", fields=[("Upload-Concat", b"final;/uploads/\xff")])
@example(way="tus patch", fields=[("Upload-Checksum", "sha1 é".encode())])
@example(way="tus patch", fields=[("Upload-Checksum", b"sha1 \xff")])
@example(way="put a part", fields=[("Upload-Metadata", b"\xff")])
@example(way="put a part", fields=[("If-None-Match", b'"\xff"')])
async def test_no_bytes_in_a_field_make_the_server_fail(
    shared: Client, way: str, fields: list[tuple[str, bytes]]
) -> None:
    wild = {field for field, _ in fields}
    method, path, lines = WAYS[way]
    needed = [line for line in lines if line.partition(":")[0] not in wild]
    sent = [field.encode() + b": " + value for field, value in fields]
    answer = await final_answer(shared, raw.request(method, path, *needed, *sent), method)
    assert answer.status < 500 or answer.status in NO_FAILURES
    if answer.status >= 400 and answer.body and not prefers_html(fields):
        assert answer.headers["Content-Type"] == "application/problem+json"


def prefers_html(fields: list[tuple[str, bytes]]) -> bool:
    return any(field == "Accept" for field, _ in fields)


async def final_answer(server: raw.Server, octets: bytes, method: str) -> raw.Answer:
    """Return the first answer that is not interim."""
    async with raw.connect(server) as connection:
        await connection.send(octets)
        while (answer := await connection.receive(method)).status < 200:
            continue
        return answer


@on_shared_server
@pytest.mark.parametrize(
    "field", sorted(field for field in MOST_BYTES if field.lower() not in IGNORED_IF_MALFORMED)
)
async def test_field_that_is_not_utf8_is_refused(shared: Client, field: str) -> None:
    for octets in (b"\xff", b"a\xc3", b"\xed\xa0\x80"):
        request = raw.request("GET", "/files/", field.encode() + b": " + octets)
        answer = await raw.ask(shared, request)
        assert answer.status == (417 if field == "Expect" else 400)
        assert answer.headers["Content-Type"] == "application/problem+json"


@on_shared_server
@pytest.mark.parametrize(
    ("way", "line"),
    [
        ("begin", "Upload-Metadata: filename é"),
        ("begin", "Upload-Metadata: filename YQ==,é YQ=="),
        ("tus patch", "Upload-Checksum: sha1 é"),
        ("tus patch", "Upload-Checksum: sha1 !"),
        ("tus patch", "Upload-Offset: ٣"),
        ("put", "Content-Type: text/é"),
        ("put", "Content-Digest: sha-256=:é:"),
    ],
)
async def test_text_that_must_be_ascii_is_refused(shared: Client, way: str, line: str) -> None:
    method, path, lines = WAYS[way]
    needed = [other for other in lines if other.partition(":")[0] != line.partition(":")[0]]
    answer = await raw.ask(shared, raw.request(method, path, *needed, line))
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@on_shared_server
@pytest.mark.parametrize("id_", ["é", "%00", "%ff", "%2e%2e", "a" * 200, "a/b"])
async def test_what_can_be_no_upload_is_not_found(shared: Client, id_: str) -> None:
    concat = f"Upload-Concat: final;/uploads/{id_}"
    answer = await raw.ask(shared, raw.request("POST", "/uploads", TUS, METADATA, concat))
    assert answer.status == 404
    if id_.isascii():
        answer = await raw.ask(shared, raw.request("HEAD", f"/uploads/{id_}", TUS), "HEAD")
        assert answer.status == 404


@on_shared_server
@pytest.mark.parametrize("field", sorted(set(MOST_BYTES) - {"Expect"}))
async def test_field_that_is_too_long_is_refused(shared: Client, field: str) -> None:
    most = MOST_BYTES[field]
    # The lines of a field count together, and a line can have 8,190 bytes.
    lines = [f"{field}: {'x' * min(most + 1, 8000)}"] * (1 if most < 8000 else 2)
    answer = await raw.ask(shared, raw.request("GET", "/files/", *lines))
    assert answer.status == 431
    assert field in answer.json()["detail"]
    assert answer.json()["type"] == "urn:chunkstore:problem:header-too-large"


@on_shared_server
@pytest.mark.parametrize(("method", "target"), [("OPTIONS", "*"), ("CONNECT", "a:1"), ("GET", "/")])
async def test_expectation_that_is_no_text(shared: Client, method: str, target: str) -> None:
    # To some targets no route leads; aiohttp answers by itself then.
    answer = await raw.ask(shared, raw.request(method, target, b"Expect: \xff"))
    assert answer.status == 417
    assert answer.headers["Content-Type"] == "application/problem+json"


@on_shared_server
@pytest.mark.parametrize(
    "query", ["prefix=%ff", "after=%ED%A0%80", "a=%c3", "&".join(["a=b"] * 101)]
)
async def test_query_that_is_no_text_is_refused(shared: Client, query: str) -> None:
    answer = await raw.ask(shared, raw.request("GET", f"/files/?{query}"))
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@on_shared_server
async def test_other_fields_are_nobodys_business(shared: Client) -> None:
    # Cookies, for one, are for all servers of a host.
    lines = [
        b"Cookie: a=\xff",
        b"X-Any: \xed\xa0\x80",
        b"User-Agent: caf\xe9",
        b"X-Long: " + b"x" * 8000,
    ]
    assert (await raw.ask(shared, raw.request("GET", "/health/live", *lines))).status == 200


@on_shared_server
async def test_refusal_of_a_field_is_a_page_for_a_browser(shared: Client) -> None:
    lines = (f"Accept: {BROWSER['Accept']}", "Range: " + "x" * 8100, "Range: " + "x" * 8100)
    answer = await raw.ask(shared, raw.request("GET", "/files/", *lines))
    assert answer.status == 431
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_every_field_that_is_read_has_a_bound() -> None:
    """Find the names by which `headers` is asked for anything in the modules of HTTP."""
    read = set()
    for path in Path(chunkstore.http.__file__).parent.rglob("*.py"):
        if path.name not in ("access_log.py", Path(gate.__file__).name):
            read |= set(fields_read(ast.parse(path.read_text())))
    assert {"Accept", "Range", "Upload-Metadata", "Origin"} <= read
    assert read <= set(MOST_BYTES)


def fields_read(tree: ast.Module) -> Iterator[str]:
    """Yield names of fields in `headers.get("A")`, `headers["A"]`, `"A" in headers`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr="get" | "getall"), args=[key, *_]):
                asked = of
            case ast.Subscript(value=of, slice=key, ctx=ast.Load()):
                asked = of
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[of]):
                asked = of
            case _:
                continue
        if ast.unparse(asked).endswith("request.headers") and isinstance(key, ast.Constant):
            yield str(key.value)
