"""Conditional requests (RFC 9110 §13) on every method that knows them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
import pytest_asyncio

from tests.http import raw
from tests.http.steps import (
    Client,
    names,
    on_shared_server,
    problem,
    put,
    read,
    status_of,
)

pytestmark = on_shared_server

CONTENT = b"content"
NEW = b"new content"
LASTING = "conditional/a"


@dataclass(frozen=True, slots=True)
class State:
    """The validators of a file, and texts made of them."""

    etag: str
    modified: datetime

    def fill(self, header: str) -> bytes:
        """Return a header line in which the placeholders stand for what belongs there."""
        return header.format(
            etag=self.etag,
            other='"' + "0" * 64 + '"',
            same=self._date(0),
            earlier=self._date(-1),
            later=self._date(1),
            same_rfc850=f"{self.modified:%A, %d-%b-%y %H:%M:%S} GMT",
            same_asctime=f"{self.modified:%a %b %e %H:%M:%S %Y}",
            earlier_asctime=f"{self.modified - timedelta(seconds=1):%a %b %e %H:%M:%S %Y}",
        ).encode()

    def _date(self, seconds: int) -> str:
        return format_datetime(self.modified + timedelta(seconds=seconds), usegmt=True)


async def state_of(client: Client, path: str) -> State:
    """Return the state that the file is in."""
    async with client.head(f"/files/{path}") as response:
        assert response.status == 200
        modified = parsedate_to_datetime(response.headers["Last-Modified"])
        return State(response.headers["ETag"], modified)


@pytest_asyncio.fixture(loop_scope="session")
async def state(shared: Client, name: str) -> State:
    """Put the file `name`; return its state."""
    await put(shared, name, CONTENT)
    return await state_of(shared, name)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lasting(shared: Client) -> State:
    """Put the file LASTING, which no request of a test may change; return its state."""
    await put(shared, LASTING, CONTENT)
    return await state_of(shared, LASTING)


# What no reading or writing request may pass (412), whatever else there is.
FAILING = [
    ["If-Match: {other}"],
    ["If-Match: {other}, W/{etag}"],
    # RFC 9110 §13.1.1: strong comparison, so a weak one never matches.
    ["If-Match: W/{etag}"],
    ['If-Match: ""'],
    ["If-Match: "],
    ["If-Unmodified-Since: {earlier}"],
    ["If-Match: {other}", "If-Match: W/{etag}"],
    ["If-Match: {other}", "If-Unmodified-Since: {later}"],
    ["If-Match: {other}", "If-None-Match: {other}"],
    # RFC 9110 §5.6.7: a recipient must accept all three formats of a date.
    ["If-Unmodified-Since: {earlier_asctime}"],
    ["If-Unmodified-Since: Sunday, 06-Nov-94 08:49:37 GMT"],
]
# What every request passes.
HOLDING = [
    ["If-Match: {etag}"],
    ["If-Match: *"],
    ["If-Match: {other}, {etag}"],
    ["If-Match: ,, {other} ,{etag},"],
    ["If-Match: {other}", "If-Match: {etag}"],
    ["If-Unmodified-Since: {same}"],
    ["If-Unmodified-Since: {later}"],
    ["If-Unmodified-Since: {same_rfc850}"],
    ["If-Unmodified-Since: {same_asctime}"],
    # RFC 9110 §13.1.4: ignored beside If-Match, and where it is not one valid date.
    ["If-Match: {etag}", "If-Unmodified-Since: {earlier}"],
    ["If-Unmodified-Since: yesterday"],
    ["If-Unmodified-Since: {earlier}", "If-Unmodified-Since: {earlier}"],
    ["If-None-Match: {other}"],
    ["If-None-Match: "],
    ["If-Match: {etag}", "If-None-Match: {other}"],
]
# What tells that the client has the content already: 304 for readers, 412 for writers.
MATCHING = [
    ["If-None-Match: {etag}"],
    # RFC 9110 §13.1.2: weak comparison.
    ["If-None-Match: W/{etag}"],
    ["If-None-Match: *"],
    ["If-None-Match: {other}, {etag}"],
    ["If-None-Match: {other}", "If-None-Match: {etag}"],
    ["If-None-Match: {etag}", "If-Modified-Since: {earlier}"],
    ["If-Match: {etag}", "If-None-Match: {etag}"],
    ["If-Unmodified-Since: {same}", "If-None-Match: {etag}"],
]
# Dates that only readers heed.
FRESH = [
    ["If-Modified-Since: {same}"],
    ["If-Modified-Since: {later}"],
    ["If-Modified-Since: {same_rfc850}"],
    ["If-Modified-Since: {same_asctime}"],
    ["If-Match: {etag}", "If-Modified-Since: {same}"],
]
STALE = [
    ["If-Modified-Since: {earlier}"],
    ["If-Modified-Since: {earlier_asctime}"],
    ["If-Modified-Since: yesterday"],
    ["If-Modified-Since: {same}", "If-Modified-Since: {same}"],
    # RFC 9110 §13.1.3: ignored beside If-None-Match.
    ["If-None-Match: {other}", "If-Modified-Since: {same}"],
]
MALFORMED_MATCH = [
    ["If-Match: {other}x"],
    ["If-Match: abc"],
    ['If-Match: "abc'],
    ["If-Match: *, {other}"],
    ["If-Match: {other} {etag}"],
]
MALFORMED_NONE_MATCH = [
    ["If-None-Match: JoplinIgnore-1"],
    ['If-None-Match: "abc'],
    ["If-None-Match: {other} {etag}"],
    ["If-None-Match: w/{etag}"],
]


def line_id(lines: list[str]) -> str:
    """Return a table's row as the name of its test."""
    return " & ".join(lines)


def request(method: str, path: str, lines: list[bytes]) -> bytes:
    """Return a request with the header lines as they are, and with what its method needs."""
    fields = [*lines, f"Destination: /files/{path}-target".encode()]
    body = NEW if method == "PUT" else b""
    fields.append(b"Content-Length: %d" % len(body))
    return raw.request(method, f"/files/{path}", *fields, body=body)


async def send(client: Client, method: str, path: str, lines: list[bytes]) -> raw.Answer:
    """Return the answer to `request`."""
    return await raw.ask(client, request(method, path, lines), method)


async def assert_unchanged(client: Client, state: State) -> None:
    """See that no request has changed anything."""
    assert await read(client, LASTING) == CONTENT
    assert await state_of(client, LASTING) == state
    assert await status_of(client, f"{LASTING}-target") == 404


@pytest.mark.parametrize("lines", FAILING, ids=line_id)
async def test_failing(shared: Client, lasting: State, lines: list[str]) -> None:
    fields = list(map(lasting.fill, lines))
    for method in ("GET", "HEAD", "PUT", "COPY", "MOVE", "DELETE"):
        assert (await send(shared, method, LASTING, fields)).status == 412, method
    await assert_unchanged(shared, lasting)


@pytest.mark.parametrize("lines", MATCHING, ids=line_id)
async def test_matching_stops_writers(shared: Client, lasting: State, lines: list[str]) -> None:
    fields = list(map(lasting.fill, lines))
    for method in ("PUT", "COPY", "MOVE", "DELETE"):
        assert (await send(shared, method, LASTING, fields)).status == 412, method
    await assert_unchanged(shared, lasting)


@pytest.mark.parametrize("lines", MALFORMED_MATCH, ids=line_id)
async def test_malformed_tag_that_must_match_does_not(
    shared: Client, lasting: State, lines: list[str]
) -> None:
    fields = list(map(lasting.fill, lines))
    for method in ("GET", "HEAD", "PUT", "COPY", "MOVE", "DELETE"):
        assert (await send(shared, method, LASTING, fields)).status == 412, method
    await assert_unchanged(shared, lasting)


@pytest.mark.parametrize("lines", MALFORMED_NONE_MATCH, ids=line_id)
async def test_malformed_tag_that_must_not_match_does_not(
    shared: Client, name: str, lasting: State, lines: list[str]
) -> None:
    # Joplin sends one with each request, so that nothing is taken from a cache.
    fields = list(map(lasting.fill, lines))
    await put(shared, name)
    for method, status in [("GET", 200), ("HEAD", 200), ("PUT", 200), ("COPY", 201), ("MOVE", 204)]:
        assert (await send(shared, method, name, fields)).status == status, method
    assert (await send(shared, "DELETE", f"{name}-target", fields)).status == 204


@pytest.mark.parametrize("lines", MATCHING + FRESH, ids=line_id)
async def test_nothing_new_to_read(shared: Client, lasting: State, lines: list[str]) -> None:
    fields = list(map(lasting.fill, lines))
    async with raw.connect(shared) as connection:
        for method in ("GET", "HEAD"):
            await connection.send(request(method, LASTING, fields) + request("GET", LASTING, []))
            answer = await connection.receive(method)
            assert answer.status == 304, method
            # RFC 9110 §15.4.5
            assert answer.headers["ETag"] == lasting.etag
            assert answer.headers["Cache-Control"] == "no-cache"
            # No body stands between this answer and the next one.
            assert (await connection.receive()).body == CONTENT


@pytest.mark.parametrize("lines", HOLDING + STALE, ids=line_id)
async def test_reading_goes_on(shared: Client, lasting: State, lines: list[str]) -> None:
    fields = list(map(lasting.fill, lines))
    got = await send(shared, "GET", LASTING, fields)
    assert (got.status, got.body) == (200, CONTENT)
    assert (await send(shared, "HEAD", LASTING, fields)).status == 200


@pytest.mark.parametrize("lines", HOLDING + STALE + FRESH, ids=line_id)
async def test_put_goes_on(shared: Client, name: str, state: State, lines: list[str]) -> None:
    assert (await send(shared, "PUT", name, list(map(state.fill, lines)))).status == 200
    assert await read(shared, name) == NEW


@pytest.mark.parametrize(
    "line",
    ["If-Match: {etag}", "If-None-Match: {other}", "If-Unmodified-Since: {same}", FRESH[0][0]],
)
async def test_other_writing_goes_on(shared: Client, name: str, state: State, line: str) -> None:
    fields = [state.fill(line)]
    assert (await send(shared, "COPY", name, fields)).status == 201
    assert await read(shared, f"{name}-target") == CONTENT
    assert (await send(shared, "MOVE", name, fields)).status == 204
    assert await status_of(shared, name) == 404
    # Moving has kept the time and with it the state.
    assert (await send(shared, "DELETE", f"{name}-target", fields)).status == 204
    assert await status_of(shared, f"{name}-target") == 404


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["If-None-Match: *"], 201),
        (['If-None-Match: "abc"'], 201),
        (["If-Match: *"], 412),
        (['If-Match: "abc"'], 412),
        (["If-Unmodified-Since: Fri, 01 Jan 2100 00:00:00 GMT"], 412),
        (["If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"], 201),
    ],
    ids=str,
)
async def test_put_where_no_file_is(
    shared: Client, name: str, lines: list[str], status: int
) -> None:
    answer = await send(shared, "PUT", name, [line.encode() for line in lines])
    assert answer.status == status
    assert await status_of(shared, name) == (200 if status == 201 else 404)


@pytest.mark.parametrize("line", [b"If-Match: *", b"If-None-Match: *", b'If-Match: "abc"'])
async def test_missing_file_is_missing_whatever_the_conditions(
    shared: Client, name: str, line: bytes
) -> None:
    # RFC 9110 §13.2.1: conditions are for requests that would succeed without them.
    for method in ("GET", "HEAD", "COPY", "MOVE", "DELETE"):
        assert (await send(shared, method, name, [line])).status == 404, method


async def test_put_of_another_content_with_the_old_etag_is_the_lost_update(
    shared: Client, name: str, state: State
) -> None:
    await put(shared, name, b"somebody else's")
    response = await shared.put(f"/files/{name}", data=b"mine", headers={"If-Match": state.etag})
    assert (await problem(response, 412))["type"].endswith(":precondition-failed")
    assert await read(shared, name) == b"somebody else's"


async def test_of_many_that_create_at_once_one_succeeds(shared: Client, name: str) -> None:
    async def create(number: int) -> tuple[int, int]:
        async with shared.put(
            f"/files/{name}", data=str(number).encode(), headers={"If-None-Match": "*"}
        ) as response:
            return response.status, number

    outcomes = await asyncio.gather(*map(create, range(8)))
    [winner] = [number for status, number in outcomes if status == 201]
    assert sorted(status for status, _ in outcomes) == [201] + [412] * 7
    assert await read(shared, name) == str(winner).encode()


async def test_of_many_that_replace_the_same_state_one_succeeds(
    shared: Client, name: str, state: State
) -> None:
    async def replace(number: int) -> int:
        async with shared.put(
            f"/files/{name}", data=str(number).encode(), headers={"If-Match": state.etag}
        ) as response:
            return response.status

    assert sorted(await asyncio.gather(*map(replace, range(8)))) == [200] + [412] * 7


async def test_condition_is_judged_again_when_the_body_has_come(
    shared: Client, name: str, state: State
) -> None:
    async with raw.connect(shared) as connection:
        length = f"Content-Length: {len(NEW)}"
        lines = (f"If-Match: {state.etag}", "Expect: 100-continue", length)
        await connection.send(raw.request("PUT", f"/files/{name}", *lines))
        assert (await connection.receive()).status == 100
        await put(shared, name, b"somebody else's")
        await connection.send(NEW)
        assert (await connection.receive()).status == 412
    assert await read(shared, name) == b"somebody else's"


async def test_conditions_of_copy_are_about_the_source(
    shared: Client, name: str, state: State
) -> None:
    await put(shared, f"{name}-target", b"target")
    answer = await send(shared, "COPY", name, [f"If-Match: {state.etag}".encode()])
    assert answer.status == 204
    assert await read(shared, f"{name}-target") == CONTENT


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 99:99:99 GMT",
        "Sun, 06 Nov 1994 08:49:37 +9999 GMT",
        "Sun, 06 Nov -1 08:49:37 GMT",
        ", , GMT",
        "GMT",
        "\xff GMT",
    ],
)
async def test_odd_dates_are_ignored(shared: Client, lasting: State, date: str) -> None:
    for field in ("If-Modified-Since", "If-Unmodified-Since", "If-Range"):
        line = f"{field}: {date}".encode("latin-1")
        answer = await send(shared, "GET", LASTING, [line, b"Range: bytes=0-"])
        assert answer.status == (200 if field == "If-Range" else 206), field


async def test_refused_create_names_what_forbids_it(
    shared: Client, name: str, state: State
) -> None:
    response = await shared.put(f"/files/{name}", data=NEW, headers={"If-None-Match": "*"})
    assert "already" in (await problem(response, 412))["detail"]
    assert name in await names(shared)
