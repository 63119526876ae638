"""Digests against published vectors, and checks of a content against what was sent with it."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.digest import ContentCheck, ContentHasher, Digest
from chunkstore.core.errors import ContentMismatch

# From test_vectors.json of the BLAKE3 reference implementation, where the input of n bytes is
# 0, 1, … 250, 0, 1, …; and of "abc" as `b3sum` prints it.
VECTORS = {
    0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
    1023: "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11",
    1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
    1025: "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444",
    102400: "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085",
}
DIGEST_OF_ABC = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


def vector_input(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", VECTORS)
def test_digest_is_the_published_blake3_value(size: int) -> None:
    assert str(Digest.of(vector_input(size))) == VECTORS[size]


def test_digest_is_what_b3sum_prints() -> None:
    assert str(Digest.of(b"abc")) == DIGEST_OF_ABC


def test_digest_of_a_view_is_that_of_its_bytes() -> None:
    assert Digest.of(memoryview(b"_abc_")[1:4]) == Digest.of(b"abc")


@given(raw=st.binary(min_size=32, max_size=32))
def test_digest_survives_its_text(raw: bytes) -> None:
    digest = Digest(raw)
    assert str(digest) == raw.hex()
    assert Digest.parse(str(digest)) == digest
    assert Digest.parse(str(digest).upper()) == digest


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_digest_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"not {size}$"):
        Digest(bytes(size))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 63,
        "a" * 65,
        "g" * 64,
        "a" * 62 + "0x",
        " " + "a" * 63,
        "a" * 63 + "\n",
        "aa " * 21 + "a",  # `bytes.fromhex` skips spaces
        "a" * 32 + " " * 32,
        "٣" * 64,
        "a" * 63 + "é",
        f'"{"a" * 62}"',
    ],
)
def test_parse_refuses_what_is_not_64_hexadecimal_digits(text: str) -> None:
    with pytest.raises(ValueError, match="hex"):
        Digest.parse(text)


def test_digests_are_values() -> None:
    assert Digest.of(b"abc") == Digest.of(b"abc")
    assert Digest.of(b"abc") != Digest.of(b"abd")
    assert len({Digest.of(b"abc"), Digest.of(b"abc"), Digest.of(b"abd")}) == 2


@given(pieces=st.lists(st.binary(max_size=2000), max_size=8))
def test_digest_of_pieces_is_that_of_the_whole(pieces: list[bytes]) -> None:
    hasher = ContentHasher()
    for piece in pieces:
        hasher.update(piece)
    assert hasher.digest() == Digest.of(b"".join(pieces))


def test_hasher_tells_the_digest_so_far() -> None:
    hasher = ContentHasher()
    assert str(hasher.digest()) == VECTORS[0]
    hasher.update(b"ab")
    assert hasher.digest() == Digest.of(b"ab")
    hasher.update(memoryview(b"c"))
    assert str(hasher.digest()) == DIGEST_OF_ABC


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5"])
def test_check_accepts_the_content_that_was_meant(algorithm: str) -> None:
    check = ContentCheck(algorithm, hashlib.new(algorithm, b"abcdef").digest())
    check.update(b"abc")
    check.update(memoryview(b"def"))
    check.verify()


def test_check_accepts_an_empty_content_without_an_update() -> None:
    ContentCheck("sha256", hashlib.sha256().digest()).verify()


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        (hashlib.sha256(b"abc").digest(), b"abd"),
        (hashlib.sha256(b"abc").digest(), b""),
        (hashlib.sha256(b"abc").digest()[:-1], b"abc"),
        (hashlib.sha512(b"abc").digest(), b"abc"),
        (b"", b"abc"),
    ],
)
def test_check_refuses_another_content(expected: bytes, content: bytes) -> None:
    check = ContentCheck("sha256", expected)
    check.update(content)
    with pytest.raises(ContentMismatch, match="sha256"):
        check.verify()
