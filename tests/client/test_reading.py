"""Content read once has the digests that it has by itself, however it is laid out."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.client.manifests import Manifest, format_entry, split_digests
from chunkstore.client.reading import BLOCK_SIZE, ContentReader, blocks_of_file, blocks_of_pipe
from chunkstore.core.digest import Digest


@pytest.fixture(scope="module")
def hashers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def expected(content: bytes, size: int) -> bytes:
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(format_entry(Digest.of(chunk).raw, len(chunk)) for chunk in chunks)


@pytest.mark.parametrize("chunk_size", [262144, 4096, 100_000, BLOCK_SIZE * 2])
@pytest.mark.parametrize("size", [0, 1, 262144, BLOCK_SIZE, 2 * BLOCK_SIZE + 5])
def test_digests_are_those_of_the_content(
    hashers: ThreadPoolExecutor, size: int, chunk_size: int
) -> None:
    content = os.urandom(size)
    reader = ContentReader(blocks_of_pipe(io.BytesIO(content)), f"fixed;size={chunk_size}", hashers)
    cuts = list(reader)
    assert (reader.digest, reader.size) == (Digest.of(content), size)
    assert bytes(reader.entries) == expected(content, chunk_size)
    assert b"".join(bytes(piece) for cut in cuts for piece in cut.pieces) == content
    assert [cut.offset for cut in cuts] == [
        sum(chunk[1] for cut in cuts[:at] for chunk in cut.chunks) for at in range(len(cuts))
    ]


def test_holes_are_zeros_that_need_no_reading(hashers: ThreadPoolExecutor, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    data = os.urandom(100_000)
    with path.open("wb") as file:
        file.truncate(9 * BLOCK_SIZE + 17)
        for offset in (0, 3 * BLOCK_SIZE + 5, 8 * BLOCK_SIZE):
            os.pwrite(file.fileno(), data, offset)
    read_sizes = []

    def read(file: int, size: int, offset: int) -> bytes:
        read_sizes.append(size)
        return os.pread(file, size, offset)

    content = path.read_bytes()
    with path.open("rb") as opened:
        blocks = blocks_of_file(opened.fileno(), len(content), read)
        reader = ContentReader(blocks, "fixed;size=262144", hashers)
        reader.read_all()
    assert reader.digest == Digest.of(content)
    assert bytes(reader.entries) == expected(content, 262144)
    if path.stat().st_blocks * 512 < len(content):
        assert sum(read_sizes) <= 4 * BLOCK_SIZE


def test_a_file_that_was_cut_short_has_fewer_bytes(
    hashers: ThreadPoolExecutor, tmp_path: Path
) -> None:
    path = tmp_path / "short"
    path.write_bytes(os.urandom(BLOCK_SIZE + 10))
    with path.open("rb") as opened:
        blocks = blocks_of_file(opened.fileno(), 5 * BLOCK_SIZE)
        reader = ContentReader(blocks, "fixed;size=262144", hashers)
        reader.read_all()
    assert reader.size != 5 * BLOCK_SIZE or path.stat().st_size != 5 * BLOCK_SIZE


@given(st.lists(st.integers(1, 70_000), max_size=20), st.booleans())
def test_a_list_tells_where_its_chunks_are(sizes: list[int], fixed: bool) -> None:
    if fixed and sizes:
        sizes = [max(sizes)] * (len(sizes) - 1) + [min(sizes)]
    digests = [Digest.of(bytes([at])).raw for at in range(len(sizes))]
    entries = b"".join(map(format_entry, digests, sizes))
    manifest = Manifest(Digest.of(b""), entries)
    offsets = [sum(sizes[:at]) for at in range(len(sizes) + 1)]
    assert [manifest.offset(at) for at in range(len(sizes) + 1)] == offsets
    assert (len(manifest), manifest.size, list(manifest)) == (
        len(sizes), sum(sizes), list(zip(digests, sizes, strict=True)),
    )  # fmt: skip
    for number, (start, size) in enumerate(zip(offsets, sizes, strict=False)):
        assert manifest.number_at(start) == manifest.number_at(start + size - 1) == number
        assert manifest.entry(number) == (digests[number], size)
    assert split_digests(manifest.digests(1, 3)) == digests[1:3]
    is_fixed = len(set(sizes[:-1])) <= 1 and (len(sizes) < 2 or sizes[-1] <= sizes[0])
    assert manifest.chunk_size == (sizes[0] if sizes and is_fixed else None)


@pytest.mark.parametrize("entries", [b"x", bytes(36), bytes(71)])
def test_a_malformed_list_is_refused(entries: bytes) -> None:
    with pytest.raises(ValueError, match=r"entry|byte"):
        Manifest(Digest.of(b""), entries)
