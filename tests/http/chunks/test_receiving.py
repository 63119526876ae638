"""Manifests and packs: what a client fetches that has some of the chunks (docs/sync.md)."""

from __future__ import annotations

import itertools
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.chunk_lists import ENTRY_SIZE, MANIFEST, TEXT, ListEntry, format_text
from chunkstore.core.chunking import Chunk
from chunkstore.core.errors import RangeNotSatisfiable
from chunkstore.core.packs import PACK
from chunkstore.core.ranges import parse_spans
from tests.conftest import CHUNK_SIZE, RandomBytes
from tests.http.chunks.steps import append, begin, cut, manifest_of, pack, pack_of, send, unpack
from tests.http.steps import Client, exactly, on_shared_server, problem, put
from tests.store.rows import Rows


@on_shared_server
async def test_the_manifest_of_a_file(shared: Client, name: str, new_bytes: RandomBytes) -> None:
    content = new_bytes(3 * CHUNK_SIZE + 5)
    told = await put(shared, name, content)
    path = f"/manifests/{name}"
    expected = manifest_of(cut(content))
    async with shared.get(path) as got, shared.head(path) as head:
        assert await got.read() == expected
        for answer in (got, head):
            assert answer.status == 200
            assert answer.headers["Content-Type"] == MANIFEST
            assert answer.headers["Content-Length"] == str(4 * ENTRY_SIZE)
            assert answer.headers["Content-Size"] == str(len(content))
            assert answer.headers["ETag"] == f'"{told["digest"]}"'
            assert answer.headers["Vary"] == "Accept"
            assert answer.headers["Accept-Ranges"] == "bytes"
            assert answer.headers["Last-Modified"]
    async with shared.get(path, headers={"If-None-Match": got.headers["ETag"]}) as same:
        assert same.status == 304
    async with shared.get(path, headers={"If-Match": '"x"'}) as other:
        await problem(other, 412)


@on_shared_server
async def test_a_manifest_as_text(shared: Client, name: str, new_bytes: RandomBytes) -> None:
    content = new_bytes(2 * CHUNK_SIZE + 5)
    told = await put(shared, name, content)
    path, text = f"/manifests/{name}", {"Accept": "text/plain"}
    async with shared.get(path, headers=text) as got, shared.head(path, headers=text) as head:
        entries = [ListEntry(chunk.digest, chunk.size) for chunk in cut(content)]
        assert await got.read() == format_text(entries)
        for answer in (got, head):
            assert answer.status == 200
            assert answer.content_type == TEXT
            assert answer.headers["ETag"] == f'"{told["digest"]}-t"'
            assert answer.headers["Content-Size"] == str(len(content))
    async with shared.get(path, headers={**text, "If-None-Match": got.headers["ETag"]}) as same:
        assert same.status == 304
    # The form for programs, unless text is preferred.
    for accept in ("*/*", f"text/plain;q=0.5, {MANIFEST}", "text/*;q=0.1, */*"):
        async with shared.get(path, headers={"Accept": accept}) as got:
            assert got.content_type == MANIFEST


@on_shared_server
@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=36-", 36, 4 * ENTRY_SIZE),
        ("bytes=-5", 4 * ENTRY_SIZE - 5, 4 * ENTRY_SIZE),
        ("bytes=30-80", 30, 81),
        ("bytes=0-1,40-41", 0, 4 * ENTRY_SIZE),
    ],
)
async def test_a_range_of_a_manifest(
    shared: Client, name: str, new_bytes: RandomBytes, header: str, start: int, stop: int
) -> None:
    content = new_bytes(3 * CHUNK_SIZE + 5)
    await put(shared, name, content)
    async with shared.get(f"/manifests/{name}", headers={"Range": header}) as got:
        assert got.status == (206 if stop - start < 4 * ENTRY_SIZE else 200)
        assert await got.read() == manifest_of(cut(content))[start:stop]
        assert got.headers["Content-Length"] == str(stop - start)
    headers = {"Range": header, "If-Range": '"other"'}
    async with shared.get(f"/manifests/{name}", headers=headers) as got:
        assert got.status == 200
    async with shared.get(f"/manifests/{name}", headers={"Range": "bytes=9999-"}) as got:
        await problem(got, 416)


@on_shared_server
async def test_a_long_manifest_comes_by_pages(shared: Client, name: str) -> None:
    content = bytes(range(256)) * 20
    path = await begin(shared, name)
    chunks = cut(content, 1)
    await send(shared, path, pack_of(chunks[:256]))
    assert (await append(shared, path, chunks)).status == 201
    async with shared.get(f"/manifests/{name}") as got:
        assert await got.read() == manifest_of(chunks)
    headers = {"Range": "bytes=100000-150000"}
    async with shared.get(f"/manifests/{name}", headers=headers) as got:
        assert await got.read() == manifest_of(chunks)[100_000:150_001]
    async with shared.get(f"/manifests/{name}", headers={"Accept": "text/plain"}) as got:
        assert len((await got.text()).splitlines()) == len(chunks)


@on_shared_server
async def test_an_empty_file_has_an_empty_manifest_and_no_ranges(shared: Client, name: str) -> None:
    await put(shared, name, b"")
    for accept in (MANIFEST, TEXT):
        async with shared.get(f"/manifests/{name}", headers={"Accept": accept}) as got:
            assert (got.status, await got.read()) == (200, b"")
            assert got.headers["Content-Size"] == "0"
    async with shared.get(f"/packs/{name}?ranges=0-") as got:
        await problem(got, 416)


@on_shared_server
async def test_a_pack_has_each_chunk_that_has_a_byte_in_a_range(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    content = new_bytes(6 * CHUNK_SIZE + 5)
    await put(shared, name, content)
    chunks = cut(content)
    size = CHUNK_SIZE
    for ranges, wanted in (
        ("0-0", [0]),
        ("0-", range(7)),
        (f"{size - 1}-{size}", [0, 1]),
        (f"{6 * size}-", [6]),
        (f"{6 * size}-{99 * size}", [6]),
        # In whatever order, and however often.
        (f"{3 * size}-{3 * size},1-2,0-0,{3 * size + 5}-{3 * size + 9}", [0, 3]),
        (f"{2 * size}-{2 * size + 1},{4 * size}-{5 * size - 1}", [2, 4]),
    ):
        assert await pack(shared, name, ranges) == [chunks[at] for at in wanted]


@on_shared_server
async def test_a_pack_has_each_digest_once(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    a, b = new_bytes(CHUNK_SIZE), new_bytes(CHUNK_SIZE)
    await put(shared, name, a * 300 + b + a + b)
    assert await pack(shared, name, "0-") == [Chunk.of(a), Chunk.of(b)]
    assert await pack(shared, name, f"{301 * CHUNK_SIZE}-") == [Chunk.of(a), Chunk.of(b)]


@on_shared_server
async def test_ranges_of_a_body(shared: Client, name: str, new_bytes: RandomBytes) -> None:
    content = new_bytes(40 * CHUNK_SIZE)
    await put(shared, name, content)
    lines = "\n".join(f"{at * CHUNK_SIZE}-{at * CHUNK_SIZE}" for at in range(0, 40, 2)) + "\r\n"
    headers = {"Content-Type": TEXT}
    async with shared.post(f"/packs/{name}", data=lines, headers=headers) as got:
        assert got.status == 200, await got.text()
        assert got.content_type == PACK
        assert unpack(await got.read()) == cut(content)[::2]
    for body, status in (
        (b"", 400),
        (b"x", 400),
        ("0-1\u00e9".encode(), 400),
        (b"0-1," * 16_385, 400),
        (b"0-1," * 200_000, 413),
        (b"-5", 400),
        (b"1-0", 400),
        (b"0-1,999999999999-", 416),
    ):
        async with shared.post(f"/packs/{name}", data=BytesIO(body), headers=headers) as got:
            await problem(got, status)
    async with shared.post(f"/packs/{name}", data=BytesIO(b"0-1")) as got:
        await problem(got, 415)


@on_shared_server
async def test_a_pack_is_of_the_content_that_was_meant(
    shared: Client, name: str, new_bytes: RandomBytes
) -> None:
    told = await put(shared, name, new_bytes(CHUNK_SIZE))
    path = f"/packs/{name}?ranges=0-"
    for etag, status in ((f'"{told["digest"]}"', 200), (f'"{told["digest"]}-t"', 412)):
        async with shared.get(path, headers={"If-Match": etag}) as got:
            assert got.status == status
    async with shared.get(f"/packs/{name}") as got:
        await problem(got, 400)
    async with shared.get(f"/packs/{name}-none?ranges=0-") as got:
        await problem(got, 404)
    async with shared.get(f"/manifests/{name}-none") as got:
        await problem(got, 404)
    async with shared.get(exactly(f"/%6danifests/{name}")) as got:
        await problem(got, 404)


@on_shared_server
async def test_a_pack_has_a_most_of_bytes(shared: Client, name: str) -> None:
    size = (64 << 20) + 1
    path = await begin(shared, name)
    zeros = Chunk.of(bytes(CHUNK_SIZE))
    await send(shared, path, pack_of([zeros, Chunk.of(b"x")]))
    listed = [zeros] * (size // CHUNK_SIZE) + [Chunk.of(b"x")]
    assert (await append(shared, path, listed)).status == 201
    async with shared.get(f"/packs/{name}?ranges=0-") as got:
        await problem(got, 413)
    assert await pack(shared, name, "1-") == [zeros, Chunk.of(b"x")]


async def test_damage_is_a_clean_error_where_it_can_be(
    client: Client, rows: Rows, new_bytes: RandomBytes
) -> None:
    content = new_bytes(3 * CHUNK_SIZE)
    await put(client, "a", content)
    await rows.lose_bytes(cut(content)[0].digest.raw)
    async with client.get("/packs/a?ranges=0-") as got:
        assert (await problem(got, 500))["type"].endswith(":store-damaged")
    # It is missing, so it is to be sent again.
    assert await pack(client, "a", f"{CHUNK_SIZE}-") == cut(content)[1:]
    path = await begin(client, "b")
    answer = await append(client, path, cut(content))
    assert (answer.status, (await answer.json())["missing"]) == (409, 1)
    await send(client, path, pack_of(cut(content)[:1]))
    assert (await append(client, path, cut(content))).status == 201
    assert await pack(client, "a", "0-") == cut(content)


@given(
    ranges=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), min_size=1),
    size=st.integers(0, 100),
    separator=st.sampled_from([",", "\n", "\r\n", " , ", ",,"]),
)
def test_ranges_are_merged_whatever_they_are(
    ranges: list[tuple[int, int]], size: int, separator: str
) -> None:
    text = separator.join(f"{first}-{last}" for first, last in ranges)
    bytes_asked = {at for first, last in ranges for at in range(first, last + 1) if at < size}
    try:
        parsed = parse_spans(text, size, 1000)
    except ValueError:
        assert any(first > last for first, last in ranges)
        return
    except RangeNotSatisfiable:
        assert any(first >= size for first, _ in ranges)
        return
    assert {at for span in parsed for at in range(span.start, span.stop)} == bytes_asked
    assert all(one.stop < other.start for one, other in itertools.pairwise(parsed))
