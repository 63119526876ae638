"""Compression of stored chunks, where it saves enough.

Each download has to decompress, so a chunk is stored as it is if compression saves little. Bytes
that cannot be compressed at all, like those of most large files, are recognised by a few samples.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVELS: Final = range(1, 20)
_DEFAULT_LEVEL: Final = 1
# The largest size that is worth it, relative to the size without compression.
_WORTHWHILE: Final = 7 / 8
_SAMPLES: Final = 4
_SAMPLE_SIZE: Final = 4 * 1024
_SAMPLED_FROM: Final = 4 * _SAMPLES * _SAMPLE_SIZE
_MAX_WINDOW: Final = 1024 * 1024
# Samples compress worse than the whole.
_PROMISING: Final = 19 / 20


class Codec(IntEnum):
    """How a chunk's bytes are encoded; databases store these numbers."""

    IDENTITY = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class Encoded:
    """A chunk's bytes as they are stored."""

    codec: Codec
    content: bytes


def may_be_kept(encoded: Encoded, size: int) -> bool:
    """Whether a chunk of `size` bytes that came compressed may be kept as it came.

    It is one zstd frame (RFC 8878 §3.1.1) and nothing else, which tells the size, needs no
    dictionary and no window beyond 1 MiB, and saves enough. Whether it decodes to the chunk is
    not looked at.
    """
    content = encoded.content
    if encoded.codec != Codec.ZSTD or len(content) > size * _WORTHWHILE:
        return False
    try:
        info = zstd.get_frame_info(content)
        if zstd.get_frame_size(content) != len(content):
            return False
    except zstd.ZstdError:
        return False
    if info.decompressed_size != size or info.dictionary_id:
        return False
    return _window_size(content, size) <= _MAX_WINDOW


def _window_size(frame: bytes, size: int) -> int:
    """Return the window that a frame with `size` bytes of content needs (RFC 8878 §3.1.1.1.2)."""
    is_single_segment = frame[4] & 0x20
    if is_single_segment:
        return size
    exponent, mantissa = divmod(frame[5], 8)
    base = 1 << (10 + exponent)
    return base + base // 8 * mantissa


@dataclass(frozen=True, slots=True)
class Compression:
    """How new chunks are compressed: by zstd at `level`, or not at all if that is None."""

    level: int | None

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Parse `none`, `zstd` or `zstd:LEVEL`.

        Raises:
            ValueError: it is none of these, or the level is not one of 1 to 19.
        """
        match = re.fullmatch(r"none|zstd(?::([0-9]{1,2}))?", text.strip())
        if match is None or (match[1] and int(match[1]) not in _LEVELS):
            raise ValueError(f"{text!r} is not one of none, zstd and zstd:1 to zstd:{_LEVELS[-1]}")
        if match[0] == "none":
            return cls(None)
        return cls(int(match[1] or _DEFAULT_LEVEL))

    def __str__(self) -> str:
        return "none" if self.level is None else f"zstd:{self.level}"

    def encode(self, content: bytes) -> Encoded:
        """Return the chunk's bytes as they are to be stored."""
        if self.level is not None and _promising(content, self.level):
            compressed = zstd.compress(content, self.level)
            if len(compressed) <= len(content) * _WORTHWHILE:
                return Encoded(Codec.ZSTD, compressed)
        return Encoded(Codec.IDENTITY, content)


NO_COMPRESSION: Final = Compression(None)
DEFAULT_COMPRESSION: Final = Compression(_DEFAULT_LEVEL)


def decode(codec: int, content: bytes, size: int) -> bytes:
    """Return the `size` bytes of the chunk that `content` encodes.

    Raises:
        ValueError: `codec` is unknown, or did not write `content`.
    """
    if codec == Codec.IDENTITY:
        return content
    if codec != Codec.ZSTD:
        raise ValueError(f"unknown codec {codec}")
    try:
        # Bounded, so a forged row cannot take more memory than a chunk.
        return zstd.ZstdDecompressor().decompress(content, size)
    except zstd.ZstdError as error:
        raise ValueError("damaged") from error


def _promising(content: bytes, level: int) -> bool:
    if len(content) < _SAMPLED_FROM:
        return True
    step = (len(content) - _SAMPLE_SIZE) // (_SAMPLES - 1)
    samples = b"".join(
        content[start : start + _SAMPLE_SIZE] for start in range(0, _SAMPLES * step, step)
    )
    return len(zstd.compress(samples, level)) <= len(samples) * _PROMISING
