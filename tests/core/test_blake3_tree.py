"""BLAKE3 by subtrees: it gives what BLAKE3 gives, for every size and way to cut."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Final

import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from chunkstore.core.blake3_tree import LEAF_SIZE, VALUE_SIZE, TreeMerger, chaining_values
from chunkstore.core.chunking import MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from chunkstore.core.digest import Digest

CHUNK_SIZES: Final = [
    MIN_CHUNK_SIZE << k for k in range(9) if MIN_CHUNK_SIZE << k <= MAX_CHUNK_SIZE
]
# What a chunk can end with: the borders of blocks, leaves and subtrees, and beside them.
BORDERS: Final = [1, 63, 64, 65, 127, 1023, 1024, 1025, 2047, 2048, 3071, 3073, 4095, 4096]
CONTENT: Final = Random(15).randbytes(3 * MAX_CHUNK_SIZE)


def merged(values: bytes) -> Digest:
    merger = TreeMerger()
    merger.add(values)
    return merger.digest()


def digest_by_chunks(content: bytes, chunk_size: int) -> Digest:
    return merged(chaining_values([(0, content)], chunk_size))


# An implementation of its own, of the paper's section 2, a word at a time.
MASK: Final = 0xFFFFFFFF
IV: Final = struct.unpack(">8I", bytes.fromhex(
    "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
))  # fmt: skip
PERMUTATION: Final = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
QUARTERS: Final = [
    *((column, 4 + column, 8 + column, 12 + column) for column in range(4)),
    *((i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)),
]


def compress(value: Sequence[int], block: bytes, counter: int, flags: int) -> list[int]:
    words = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    state = [*value, *IV[:4], counter & MASK, counter >> 32, len(block), flags]
    for _ in range(7):
        for turn, (a, b, c, d) in enumerate(QUARTERS):
            for word, right_d, right_b in ((words[2 * turn], 16, 12), (words[2 * turn + 1], 8, 7)):
                state[a] = (state[a] + state[b] + word) & MASK
                state[d] = rotated(state[d] ^ state[a], right_d)
                state[c] = (state[c] + state[d]) & MASK
                state[b] = rotated(state[b] ^ state[c], right_b)
        words = [words[place] for place in PERMUTATION]
    return [state[i] ^ state[i + 8] for i in range(8)]


def rotated(word: int, right: int) -> int:
    return (word >> right | word << (32 - right)) & MASK


def reference_value(start: int, content: bytes) -> list[int]:
    if len(content) <= 1024:
        value, blocks = list(IV), [content[at : at + 64] for at in range(0, len(content), 64)]
        for at, block in enumerate(blocks):
            flags = (1 if at == 0 else 0) | (2 if at == len(blocks) - 1 else 0)
            value = compress(value, block, start // 1024, flags)
        return value
    left = 1024 << (((len(content) - 1) // 1024).bit_length() - 1)
    pair = [*reference_value(start, content[:left]), *reference_value(start + left, content[left:])]
    return compress(IV, struct.pack("<16I", *pair), 0, 4)


@pytest.mark.parametrize("chunk_size", [1024, 4096, 16384])
@pytest.mark.parametrize("start", [0, 1 << 20, (1 << 42) - (1 << 20), 1 << 42, 3 << 50])
def test_a_value_is_that_of_the_paper_at_any_offset(chunk_size: int, start: int) -> None:
    for size in (chunk_size, chunk_size - 1, chunk_size - 1024 or 1, 1):
        value = chaining_values([(start, CONTENT[:size])], chunk_size)
        assert value == struct.pack("<8I", *reference_value(start, CONTENT[:size]))


@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_values_of_chunks_merge_to_the_digest_of_the_content(chunk_size: int, chunks: int) -> None:
    for border in [*BORDERS, chunk_size - 1, chunk_size]:
        if border <= chunk_size and (content := CONTENT[: chunks * chunk_size + border]):
            assert digest_by_chunks(content, chunk_size) == Digest.of(content)


@given(size=st.integers(MIN_CHUNK_SIZE + 1, 40 * MIN_CHUNK_SIZE), power=st.integers(0, 2))
@example(size=2 * MIN_CHUNK_SIZE, power=0)
def test_content_of_any_size_has_one_digest_however_it_is_cut(size: int, power: int) -> None:
    chunk_size = LEAF_SIZE << power
    assert digest_by_chunks(CONTENT[:size], chunk_size) == Digest.of(CONTENT[:size])


@given(
    chunks=st.integers(1, 40),
    rest=st.sampled_from([0, *BORDERS[:-1]]),
    cuts=st.sets(st.integers(1, 39), max_size=6),
)
def test_values_do_not_depend_on_what_they_are_computed_with(
    chunks: int, rest: int, cuts: set[int]
) -> None:
    size = MIN_CHUNK_SIZE
    content = CONTENT[: chunks * size + rest]
    borders = [0, *(cut * size for cut in sorted(cuts) if cut < chunks), len(content)]
    runs = [(start, content[start:stop]) for start, stop in pairwise(borders)]
    together = chaining_values([(0, content)], size)
    assert chaining_values(runs, size) == together
    alone = [chaining_values([run], size) for run in runs]
    assert b"".join(alone) == together
    # Runs need not follow each other.
    assert chaining_values(runs[::2], size) == b"".join(alone[::2])


def tree_of(values: Sequence[bytes], flags: int = 0) -> bytes:
    """Merge values as the paper says: the left subtree has the largest power of two."""
    if len(values) == 1:
        return values[0]
    left = 1 << ((len(values) - 1).bit_length() - 1)
    pair = tree_of(values[:left]) + tree_of(values[left:])
    return struct.pack("<8I", *compress(IV, pair, 0, 4 | flags))


@pytest.mark.parametrize("count", [2, 3, 5, 7, 8, 9, 31, 33, 100])
def test_any_number_of_values_merge_as_the_paper_says(count: int) -> None:
    values = [CONTENT[at * 32 : at * 32 + 32] for at in range(count)]
    assert merged(b"".join(values)).raw == tree_of(values, flags=8)


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


@pytest.mark.parametrize("count", [16383, 16384, 16385, 32768, 32769, 40000, 49153])
def test_many_values_merge_in_groups_however_they_come(count: int) -> None:
    content = (CONTENT * -(-count // 3072))[: count * LEAF_SIZE - 5]
    values = chaining_values([(0, content)], LEAF_SIZE)
    assert len(values) == count * VALUE_SIZE
    for size in (1024 * VALUE_SIZE, len(values)):
        merger = TreeMerger()
        for piece in pieces(values, size):
            merger.add(piece)
        assert merger.digest().raw == blake3(content).digest()


def test_a_root_has_no_value_to_be_merged() -> None:
    for values in (b"", chaining_values([(0, b"one chunk")], MIN_CHUNK_SIZE)):
        with pytest.raises(ValueError, match="one chunk"):
            merged(values)


def test_no_chunks_have_no_values() -> None:
    assert chaining_values([], MIN_CHUNK_SIZE) == chaining_values([(0, b"")], MIN_CHUNK_SIZE) == b""


@pytest.mark.parametrize(
    ("runs", "chunk_size"),
    [
        ([(0, b"x")], 512),
        ([(0, b"x")], 3 * 1024),
        ([(1024, b"x")], 4096),
        ([(0, b"short"), (4096, bytes(4096))], 4096),
    ],
)
def test_what_is_no_subtree_is_refused(runs: Sequence[tuple[int, bytes]], chunk_size: int) -> None:
    with pytest.raises(ValueError, match=r"power of two|no chunks"):
        chaining_values(runs, chunk_size)


@given(at=st.integers(0, 100 * VALUE_SIZE - 1), bit=st.integers(0, 7))
def test_a_wrong_bit_in_any_value_gives_another_digest(at: int, bit: int) -> None:
    values = bytearray(CONTENT[: 100 * VALUE_SIZE])
    right = merged(bytes(values))
    values[at] ^= 1 << bit
    assert merged(bytes(values)) != right
