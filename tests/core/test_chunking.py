"""Chunks, and the sizes that a store's may have."""

from __future__ import annotations

import pytest

from chunkstore.core.chunking import (
    DEFAULT_CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    MIN_CHUNK_SIZE,
    Chunk,
    check_chunk_size,
)
from chunkstore.core.digest import Digest


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
