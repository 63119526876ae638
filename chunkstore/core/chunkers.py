"""Chunkers: where content is cut into chunks, the same however its bytes arrive.

- **Fixed** chunks have one size, the store's. They suit what is changed in place: images,
  databases, checkpoints.
- **Content-defined** chunks end where the bytes say, so that what was inserted or removed shifts
  no other chunk: `fastcdc2020-64k-nc2-s0` is FastCDC as of 2020, without a seed, for 64 KiB on
  average and normalised by level 2, with 16 to 256 KiB. They suit archives and dumps.

A way to cut never changes under its name, or nothing that was stored would be recognised.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

from chunkstore.core.archives import DECIDING_SIZE, is_shifting
from chunkstore.core.manifest import Manifest
from chunkstore.core.pieces import Pieces

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

# The parameters of `fastcdc2020-64k-nc2-s0`, for ever.
_FASTCDC_MIN_SIZE: Final = 16 * 1024
_FASTCDC_AVERAGE_SIZE: Final = 64 * 1024
FASTCDC_MAX_SIZE: Final = 256 * 1024
_FASTCDC_NORMALIZATION: Final = 2


class Chunking(enum.StrEnum):
    """How content is cut, by the name that stores and clients keep.

    `AUTO` is `FASTCDC` for what `is_shifting` recognises, else `FIXED`.
    """

    FIXED = "fixed"
    FASTCDC = "fastcdc2020-64k-nc2-s0"
    AUTO = "auto"

    def require_room(self, chunk_size: int) -> None:
        """Refuse a store in which no chunk may have more than `chunk_size` bytes.

        Raises:
            ValueError: there may be larger chunks.
        """
        if self is not Chunking.FIXED and chunk_size < FASTCDC_MAX_SIZE:
            raise ValueError(
                f"content-defined chunks have up to {FASTCDC_MAX_SIZE} bytes, and the store's"
                f" chunk size is {chunk_size}"
            )

    def chunker(self, chunk_size: int) -> Chunker:
        """Return what cuts one content into chunks of at most `chunk_size` bytes.

        Raises:
            ValueError: as `require_room`.
        """
        self.require_room(chunk_size)
        match self:
            case Chunking.FIXED:
                return FixedChunker(chunk_size)
            case Chunking.FASTCDC:
                return ContentDefinedChunker()
            case Chunking.AUTO:
                return _AutoChunker(chunk_size)


def recognise(first: bytes) -> Chunking:
    """Return what `AUTO` comes to for content that begins with `first`.

    These are its first `DECIDING_SIZE` bytes, or all it has.
    """
    return Chunking.FASTCDC if is_shifting(first) else Chunking.FIXED


def chunking_of(manifest: Manifest) -> Chunking:
    """Return how content was cut: fixed if its list is as short as it can be.

    What was joined from parts of any size counts as content-defined.
    """
    least = -(-manifest.size // manifest.chunk_size)
    return Chunking.FIXED if manifest.chunk_count <= least else Chunking.FASTCDC


def chunking_of_list(sizes: Sequence[int], chunk_size: int) -> Chunking:
    """Return how a content was cut whose chunks have these sizes, `chunk_size` being the most."""
    is_fixed = all(size == chunk_size for size in sizes[:-1])
    return Chunking.FIXED if is_fixed else Chunking.FASTCDC


def offered(own: Chunking, chunk_size: int) -> Sequence[str]:
    """Return the ways to cut that a store recognises, in full, the one of its server first."""
    fixed = f"{Chunking.FIXED};size={chunk_size}"
    if chunk_size < FASTCDC_MAX_SIZE:
        return [fixed]
    if own is Chunking.FASTCDC:
        return [Chunking.FASTCDC.value, fixed]
    return [fixed, Chunking.FASTCDC.value]


class Chunker(ABC):
    """Cuts a stream of pieces of any length into chunks.

    Short pieces, and the short ends of long ones, are collected in a buffer, so the memory kept
    alive stays below about twice the pending bytes, whatever the pieces.
    """

    @property
    @abstractmethod
    def pending(self) -> int:
        """How many bytes have been fed that are in no chunk yet, fewer than a chunk may have."""

    @abstractmethod
    def feed(self, piece: bytes | memoryview) -> list[bytes]:
        """Take the next bytes; return chunks that they complete, in order."""

    @abstractmethod
    def rest(self) -> tuple[list[bytes], bytes]:
        """Return all other complete chunks, and the bytes behind the last one; start over.

        Fed to a new chunker of the same kind, those bytes go on where this one stopped.
        """

    def finish(self) -> list[bytes]:
        """Return the last chunks of the content, and start over."""
        chunks, last = self.rest()
        return [*chunks, last] if last else chunks


class FixedChunker(Chunker):
    """Cuts chunks of one size, copying each byte once, or twice from short pieces."""

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._pieces = Pieces()

    @property
    def pending(self) -> int:
        """How many bytes have been fed that do not fill a chunk yet."""
        return self._pieces.size

    def feed(self, piece: bytes | memoryview) -> list[bytes]:
        """Take the next bytes; return the chunks that they complete, in order."""
        view = memoryview(piece)
        complete = []
        start = 0
        while self._pieces.size + len(view) - start >= self._chunk_size:
            stop = start + self._chunk_size - self._pieces.size
            complete.append(self._pieces.join(view[start:stop]))
            start = stop
        if start < len(view):
            self._pieces.keep(view[start:])
        return complete

    def rest(self) -> tuple[list[bytes], bytes]:
        """Return no chunk, and the bytes that fill none."""
        return [], self._pieces.join()


class ContentDefinedChunker(Chunker):
    """Cuts as `fastcdc2020-64k-nc2-s0` says.

    Whether a chunk ends is told by its own bytes and at most the next one, so a cut before the end
    of what has come is certain. Bytes are scanned when they have a chunk for sure, and those of the
    last chunk, which has no end yet, are scanned again with what follows.
    """

    def __init__(self) -> None:
        self._fastcdc = _fastcdc()
        self._pieces = Pieces()

    @property
    def pending(self) -> int:
        """How many bytes have been fed that are in no chunk yet, fewer than 256 KiB."""
        return self._pieces.size

    def feed(self, piece: bytes | memoryview) -> list[bytes]:
        """Take the next bytes; return the chunks that are complete, if there is one for sure."""
        view = memoryview(piece)
        if self._pieces.size + len(view) < FASTCDC_MAX_SIZE:
            if view:
                self._pieces.keep(view)
            return []
        chunks, last = self._cut(self._pieces.join(view))
        if last:
            self._pieces.keep(memoryview(last))
        return chunks

    def rest(self) -> tuple[list[bytes], bytes]:
        """Return all other complete chunks, and the bytes behind the last one."""
        return self._cut(self._pieces.join())

    def _cut(self, content: bytes) -> tuple[list[bytes], bytes]:
        chunks = []
        stop = 0
        for found in self._fastcdc.cut_buf(content):
            reaches_end = found.offset + found.length == len(content)
            if reaches_end and found.length < FASTCDC_MAX_SIZE:
                break
            chunks.append(bytes(found.data))
            stop = found.offset + found.length
        return chunks, content[stop:]


class _AutoChunker(Chunker):
    """Cuts in the way that the first bytes decide."""

    def __init__(self, chunk_size: int) -> None:
        self._chunk_size = chunk_size
        self._first = bytearray()
        self._chosen: Chunker | None = None

    @property
    def pending(self) -> int:
        """How many bytes have been fed that are in no chunk yet."""
        return len(self._first) if self._chosen is None else self._chosen.pending

    def feed(self, piece: bytes | memoryview) -> list[bytes]:
        """Take the next bytes; return chunks that they complete, in order."""
        if self._chosen is not None:
            return self._chosen.feed(piece)
        view = memoryview(piece)
        missing = DECIDING_SIZE - len(self._first)
        self._first += view[:missing]
        if len(self._first) < DECIDING_SIZE:
            return []
        first = bytes(self._first)
        self._chosen = recognise(first).chunker(self._chunk_size)
        return self._chosen.feed(first) + self._chosen.feed(view[missing:])

    def rest(self) -> tuple[list[bytes], bytes]:
        """Return all other complete chunks, and the bytes behind the last one."""
        if self._chosen is None:
            found: tuple[list[bytes], bytes] = [], bytes(self._first)
        else:
            found = self._chosen.rest()
        self._first, self._chosen = bytearray(), None
        return found


@cache
def load() -> None:
    """Load what the first content-defined chunker would else load while requests wait."""
    _fastcdc()


def _fastcdc() -> FastCDC:
    # Here, because most clients never need it.
    from pyfastcdc import FastCDC

    return FastCDC(
        _FASTCDC_AVERAGE_SIZE,
        min_size=_FASTCDC_MIN_SIZE,
        max_size=FASTCDC_MAX_SIZE,
        normalized_chunking=_FASTCDC_NORMALIZATION,
        seed=0,
    )
