"""Packs: the same records however they arrive, and no chunk but the one that was meant."""

from __future__ import annotations

import tracemalloc
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.chunking import Chunk
from chunkstore.core.compression import DEFAULT_COMPRESSION, Codec, Encoded
from chunkstore.core.digest import Digest
from chunkstore.core.packs import HEAD_SIZE, PackParser, Record

_MAX: Final = 4096


def record_of(content: bytes) -> Record:
    return Record(Digest.of(content), len(content), DEFAULT_COMPRESSION.encode(content))


contents = st.lists(
    st.one_of(st.binary(min_size=1, max_size=100), st.just(b"abc" * 1000)), max_size=8
)


@given(contents=contents, cuts=st.lists(st.integers(0, 200)))
def test_a_pack_is_the_same_however_it_arrives(contents: list[bytes], cuts: list[int]) -> None:
    pack = b"".join(record_of(content).to_bytes() for content in contents)
    parser = PackParser(_MAX)
    records: list[Record] = []
    for length in cuts:
        records += parser.feed(pack[:length])
        pack = pack[length:]
    records += parser.feed(pack)
    parser.finish()
    assert [record.to_chunk() for record in records] == [Chunk.of(one) for one in contents]


@given(position=st.integers(0, HEAD_SIZE + 299), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_another_chunk(position: int, bit: int) -> None:
    content = bytes(range(150)) * 2
    pack = bytearray(Record(Digest.of(content), 300, Encoded(Codec.IDENTITY, content)).to_bytes())
    pack[position] ^= 1 << bit
    parser = PackParser(_MAX)
    try:
        found = [record.to_chunk() for record in parser.feed(bytes(pack))]
        parser.finish()
    except ValueError:
        return
    assert found == [Chunk.of(content)]


@pytest.mark.parametrize(
    ("codec", "stored", "size"),
    [(2, 1, 1), (0, 1, 2), (0, 0, 0), (1, 0, 1), (1, 5, 4), (0, _MAX + 1, _MAX + 1), (1, 1, 2**31)],
)
def test_a_head_that_cannot_be_is_refused_before_its_bytes_come(
    codec: int, stored: int, size: int
) -> None:
    head = bytes(32) + bytes([codec, 0, 0, 0]) + stored.to_bytes(4) + size.to_bytes(4)
    with pytest.raises(ValueError, match=r"\w"):
        list(PackParser(_MAX).feed(head))


def test_a_pack_that_ends_within_a_record_is_refused() -> None:
    parser = PackParser(_MAX)
    assert list(parser.feed(record_of(b"x" * 50).to_bytes()[:-1])) == []
    with pytest.raises(ValueError, match="within a record"):
        parser.finish()


@pytest.mark.parametrize("sizes", [[1], [100], [4095], [4096, 1, 1], [65_536, 1]])
def test_what_is_held_is_about_what_is_pending_whatever_the_pieces(sizes: list[int]) -> None:
    size = 1 << 20
    content = bytes(size)
    record = Record(Digest.of(content), size, Encoded(Codec.IDENTITY, content))
    parser = PackParser(size)
    assert list(parser.feed(record.head)) == []
    tracemalloc.start()
    try:
        while parser.pending < size // 2:
            for each in sizes:
                assert list(parser.feed(bytes(each))) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.5 * parser.pending


def test_records_before_an_error_come_and_nothing_behind_it() -> None:
    parser = PackParser(_MAX)
    sound, bad = record_of(b"x" * 50), bytes(HEAD_SIZE)
    records = parser.feed(sound.to_bytes() + bad + sound.to_bytes())
    assert next(records) == sound
    with pytest.raises(ValueError, match="1 to"):
        next(records)
    with pytest.raises(ValueError, match="1 to"):
        list(parser.feed(sound.to_bytes()))
    with pytest.raises(ValueError, match="1 to"):
        parser.finish()
