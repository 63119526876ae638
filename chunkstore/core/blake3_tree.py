"""BLAKE3 as the tree that it is: chaining values of chunks, and the digest that they merge to.

A chunk of 2^k KiB at a multiple of its size is a whole subtree of the tree over the content, and so
is a shorter one at the content's end. Its **chaining value**, 32 bytes, depends only on its bytes
and its offset. Who knows those of all chunks can compute the content's digest without its bytes
(section 2.1 of the BLAKE3 paper, whose chunks of 1 KiB are called leaves here). A chunk that is all
of a content is the root: its digest is that of the content, and it has no chaining value.

numpy, which is slow to import, comes with this module: import it where it is used, in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from chunkstore.core.blake3_lanes import (
    BLOCK_SIZE,
    BLOCK_WORDS,
    CHUNK_END,
    CHUNK_START,
    LANES,
    PARENT,
    ROOT,
    VALUE_WORDS,
    Compressor,
    Counters,
    Words,
)
from chunkstore.core.digest import DIGEST_SIZE, Digest

VALUE_SIZE: Final = DIGEST_SIZE
LEAF_SIZE: Final = 1024
_LEAF_BLOCKS: Final = LEAF_SIZE // BLOCK_SIZE
# A power of two: so many values become one as soon as there are more.
_GROUP: Final = 16 * 1024
_LITTLE: Final = np.dtype("<u4")


def chaining_values(runs: Sequence[tuple[int, bytes]], chunk_size: int) -> bytes:
    """Return the chaining values of chunks of one content, end to end.

    Each run is some chunks that follow each other, by the offset of the first and the bytes of all.
    A chunk has `chunk_size` bytes, a power of two from 1 KiB on; the last of all may have fewer.
    Besides the bytes, as much memory is used, and 1 MB.

    Raises:
        ValueError: a run does not consist of such chunks.
    """
    whole, rest = _without_rest(runs, chunk_size)
    values = _leaf_values(whole)
    for _ in range((chunk_size // LEAF_SIZE).bit_length() - 1):
        values = _parents(values)
    if rest is not None:
        values = np.concatenate([values, _subtree_value(*rest)])
    return _to_bytes(values)


class TreeMerger:
    """Merges the chaining values of all chunks of a content, in order, to the content's digest.

    Memory does not grow with their number.
    """

    def __init__(self) -> None:
        self._values = bytearray()
        # Those of subtrees of `_GROUP` chunks each.
        self._groups = bytearray()

    def add(self, values: bytes) -> None:
        """Take the next values, end to end."""
        self._values += values
        size = _GROUP * VALUE_SIZE
        # What may be all there is must not be merged yet, for the root is flagged as such.
        while len(self._values) > size:
            self._groups += _to_bytes(_reduced(_from_bytes(self._values[:size])))
            del self._values[:size]

    def digest(self) -> Digest:
        """Return the digest of the content, all of whose values have been taken.

        Raises:
            ValueError: they are fewer than two, so there is a root, which has none.
        """
        values = _from_bytes(self._values)
        if self._groups:
            values = np.concatenate([_from_bytes(self._groups), _reduced(values)])
        if len(values) < 2:
            raise ValueError("a content of one chunk has that chunk's digest")
        return Digest(_to_bytes(_reduced(values, root=True)))


def _without_rest(
    runs: Sequence[tuple[int, bytes]], chunk_size: int
) -> tuple[list[tuple[int, memoryview]], tuple[int, memoryview] | None]:
    """Return runs of whole chunks only, and the offset and bytes of a shorter one behind them."""
    if chunk_size < LEAF_SIZE or chunk_size & (chunk_size - 1):
        raise ValueError(f"{chunk_size} is no power of two from {LEAF_SIZE} on")
    whole = [(start, memoryview(content)) for start, content in runs]
    rest = None
    if whole:
        start, last = whole[-1]
        stop = len(last) - len(last) % chunk_size
        whole[-1] = start, last[:stop]
        if stop < len(last):
            rest = start + stop, last[stop:]
    for start, content in whole:
        if start % chunk_size or len(content) % chunk_size:
            raise ValueError(f"{len(content)} bytes at {start} are no chunks of {chunk_size}")
    return whole, rest


def _leaf_values(runs: Sequence[tuple[int, memoryview]]) -> Words:
    """Return the chaining values of the leaves of runs, all of which have whole leaves only."""
    if not runs:
        return np.empty((0, VALUE_WORDS), dtype=np.uint32)
    content = np.concatenate([np.frombuffer(content, dtype=_LITTLE) for _, content in runs])
    leaves = content.reshape(-1, _LEAF_BLOCKS, BLOCK_WORDS)
    counters = np.concatenate(
        [
            np.arange(start // LEAF_SIZE, (start + len(content)) // LEAF_SIZE, dtype=np.uint64)
            for start, content in runs
        ]
    )
    values = np.empty((len(leaves), VALUE_WORDS), dtype=np.uint32)
    for first in range(0, len(leaves), LANES):
        some = slice(first, first + LANES)
        values[some] = _compress_leaves(leaves[some], counters[some])
    return values


def _compress_leaves(leaves: Words, counters: Counters) -> Words:
    compressor = Compressor(counters)
    for number in range(_LEAF_BLOCKS):
        compressor.compress(leaves[:, number], _flags(number, _LEAF_BLOCKS))
    return compressor.value.T


def _short_leaf(start: int, content: memoryview) -> Words:
    """Return the chaining value of a leaf that has fewer bytes than others."""
    compressor = Compressor(np.array([start // LEAF_SIZE], dtype=np.uint64))
    blocks = -(-len(content) // BLOCK_SIZE)
    for number in range(blocks):
        block = bytes(content[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE])
        words = np.frombuffer(block.ljust(BLOCK_SIZE, b"\0"), dtype=_LITTLE)
        compressor.compress(words.reshape(1, BLOCK_WORDS), _flags(number, blocks), len(block))
    return compressor.value.T


def _flags(number: int, blocks: int) -> int:
    return CHUNK_START * (number == 0) | CHUNK_END * (number == blocks - 1)


def _subtree_value(start: int, content: memoryview) -> Words:
    """Return the chaining value of a subtree of any size, as one row."""
    stop = len(content) - len(content) % LEAF_SIZE
    leaves = _leaf_values([(start, content[:stop])])
    if stop < len(content):
        leaves = np.concatenate([leaves, _short_leaf(start + stop, content[stop:])])
    return _reduced(leaves)


def _reduced(values: Words, *, root: bool = False) -> Words:
    """Return the value of the subtree, or of the `root`, that has these below it, as one row."""
    while len(values) > 1:
        flags = PARENT | ROOT if root and len(values) == 2 else PARENT
        # One without a sibling rises by itself: a left subtree has the largest power of two.
        alone = values[len(values) - len(values) % 2 :]
        values = np.concatenate([_parents(values[: len(values) - len(alone)], flags), alone])
    return values


def _parents(values: Words, flags: int = PARENT) -> Words:
    """Return the values of the parents of each two that are siblings."""
    blocks = values.reshape(-1, BLOCK_WORDS)
    parents = np.empty((len(blocks), VALUE_WORDS), dtype=np.uint32)
    for first in range(0, len(blocks), LANES):
        some = slice(first, first + LANES)
        compressor = Compressor(np.zeros(len(blocks[some]), dtype=np.uint64))
        compressor.compress(blocks[some], flags)
        parents[some] = compressor.value.T
    return parents


def _from_bytes(values: bytes | bytearray) -> Words:
    return np.frombuffer(bytes(values), dtype=_LITTLE).reshape(-1, VALUE_WORDS)


def _to_bytes(values: Words) -> bytes:
    return values.astype(_LITTLE).tobytes()
