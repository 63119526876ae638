"""BLAKE3's compression function, of many blocks at once: each is a lane of numpy's vectors.

A block has a column in every array, so that one call of numpy advances all of them by an operation.
Calls write into arrays that are there already, which together should fit into a core's cache
(`LANES`), and numpy lets other threads run during each.

As in BLAKE3's own code for vectors, the four quarter-rounds of a half-round are one, over rows of
four words; rows are rotated between half-rounds, by copying their ends beside them.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[np.uint32]
Counters: TypeAlias = npt.NDArray[np.uint64]

# The arrays for so many take 1.1 MB. Fewer need more calls for the same, more leave the L2 cache.
LANES: Final = 4096
BLOCK_SIZE: Final = 64
BLOCK_WORDS: Final = 16
VALUE_WORDS: Final = 8

# The paper's Table 3.
CHUNK_START: Final = 1
CHUNK_END: Final = 2
PARENT: Final = 4
ROOT: Final = 8

_IV: Final[Words] = np.array(
    [
        0x6A09E667,
        0xBB67AE85,
        0x3C6EF372,
        0xA54FF53A,
        0x510E527F,
        0x9B05688C,
        0x1F83D9AB,
        0x5BE0CD19,
    ],
    dtype=np.uint32,
)
_PERMUTATION: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_ROUNDS: Final = 7
# Arrays, because numpy would make one of a number each time.
_BITS: Final = {bits: np.array(bits, dtype=np.uint32) for bits in (7, 8, 12, 16, 20, 24, 25)}

_Order: TypeAlias = npt.NDArray[np.intp]


def _schedule() -> list[tuple[_Order, _Order]]:
    """Return which words of a block each half-round adds, at first and then."""
    order = np.arange(BLOCK_WORDS)
    halves = []
    for _ in range(_ROUNDS):
        halves += [(half[0::2].copy(), half[1::2].copy()) for half in (order[:8], order[8:])]
        order = order[list(_PERMUTATION)]
    return halves


_SCHEDULE: Final = _schedule()


class Compressor:
    """Compresses blocks one after the other in each lane, into `value`, words by lanes.

    `counters` has the number of its leaf for each lane, or zeros where lanes are parents.
    """

    def __init__(self, counters: Counters) -> None:
        lanes = len(counters)
        self.value = _rows(VALUE_WORDS, lanes)
        self.value[:] = _IV[:, np.newaxis]
        self._low = (counters & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        self._high = (counters >> np.uint64(32)).astype(np.uint32)
        self._block = _rows(BLOCK_WORDS, lanes)
        self._loaded = np.empty((lanes, BLOCK_WORDS), dtype=np.uint32)
        self._a, self._b, self._c = _rows(4, lanes), _rows(5, lanes), _rows(6, lanes)
        # Its last row stands once more before its first, in half-rounds of diagonals.
        self._d = _rows(5, lanes)
        self._columns = self._a, self._b[:4], self._c[:4], self._d[1:]
        self._diagonals = self._a, self._b[1:], self._c[2:], self._d[:4]
        self._spare = _rows(4, lanes)

    def compress(self, blocks: Words, flags: int, size: int = BLOCK_SIZE) -> None:
        """Compress the next blocks, lanes by words, which have `size` bytes (section 2.2)."""
        # Two copies: one across the rows of a large array would miss the cache at each word.
        np.copyto(self._loaded, blocks)
        np.copyto(self._block, self._loaded.T)
        a, b, c, d = self._columns
        np.copyto(a, self.value[:4])
        np.copyto(b, self.value[4:])
        np.copyto(c, _IV[:4, np.newaxis])
        d[0], d[1], d[2], d[3] = self._low, self._high, size, flags
        for columns, diagonals in zip(_SCHEDULE[0::2], _SCHEDULE[1::2], strict=True):
            self._mix(columns, *self._columns)
            self._b[4], self._c[4:], self._d[0] = self._b[0], self._c[:2], self._d[4]
            self._mix(diagonals, *self._diagonals)
            self._b[0], self._c[:2], self._d[4] = self._b[4], self._c[4:], self._d[0]
        np.bitwise_xor(a, c, out=self.value[:4])
        np.bitwise_xor(b, d, out=self.value[4:])

    def _mix(self, orders: tuple[_Order, _Order], a: Words, b: Words, c: Words, d: Words) -> None:
        """Apply the function G to four columns, or diagonals, of the state at once."""
        spare = self._spare
        for order, right_d, right_b in zip(orders, (16, 8), (12, 7), strict=True):
            np.add(a, b, a)
            # In another mode than "clip", numpy takes a copy first, to be safe from wrong indexes.
            np.take(self._block, order, axis=0, out=spare, mode="clip")
            np.add(a, spare, a)
            _xor_and_rotate(d, a, right_d, spare)
            np.add(c, d, c)
            _xor_and_rotate(b, c, right_b, spare)


def _xor_and_rotate(words: Words, others: Words, right: int, spare: Words) -> None:
    np.bitwise_xor(words, others, words)
    np.left_shift(words, _BITS[32 - right], spare)
    np.right_shift(words, _BITS[right], words)
    np.bitwise_or(words, spare, words)


def _rows(count: int, lanes: int) -> Words:
    return np.empty((count, lanes), dtype=np.uint32)
