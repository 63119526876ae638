"""Lists of chunks: the same however they arrive, and nothing but lists is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.chunk_lists import (
    DIGESTS,
    ENTRY_SIZE,
    MANIFEST,
    PARSERS,
    TEXT,
    ListEntry,
    format_digests,
    format_manifest,
    format_text,
    parse_list,
)
from chunkstore.core.digest import DIGEST_SIZE, Digest

digests = st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE).map(Digest)
sizes = st.integers(min_value=1, max_value=2**32 - 1)
entries = st.lists(st.tuples(digests, sizes), max_size=20)


def parsed(media_type: str, content: bytes, cuts: list[int]) -> list[ListEntry]:
    """Parse content that arrives in pieces of these lengths."""
    parser = PARSERS[media_type]()
    found = []
    for length in cuts:
        found += parser.feed(content[:length])
        content = content[length:]
    return found + parser.feed(content) + parser.finish()


@given(entries=entries, cuts=st.lists(st.integers(0, 80)))
def test_a_list_is_the_same_however_it_arrives(
    entries: list[tuple[Digest, int]], cuts: list[int]
) -> None:
    with_sizes = [ListEntry(digest, size) for digest, size in entries]
    without = [ListEntry(digest) for digest, _ in entries]
    assert parsed(MANIFEST, format_manifest(entries), cuts) == with_sizes
    assert parsed(DIGESTS, format_digests(digest for digest, _ in entries), cuts) == without
    assert parsed(TEXT, format_text(with_sizes), cuts) == with_sizes
    assert parsed(TEXT, format_text(without), cuts) == without


def test_the_last_line_needs_no_line_break_and_others_may_have_a_carriage_return() -> None:
    digest = Digest.of(b"x")
    text = f"{digest} 5\r\n{digest}".encode()
    assert parse_list(TEXT, text) == [ListEntry(digest, 5), ListEntry(digest)]


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        (DIGESTS, b"x" * 33),
        (MANIFEST, b"x" * (ENTRY_SIZE - 1)),
        (MANIFEST, b"x" * DIGEST_SIZE + b"\0\0\0\0"),
        (TEXT, b"\n"),
        (TEXT, b"z" * 64),
        (TEXT, b"0" * 63),
        (TEXT, b"0" * 64 + b" "),
        (TEXT, b"0" * 64 + b" 0"),
        (TEXT, b"0" * 64 + b" -1"),
        (TEXT, b"0" * 64 + b" 4294967296"),
        (TEXT, b"0" * 64 + b" 00000000001"),
        (TEXT, b"0" * 64 + "\u00b2".encode()),
        (TEXT, b"0" * 100_000),
    ],
)
def test_what_is_no_list_is_refused(media_type: str, content: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_list(media_type, content)
