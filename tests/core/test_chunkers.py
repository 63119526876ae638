"""Chunkers: the same chunks however the bytes arrive, and the same ones for ever."""

from __future__ import annotations

import hashlib
import sys
import tracemalloc
from collections.abc import Iterable, Sequence
from typing import Final

import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from chunkstore.core.archives import DECIDING_SIZE
from chunkstore.core.chunkers import (
    FASTCDC_MAX_SIZE,
    Chunker,
    Chunking,
    ContentDefinedChunker,
    FixedChunker,
    chunking_of,
    chunking_of_list,
    offered,
)
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from chunkstore.core.digest import Digest
from chunkstore.core.manifest import Manifest

KIB: Final = 1024
MIB: Final = 1024 * KIB

# The chunker takes any size; small ones put many borders into small contents.
chunk_sizes = st.integers(min_value=1, max_value=9)
pieces_of_contents = st.lists(st.binary(max_size=40), max_size=12)


def cut(pieces: Iterable[bytes], chunk_size: int) -> list[bytes]:
    return cut_by(FixedChunker(chunk_size), pieces)


def cut_by(chunker: Chunker, pieces: Iterable[bytes]) -> list[bytes]:
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
    chunker = FixedChunker(chunk_size)
    taken = handed_out = 0
    for piece in pieces:
        handed_out += sum(map(len, chunker.feed(piece)))
        taken += len(piece)
        assert chunker.pending == taken - handed_out == taken % chunk_size


def test_finish_begins_anew() -> None:
    chunker = FixedChunker(4)
    for content in (b"abcdefg", b"", b"hi", b"jklm"):
        assert chunker.feed(content) + chunker.finish() == sliced(content, 4)
        assert chunker.pending == 0
        assert chunker.finish() == []


@pytest.mark.parametrize(
    "sizes", [[1], [2], [100], [4095], [4096], [1, 4096], [4096, 1, 1], [65_536, 1]]
)
@pytest.mark.parametrize("chunker", [FixedChunker(MAX_CHUNK_SIZE), ContentDefinedChunker()])
def test_what_is_held_is_about_what_is_pending_whatever_the_pieces(
    chunker: Chunker, sizes: list[int]
) -> None:
    chunker.finish()
    tracemalloc.start()
    try:
        while chunker.pending < FASTCDC_MAX_SIZE // 2:
            for size in sizes:
                chunker.feed(bytes(size))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * chunker.pending


@pytest.mark.parametrize("left", [1, 4095, 32_767])
def test_the_short_end_of_a_long_piece_does_not_keep_all_of_it(left: int) -> None:
    chunker = FixedChunker(MIN_CHUNK_SIZE * 8)
    piece = bytes(10 * MIN_CHUNK_SIZE * 8 + left)
    before = sys.getrefcount(piece)
    assert sum(map(len, chunker.feed(piece))) + left == len(piece)
    assert sys.getrefcount(piece) == before
    assert chunker.finish() == [bytes(left)]


# fastcdc2020-64k-nc2-s0, as docs/chunking.md has it: byte by byte, as plainly as can be. By this
# code the vectors of the Remote Execution API (fastcdc2020_test_vectors.txt) were reproduced.
GEAR: Final = [
    int.from_bytes(hashlib.md5(bytes([value]) * 64).digest()[:8], "big") for value in range(256)
]
STRICT_MASK: Final = 0x0000D90707537000
LOOSE_MASK: Final = 0x0000D90313530000


def find_cut(content: memoryview) -> int:
    """Return the size of the first chunk of all the content that is left."""
    if len(content) <= 16 * KIB:
        return len(content)
    most = min(len(content), 256 * KIB)
    gear = 0
    for at in range(16 * KIB, most - most % 2):
        gear = ((gear << 1) + GEAR[content[at]]) & (2**64 - 1)
        if gear & (STRICT_MASK if at < 64 * KIB else LOOSE_MASK) == 0:
            return at
    return most


def cut_as_defined(content: bytes) -> list[bytes]:
    chunks = []
    left = memoryview(content)
    while left:
        size = find_cut(left)
        chunks.append(bytes(left[:size]))
        left = left[size:]
    return chunks


def random_content(seed: str, size: int) -> bytes:
    """Return `size` bytes that `printf SEED | b3sum --raw --length SIZE` prints too."""
    return blake3(seed.encode()).digest(length=size)


CONTENT: Final = random_content("chunkstore", 2 * MIB)
# What everybody who cuts in this way has to get, from any machine and in any release.
# fmt: off
SIZES: Final = [
    67546, 63049, 83391, 68227, 117442, 101716, 51237, 68428, 82326, 121039, 98631, 92721, 67915,
    71588, 66270, 72914, 70436, 66119, 107623, 68553, 88918, 84511, 68988, 65678, 73306, 95972,
    12608,
]
# fmt: on
LIST_DIGEST: Final = "c4a21d958e1764476841cd8925c0b5d71f19aac0adf4663a59a11b663d68ee93"


def cut_content(pieces: Iterable[bytes]) -> list[bytes]:
    return cut_by(ContentDefinedChunker(), pieces)


def test_the_way_to_cut_is_what_it_was_named() -> None:
    chunks = cut_content([CONTENT])
    assert list(map(len, chunks)) == SIZES
    digests = b"".join(Digest.of(chunk).raw for chunk in chunks)
    assert str(Digest.of(digests)) == LIST_DIGEST


@pytest.mark.parametrize(
    ("size", "sizes"),
    [(16 * KIB, [16 * KIB]), (256 * KIB, [256 * KIB]), (MIB + 1, [256 * KIB] * 4 + [1])],
)
def test_zeros_are_cut_where_a_chunk_has_its_most(size: int, sizes: list[int]) -> None:
    assert list(map(len, cut_content([bytes(size)]))) == sizes


@pytest.mark.parametrize("stop", [1, 16 * KIB, 16 * KIB + 1, 64 * KIB - 1, 100_001, 700_001])
def test_the_way_to_cut_is_as_defined(stop: int) -> None:
    assert cut_content([CONTENT[:stop]]) == cut_as_defined(CONTENT[:stop])


def test_the_library_has_the_fingerprints_of_others() -> None:
    # From fastcdc-rs, src/v2020/mod.rs, test_cut_all_zeros.
    library = FastCDC(256, min_size=64, max_size=1024, normalized_chunking=1)
    found = [(chunk.length, chunk.gear_hash) for chunk in library.cut_buf(bytes(10240))]
    assert found == [(1024, 14169102344523991076)] * 10


# Contents of some chunks, with what cuts early, late and at the most.
contents = st.lists(
    st.one_of(
        st.builds(
            lambda start, size: CONTENT[start : start + size],
            st.integers(0, 1_500_000),
            st.integers(0, 400_000),
        ),
        st.integers(0, 600_000).map(bytes),
    ),
    max_size=3,
).map(b"".join)


@given(content=contents, borders=st.lists(st.integers(0, 1_500_000), max_size=12))
@example(content=CONTENT[:700_001], borders=[])
def test_content_defined_chunks_are_the_same_however_the_content_arrives(
    content: bytes, borders: Sequence[int]
) -> None:
    stops = sorted(min(border, len(content)) for border in borders)
    pieces = [
        content[start:stop] for start, stop in zip([0, *stops], [*stops, len(content)], strict=True)
    ]
    whole = [bytes(found.data) for found in library_of_the_way().cut_buf(content)]
    assert cut_content(pieces) == whole
    assert b"".join(whole) == content


def library_of_the_way() -> FastCDC:
    return FastCDC(64 * KIB, min_size=16 * KIB, max_size=256 * KIB, normalized_chunking=2)


@pytest.mark.parametrize("chunking", Chunking)
@given(content=contents, borders=st.lists(st.integers(0, 1_500_000), max_size=4))
def test_who_goes_on_with_the_rest_cuts_as_if_nothing_had_been_interrupted(
    chunking: Chunking, content: bytes, borders: Sequence[int]
) -> None:
    stops = sorted(min(border, len(content)) for border in borders)
    chunks: list[bytes] = []
    tail = b""
    for start, stop in zip([0, *stops], [*stops, len(content)], strict=True):
        chunker = chunking.chunker(DEFAULT_CHUNK_SIZE)
        for piece in (tail, content[start:stop]):
            chunks += chunker.feed(piece)
            assert chunker.pending < DEFAULT_CHUNK_SIZE
        complete, tail = chunker.rest()
        chunks += complete
        assert len(tail) < DEFAULT_CHUNK_SIZE
    whole = cut_by(chunking.chunker(DEFAULT_CHUNK_SIZE), [content])
    assert [*chunks, *([tail] if tail else [])] == whole


@pytest.mark.parametrize("piece_size", [1, 100, 4095, 65_537])
def test_auto_decides_by_the_first_bytes_however_they_come(piece_size: int) -> None:
    tar = bytes(257) + b"ustar" + CONTENT[: 300 * KIB]
    for content, chosen in ((tar, Chunking.FASTCDC), (CONTENT[: 300 * KIB], Chunking.FIXED)):
        found = cut_by(Chunking.AUTO.chunker(DEFAULT_CHUNK_SIZE), sliced(content, piece_size))
        assert found == cut_by(chosen.chunker(DEFAULT_CHUNK_SIZE), [content])


def test_what_is_too_short_to_decide_is_one_chunk() -> None:
    short = (bytes(257) + b"ustar").ljust(DECIDING_SIZE - 1)
    chunker = Chunking.AUTO.chunker(DEFAULT_CHUNK_SIZE)
    assert chunker.feed(short) == []
    assert chunker.pending == len(short)
    assert chunker.finish() == [short]
    assert chunker.pending == 0


def test_inserted_bytes_shift_no_other_chunk() -> None:
    before, after = (set(cut_content([start, CONTENT])) for start in (b"", b"some bytes more"))
    assert len(before - after) <= 2


@pytest.mark.parametrize("chunking", [Chunking.FASTCDC, Chunking.AUTO])
def test_content_defined_chunks_need_room(chunking: Chunking) -> None:
    with pytest.raises(ValueError, match="up to 262144 bytes"):
        chunking.chunker(128 * KIB)
    assert Chunking.FIXED.chunker(MIN_CHUNK_SIZE).finish() == []


def manifest_of(size: int, chunk_count: int) -> Manifest:
    digest = Digest.of(b"")
    return Manifest(1, size, DEFAULT_CHUNK_SIZE, digest, chunk_count, digest)


@pytest.mark.parametrize(
    ("size", "chunk_count", "chunking"),
    [
        (0, 0, Chunking.FIXED),
        (1, 1, Chunking.FIXED),
        (DEFAULT_CHUNK_SIZE, 1, Chunking.FIXED),
        (DEFAULT_CHUNK_SIZE + 1, 2, Chunking.FIXED),
        (DEFAULT_CHUNK_SIZE, 2, Chunking.FASTCDC),
        (10 * MIB, 133, Chunking.FASTCDC),
    ],
)
def test_a_list_tells_how_it_was_cut(size: int, chunk_count: int, chunking: Chunking) -> None:
    assert chunking_of(manifest_of(size, chunk_count)) is chunking


@pytest.mark.parametrize("chunking", [Chunking.FIXED, Chunking.FASTCDC])
def test_sizes_tell_how_a_list_was_cut(chunking: Chunking) -> None:
    chunks = cut_by(chunking.chunker(DEFAULT_CHUNK_SIZE), [CONTENT])
    assert chunking_of_list(list(map(len, chunks)), DEFAULT_CHUNK_SIZE) is chunking
    assert chunking_of(manifest_of(len(CONTENT), len(chunks))) is chunking


def test_the_own_way_to_cut_is_offered_first() -> None:
    fixed, cdc = "fixed;size=262144", "fastcdc2020-64k-nc2-s0"
    assert offered(Chunking.FIXED, DEFAULT_CHUNK_SIZE) == [fixed, cdc]
    assert offered(Chunking.AUTO, DEFAULT_CHUNK_SIZE) == [fixed, cdc]
    assert offered(Chunking.FASTCDC, DEFAULT_CHUNK_SIZE) == [cdc, fixed]
    assert offered(Chunking.FIXED, 4096) == ["fixed;size=4096"]
