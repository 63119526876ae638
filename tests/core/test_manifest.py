"""Manifests: which slices of which chunks make up a range of a content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.digest import Digest
from chunkstore.core.manifest import Manifest, Slice


def manifest_of(size: int, chunk_size: int) -> Manifest:
    return Manifest(id=1, digest=Digest(bytes(32)), size=size, chunk_size=chunk_size)


@pytest.mark.parametrize("chunk_size", range(1, 9))
def test_slices_of_chunks_join_to_every_range_of_every_small_content(chunk_size: int) -> None:
    for size in range(25):
        content = bytes(range(size))
        chunks = [content[at : at + chunk_size] for at in range(0, size, chunk_size)]
        manifest = manifest_of(size, chunk_size)
        assert manifest.chunk_count == len(chunks)
        for start in range(size + 1):
            for stop in range(start, size + 1):
                parts = [
                    chunks[part.seq][part.start : part.stop]
                    for part in manifest.slices(start, stop)
                ]
                assert b"".join(parts) == content[start:stop]
                assert all(parts)


@given(
    chunk_size=st.sampled_from([4096, 262_144, 1_048_576]),
    bounds=st.tuples(*[st.integers(min_value=0, max_value=10**6)] * 2).map(sorted),
    behind=st.integers(min_value=0, max_value=10**15),
)
def test_slices_touch_each_chunk_once_and_leave_no_gap(
    chunk_size: int, bounds: list[int], behind: int
) -> None:
    start, stop = bounds
    position = start
    slices = list(manifest_of(stop + behind, chunk_size).slices(start, stop))
    for part in slices:
        assert part.seq * chunk_size + part.start == position
        assert 0 <= part.start < part.stop <= chunk_size
        position += part.stop - part.start
    assert position == stop
    assert [part.seq for part in slices] == sorted({part.seq for part in slices})


def test_slices_at_the_far_end_of_a_large_content() -> None:
    manifest = manifest_of(2**50 + 1, 4096)
    assert manifest.chunk_count == 2**38 + 1
    assert list(manifest.slices(2**50 - 1, 2**50 + 1)) == [
        Slice(2**38 - 1, 4095, 4096),
        Slice(2**38, 0, 1),
    ]


@pytest.mark.parametrize(
    ("size", "chunk_count"), [(0, 0), (1, 1), (4095, 1), (4096, 1), (4097, 2), (8192, 2)]
)
def test_chunk_count(size: int, chunk_count: int) -> None:
    assert manifest_of(size, 4096).chunk_count == chunk_count


@pytest.mark.parametrize("position", [0, 5, 10])
def test_an_empty_range_has_no_slices(position: int) -> None:
    assert list(manifest_of(10, 4).slices(position, position)) == []


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (-2, -1), (5, 4), (0, 11), (11, 11), (10, 9)])
def test_a_range_outside_of_the_content_is_refused(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="is not a range of 10 bytes"):
        list(manifest_of(10, 4).slices(start, stop))
