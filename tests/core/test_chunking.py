"""Chunks: the same ones however the bytes arrive."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.chunking import (
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    MIN_CHUNK_SIZE,
    Chunk,
    Chunker,
    check_chunk_size,
)
from chunkstore.core.digest import Digest

# The chunker takes any size; small ones put many borders into small contents.
chunk_sizes = st.integers(min_value=1, max_value=9)
pieces_of_contents = st.lists(st.binary(max_size=40), max_size=12)


def cut(pieces: Iterable[bytes], chunk_size: int) -> list[bytes]:
    chunker = Chunker(chunk_size)
    chunks = [chunk for piece in pieces for chunk in chunker.feed(piece)]
    return chunks + chunker.finish()


def sliced(content: bytes, chunk_size: int) -> list[bytes]:
    return [content[start : start + chunk_size] for start in range(0, len(content), chunk_size)]


@given(pieces=pieces_of_contents, chunk_size=chunk_sizes)
def test_chunks_are_the_same_however_the_content_arrives(
    pieces: list[bytes], chunk_size: int
) -> None:
    chunks = cut(pieces, chunk_size)
    assert b"".join(chunks) == b"".join(pieces)
    assert all(len(chunk) == chunk_size for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= chunk_size for chunk in chunks)
    assert chunks == sliced(b"".join(pieces), chunk_size)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 8191, 8192, 8193])
@pytest.mark.parametrize("piece_size", [1, 4095, 4096, 4097, 10_000])
def test_chunks_at_real_sizes(size: int, piece_size: int) -> None:
    content = (bytes(range(251)) * 33)[:size]
    assert cut(sliced(content, piece_size), 4096) == sliced(content, 4096)


@given(pieces=pieces_of_contents, chunk_size=chunk_sizes)
def test_a_chunk_is_handed_out_as_soon_as_it_is_complete(
    pieces: list[bytes], chunk_size: int
) -> None:
    chunker = Chunker(chunk_size)
    taken = handed_out = 0
    for piece in pieces:
        handed_out += sum(map(len, chunker.feed(piece)))
        taken += len(piece)
        assert chunker.pending == taken - handed_out == taken % chunk_size


def test_finish_begins_anew() -> None:
    chunker = Chunker(4)
    for content in (b"abcdefg", b"", b"hi", b"jklm"):
        assert chunker.feed(content) + chunker.finish() == sliced(content, 4)
        assert chunker.pending == 0
        assert chunker.finish() == []


@pytest.mark.parametrize(
    "sizes", [[1], [2], [100], [4095], [4096], [1, 4096], [4096, 1, 1], [65_536, 1]]
)
def test_what_is_held_is_about_what_is_pending_whatever_the_pieces(sizes: list[int]) -> None:
    chunker = Chunker(MAX_CHUNK_SIZE)
    tracemalloc.start()
    try:
        while chunker.pending < MAX_CHUNK_SIZE // 2:
            for size in sizes:
                chunker.feed(bytes(size))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * chunker.pending


@pytest.mark.parametrize("left", [1, 4095, 32_767])
def test_the_short_end_of_a_long_piece_does_not_keep_all_of_it(left: int) -> None:
    chunker = Chunker(MIN_CHUNK_SIZE * 8)
    piece = bytes(10 * MIN_CHUNK_SIZE * 8 + left)
    before = sys.getrefcount(piece)
    assert sum(map(len, chunker.feed(piece))) + left == len(piece)
    assert sys.getrefcount(piece) == before
    assert chunker.finish() == [bytes(left)]


def test_chunk_knows_its_digest() -> None:
    assert Chunk.of(b"abc") == Chunk(Digest.of(b"abc"), b"abc")


@pytest.mark.parametrize("chunk_size", [4096 * 2**power for power in range(9)])
def test_powers_of_two_from_4_kib_to_1_mib_are_chunk_sizes(chunk_size: int) -> None:
    assert check_chunk_size(chunk_size) == chunk_size


@pytest.mark.parametrize(
    "chunk_size",
    [-4096, -1, 0, 1, 2, 2048, 4095, 4097, 5000, 6144, 12288, 2**20 - 1, 2**20 + 1, 2**21, 2**40],
)
def test_no_other_number_is_a_chunk_size(chunk_size: int) -> None:
    with pytest.raises(ValueError, match=f"not {chunk_size} bytes"):
        check_chunk_size(chunk_size)


def test_bounds_and_default_are_those_of_the_design() -> None:
    assert (MIN_CHUNK_SIZE, DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE) == (4096, 262_144, 1_048_576)
