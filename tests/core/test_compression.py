"""Compression at rest: what is kept comes back, and is kept small where that pays."""

from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.compression import (
    DEFAULT_COMPRESSION,
    NO_COMPRESSION,
    Codec,
    Compression,
    Encoded,
    decode,
    may_be_kept,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KIB = 1024
# From noise, which nothing compresses, to what hardly holds anything.
contents = st.builds(
    lambda seed, size, repeats: random.Random(seed).randbytes(size) * repeats,
    st.integers(0, 1000),
    st.integers(1, 5000),
    st.integers(1, 60),
)
compressions = st.sampled_from([NO_COMPRESSION, DEFAULT_COMPRESSION, Compression(19)])


def noise(size: int) -> bytes:
    return random.Random(0).randbytes(size)


@given(compression=compressions, content=contents)
def test_what_is_kept_comes_back_and_is_never_larger(
    compression: Compression, content: bytes
) -> None:
    encoded = compression.encode(content)
    assert decode(encoded.codec, encoded.content, len(content)) == content
    assert len(encoded.content) <= len(content)
    assert (encoded.codec == Codec.IDENTITY) == (encoded.content == content)


@pytest.mark.parametrize("size", [1, 4 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB])
def test_noise_is_kept_as_it_is(size: int) -> None:
    content = noise(size)
    assert DEFAULT_COMPRESSION.encode(content) == Encoded(Codec.IDENTITY, content)


def test_what_saves_little_is_kept_as_it_is() -> None:
    saving = noise(240 * KIB) + bytes(16 * KIB)
    assert DEFAULT_COMPRESSION.encode(saving).codec == Codec.IDENTITY
    saving = noise(160 * KIB) + bytes(96 * KIB)
    assert len(DEFAULT_COMPRESSION.encode(saving).content) < 164 * KIB


def test_switched_off_everything_is_kept_as_it_is() -> None:
    assert NO_COMPRESSION.encode(bytes(4096)) == Encoded(Codec.IDENTITY, bytes(4096))


@given(content=contents, wrong=st.binary(max_size=100), size=st.integers(1, 10_000))
def test_nothing_kept_takes_more_memory_than_it_may(
    content: bytes, wrong: bytes, size: int
) -> None:
    for kept in (DEFAULT_COMPRESSION.encode(content).content, wrong):
        try:
            assert len(decode(Codec.ZSTD, kept, size)) <= size
        except ValueError:
            continue


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="99"):
        decode(99, b"x", 1)


@pytest.mark.parametrize("text", ["none", "zstd:1", "zstd:3", "zstd:19"])
def test_parse_and_format(text: str) -> None:
    assert str(Compression.parse(text)) == text
    assert Compression.parse(f" {text} ") == Compression.parse(text)


def test_zstd_alone_is_the_default() -> None:
    assert Compression.parse("zstd") == DEFAULT_COMPRESSION


@pytest.mark.parametrize("text", ["", "gzip", "zstd:", "zstd:0", "zstd:20", "zstd:-1", "none:1"])
def test_what_is_no_compression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="zstd"):
        Compression.parse(text)


@given(compression=compressions, content=contents)
def test_what_was_kept_compressed_may_be_kept_as_it_is(
    compression: Compression, content: bytes
) -> None:
    encoded = compression.encode(content)
    assert may_be_kept(encoded, len(content)) == (encoded.codec == Codec.ZSTD)
    assert not may_be_kept(encoded, len(content) + 1)


def frame(content: bytes) -> bytes:
    """Return a zstd frame that is written in pieces."""
    compressor = zstd.ZstdCompressor()
    return compressor.compress(content) + compressor.flush()


COMPRESSIBLE = b"compressible" * 1000
DICTIONARY = zstd.train_dict([str(number).encode() * 9 for number in range(1000)], 1000)


@pytest.mark.parametrize(
    "written",
    [
        frame(COMPRESSIBLE),  # its size is not told
        zstd.compress(COMPRESSIBLE)[:-1],
        zstd.compress(COMPRESSIBLE) + b"x",
        zstd.compress(COMPRESSIBLE[:6000]) + zstd.compress(COMPRESSIBLE[6000:]),
        b"",
        b"no frame",
        # A skippable frame, which decodes to nothing (RFC 8878 §3.1.2).
        b"\x50\x2a\x4d\x18\x04\0\0\0skip",
        zstd.compress(COMPRESSIBLE, zstd_dict=DICTIONARY),
        zstd.compress(noise(12_000)),  # it saves nothing
    ],
)
def test_no_other_frame_may_be_kept_as_it_is(written: bytes) -> None:
    assert not may_be_kept(Encoded(Codec.ZSTD, written), 12_000)


@pytest.mark.parametrize("log", [18, 20, 21])
def test_a_window_beyond_a_mebibyte_is_too_large(log: int) -> None:
    content = b"compressible" * 200_000
    compressor = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    compressor.set_pledged_input_size(len(content))
    written = compressor.compress(content) + compressor.flush()
    assert zstd.get_frame_info(written).decompressed_size == len(content)
    assert may_be_kept(Encoded(Codec.ZSTD, written), len(content)) == (log <= 20)
