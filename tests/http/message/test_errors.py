"""Errors: problem documents (RFC 9457), and what is left of the connection."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.http import raw
from tests.http.steps import BROWSER, Client, on_shared_server, problem, put

pytestmark = on_shared_server


@dataclass(frozen=True, slots=True)
class Case:
    """A request, about the files that there are or others, and the problem it is answered with."""

    method: str
    path: str
    lines: tuple[str, ...]
    status: int
    slug: str
    title: str
    body: bytes = b""


CASES = [
    Case("GET", "/files/errors/a/missing", (), 404, "not-found", "Not Found"),
    Case("GET", "/files/errors/a/missing/", (), 404, "not-found", "Not Found"),
    Case("GET", "/nowhere", (), 404, "not-found", "Not Found"),
    Case("GET", "/static/", (), 404, "not-found", "Not Found"),
    Case("GET", "/static/missing", (), 404, "not-found", "Not Found"),
    Case("DELETE", "/files/errors/a/missing", (), 404, "not-found", "Not Found"),
    Case("GET", "/files/%2e%2e", (), 400, "invalid-name", "Bad Request"),
    Case("GET", "/files/?limit=0", (), 400, "invalid-request", "Bad Request"),
    Case("COPY", "/files/errors/a", (), 400, "invalid-request", "Bad Request"),
    Case("PATCH", "/files/errors/a", (), 405, "method-not-allowed", "Method Not Allowed"),
    Case("PROPFIND", "/files/", (), 405, "method-not-allowed", "Method Not Allowed"),
    Case("PATCH", "/files/errors/a", (), 405, "method-not-allowed", "Method Not Allowed"),
    Case("PUT", "/stats", (), 405, "method-not-allowed", "Method Not Allowed"),
    Case("POST", "/static/style.css", (), 405, "method-not-allowed", "Method Not Allowed"),
    Case("MKCOL", "/files/", (), 405, "method-not-allowed", "Method Not Allowed"),
    Case("DELETE", "/files/", (), 403, "forbidden", "Forbidden"),
    Case("PUT", "/files/errors/a", ("Origin: null",), 403, "forbidden", "Forbidden"),
    Case("PUT", "/files/errors/a/below", (), 409, "name-conflict", "Conflict"),
    Case(
        "PUT",
        "/files/errors/a",
        ("If-None-Match: *",),
        412,
        "precondition-failed",
        "Precondition Failed",
    ),
    Case(
        "COPY",
        "/files/errors/a",
        ("Destination: /files/errors/b", "Overwrite: F"),
        412,
        "already-exists",
        "Precondition Failed",
    ),
    Case(
        "COPY",
        "/files/errors/a",
        ("Destination: http://elsewhere.example/",),
        502,
        "destination-elsewhere",
        "Bad Gateway",
    ),
    Case(
        "PUT",
        "/files/errors/a",
        ("Content-Length: 1", "Content-Digest: sha-256=:AAAA:"),
        400,
        "content-mismatch",
        "Bad Request",
        b"x",
    ),
    Case(
        "DELETE",
        "/files/errors/a",
        ("Content-Length: 1",),
        415,
        "unsupported-media",
        "Unsupported Media Type",
        b"x",
    ),
    Case(
        "GET",
        "/files/errors/a",
        ("Range: bytes=99-",),
        416,
        "range-not-satisfiable",
        "Range Not Satisfiable",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def files(shared: Client) -> Client:
    """Return the client of a server that has the files of CASES."""
    for path in ("errors/a", "errors/b"):
        await put(shared, path, b"content")
    return shared


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {case.slug}")
async def test_problem_document(files: Client, case: Case) -> None:
    octets = raw.request(case.method, case.path, *case.lines, body=case.body)
    answer = await raw.ask(files, octets)
    assert answer.status == case.status
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    # Reason phrases are those of the standard library, which 3.13 renamed for 416.
    assert document.pop("title").replace("Requested Range", "Range") == case.title
    detail = document.pop("detail")
    assert document == {"type": f"urn:chunkstore:problem:{case.slug}", "status": case.status}
    assert detail
    for internal in ("Traceback", "sqlite", "aiohttp", "chunkstore.", ".py", "Error("):
        assert internal not in detail
    if case.status == 405:
        assert "GET" in (answer.headers["Allow"] or "")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "chunkstore"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("application/problem+json", "application/problem+json"),
        (BROWSER["Accept"], "text/html"),
    ],
)
async def test_problem_is_told_in_the_form_that_is_wanted(
    shared: Client, accept: str | None, content_type: str
) -> None:
    lines = [] if accept is None else [f"Accept: {accept}"]
    answer = await raw.ask(shared, raw.request("GET", "/nowhere", *lines))
    assert answer.headers.get_content_type() == content_type


async def test_details_name_what_is_missing(shared: Client, name: str) -> None:
    assert name in (await problem(await shared.get(f"/files/{name}"), 404))["detail"]
    detail = (await problem(await shared.get("/nowhere"), 404))["detail"]
    assert "/files/" in detail


@pytest.mark.parametrize(
    "failing",
    [
        ("GET", "/files/missing", ()),
        ("GET", "/nowhere", ()),
        ("PATCH", "/files/a", ()),
        ("GET", "/files/%2e%2e", ()),
        ("DELETE", "/files/missing", ("Content-Length: 0",)),
        ("MOVE", "/files/missing", ()),
        ("PUT", "/files/%2e%2e", ("Content-Length: 0",)),
    ],
    ids=lambda failing: f"{failing[0]} {failing[1]}",
)
async def test_connection_goes_on_after_an_error_without_a_body(
    shared: Client, failing: tuple[str, str, tuple[str, ...]]
) -> None:
    method, path, lines = failing
    async with raw.connect(shared) as connection:
        # Pipelined, so that also the order is seen.
        await connection.send(
            raw.request(method, path, *lines) + raw.request("GET", "/health/live")
        )
        answer = await connection.receive(method)
        assert answer.status >= 400
        assert answer.headers["Connection"] is None
        assert (await connection.receive()).json() == {"status": "ok"}


async def test_connection_ends_after_an_error_with_a_body_unread(shared: Client, name: str) -> None:
    # Otherwise the body, which may be endless, would have to be read, or taken for a request.
    smuggled = raw.request("DELETE", f"/files/{name}")
    await put(shared, name)
    async with raw.connect(shared) as connection:
        length = f"Content-Length: {len(smuggled) + 10}"
        await connection.send(raw.request("PUT", "/files/%2e%2e", length, body=smuggled))
        answer = await connection.receive()
        assert answer.status == 400
        assert answer.headers["Connection"] == "close"
        await connection.send(b"x" * 10)
        assert await connection.receive_rest() == b""
    assert (await shared.get(f"/files/{name}")).status == 200


@pytest.mark.parametrize(
    "octets",
    [
        b"nonsense\r\n\r\n",
        b"GET /files/ HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /files/ HTTP/9.9\r\nHost: test\r\n\r\n",
        b"GET /files/a b HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /files/\xc3\xa4 HTTP/1.1\r\nHost: test\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        raw.request("FROBNICATE", "/files/a"),
        raw.request("GET", "/files/", b"X-Zero: \0"),
        raw.request("PUT", "/files/a", "Content-Length: -1"),
        raw.request("PUT", "/files/a", "Content-Length: 1x"),
        raw.request("PUT", "/files/a", "Content-Length: " + "9" * 30),
    ],
    ids=lambda octets: repr(octets[:40]),
)
async def test_malformed_request_is_refused(shared: Client, octets: bytes) -> None:
    async with raw.connect(shared) as connection:
        await connection.send(octets)
        answer = await connection.receive()
        # What begins with no known method is told so, however little of HTTP it is.
        assert answer.status in (400, 501)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert set(answer.json()) == {"type", "title", "status", "detail"}
        assert answer.json()["status"] == answer.status
        assert await connection.receive_rest() == b""
    assert (await shared.get("/health/live")).status == 200


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {case.slug}")
async def test_no_error_is_kept_by_a_cache(files: Client, case: Case, accept: str) -> None:
    octets = raw.request(case.method, case.path, *case.lines, f"Accept: {accept}", body=case.body)
    answer = await raw.ask(files, octets, case.method)
    assert answer.status == case.status
    assert answer.headers["Cache-Control"] == "no-store"
    # What the error is told in depends on it.
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["Content-Type"].startswith(
        "text/html" if accept == "text/html" else "application/problem+json"
    )


@pytest.mark.parametrize(
    ("octets", "status", "slug"),
    [
        (raw.request("GET", "/files/", "X-Long: " + "x" * 20_000), 431, "header-too-large"),
        (raw.request("GET", "/files/", "X-Long: " + "/x" * 100_000), 431, "header-too-large"),
        (raw.request("GET", "/files/", "x" * 20_000 + ": x"), 431, "header-too-large"),
        (raw.request("GET", "/files/" + "x" * 20_000), 414, "target-too-long"),
        (raw.request("GET", "http://" + "x" * 100_000), 414, "target-too-long"),
    ],
    ids=["value", "path as value", "name", "path", "URL"],
)
async def test_line_that_is_too_long_is_told_so(
    shared: Client, octets: bytes, status: int, slug: str
) -> None:
    async with raw.connect(shared) as connection:
        await connection.send(octets)
        answer = await connection.receive()
        assert answer.status == answer.json()["status"] == status
        assert answer.json()["type"].endswith(f":{slug}")
        assert await connection.receive_rest() == b""


@pytest.mark.parametrize("expect", [[], ["Expect: 100-continue"], ["Expect: x"], [b"Expect: \xff"]])
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("OPTIONS", "*"),
        ("CONNECT", "test:80"),
        ("GET", "http://test"),
        ("PUT", "http://test"),
        ("GET", "http://test?a=b"),
    ],
)
async def test_target_without_a_path_is_nowhere(
    shared: Client, method: str, target: str, expect: list[str | bytes]
) -> None:
    async with raw.connect(shared) as connection:
        await connection.send(raw.request(method, target, *expect))
        answer = await connection.receive(method)
        assert answer.status == answer.json()["status"]
        assert answer.status == (417 if b"Expect: \xff" in expect else 404)
        assert await connection.receive_rest() == b""


async def test_unknown_method_is_not_implemented(shared: Client) -> None:
    # RFC 9110 §15.6.2
    assert (await raw.ask(shared, raw.request("FROBNICATE", "/files/a"))).status == 501


async def test_malformed_request_learns_no_version(shared: Client) -> None:
    answer = await raw.ask(shared, b"nonsense\r\n\r\n")
    # RFC 9110 §9.1: the first word of this is an unknown method.
    assert answer.status == 501
    assert "aiohttp" not in (answer.headers["Server"] or "")
    assert "Python" not in (answer.headers["Server"] or "")


async def test_body_of_a_get_means_nothing(shared: Client, name: str) -> None:
    # RFC 9110 §9.3.1
    await put(shared, name, b"content")
    async with raw.connect(shared) as connection:
        await connection.send(
            raw.request("GET", f"/files/{name}", "Content-Length: 5", body=b"hello")
            + raw.request("GET", f"/files/{name}")
        )
        assert (await connection.receive()).body == b"content"
        assert (await connection.receive()).body == b"content"


async def test_body_that_comes_wrongly_chunked_is_refused(shared: Client, name: str) -> None:
    octets = raw.request("PUT", f"/files/{name}", "Transfer-Encoding: chunked", body=b"xyz\r\n")
    answer = await raw.ask(shared, octets)
    assert answer.status == 400
    assert (await shared.get(f"/files/{name}")).status == 404
