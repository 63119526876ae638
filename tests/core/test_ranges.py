"""Byte ranges, held against sets of byte positions (RFC 9110 §14)."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.core.errors import RangeNotSatisfiable
from chunkstore.core.ranges import MAX_RANGES, ByteRange, parse_range

# `first-last`, `first-` or `-length`; the numbers reach beyond the contents.
Spec = tuple[int | None, int | None]

numbers = st.integers(min_value=0, max_value=35)
specs = st.one_of(
    st.tuples(numbers, numbers), st.tuples(numbers, st.none()), st.tuples(st.none(), numbers)
)
sizes = st.integers(min_value=0, max_value=30)
# What RFC 9110 §5.6.1.2 has a recipient take between the elements of a list.
separators = st.sampled_from([",", ", ", " ,", ",,", "\t,\t", " , ,, ", ",\t ,"])
BROKEN_SPECS = [
    "-",
    "x",
    "5",
    "1-2-3",
    "--1",
    "1--",
    "-1-",
    "+1-2",
    "1-+2",
    "1 -2",
    "1- 2",
    "1-2 3-4",
    "1-2;3-4",
    "0x1-2",
    "1.0-2",
    "1_0-20",
    "\u0663-",
    "\u00b2-3",
    "*",
    "bytes=1-2",
    "2-1",
    "1-0",
]
HUGE = "9" * 5000


def is_valid(spec: Spec) -> bool:
    first, last = spec
    return first is None or last is None or first <= last


def text_of(spec: Spec) -> str:
    return "-".join("" if number is None else str(number) for number in spec)


def header_of(texts: list[str], unit: str = "bytes") -> str:
    return f"{unit}={','.join(texts)}"


def positions_of(spec: Spec, size: int) -> set[int]:
    first, last = spec
    if first is None:
        assert last is not None
        return {position for position in range(size) if position >= size - last}
    return {
        position
        for position in range(size)
        if position >= first and (last is None or position <= last)
    }


def bounds_of(header: str | None, size: int) -> list[tuple[int, int]] | None:
    ranges = parse_range(header, size)
    return None if ranges is None else [(bounds.start, bounds.stop) for bounds in ranges]


@given(wanted=st.lists(specs, min_size=1, max_size=6), size=sizes)
def test_ranges_hold_exactly_the_positions_asked_for(wanted: list[Spec], size: int) -> None:
    header = header_of([text_of(spec) for spec in wanted])
    positions = {position for spec in wanted for position in positions_of(spec, size)}
    if not all(map(is_valid, wanted)):
        assert parse_range(header, size) is None
    elif not positions:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
    else:
        ranges = parse_range(header, size)
        assert ranges is not None
        assert {at for bounds in ranges for at in range(bounds.start, bounds.stop)} == positions
        assert all(bounds.start < bounds.stop for bounds in ranges)
        # They ascend, and neither overlap nor touch.
        assert all(before.stop < behind.start for before, behind in pairwise(ranges))


@given(
    wanted=st.lists(st.tuples(separators, specs), min_size=1, max_size=4),
    ends=st.tuples(separators, separators),
    unit=st.sampled_from(["bytes", "Bytes", "BYTES", "byTeS"]),
    size=sizes,
)
def test_spaces_empty_elements_and_case_change_nothing(
    wanted: list[tuple[str, Spec]], ends: tuple[str, str], unit: str, size: int
) -> None:
    first, last = ends
    body = "".join(separator + text_of(spec) for separator, spec in wanted)
    untidy = f"{unit}={first}{body}{last}"
    tidy = header_of([text_of(spec) for _, spec in wanted])
    try:
        expected = parse_range(tidy, size)
    except RangeNotSatisfiable:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(untidy, size)
    else:
        assert parse_range(untidy, size) == expected


@pytest.mark.parametrize("broken", BROKEN_SPECS)
def test_one_broken_spec_makes_the_whole_header_ignored(broken: str) -> None:
    for texts in ([broken], [broken, "0-1"], ["0-1", broken], ["-1", broken, "3-"]):
        assert parse_range(header_of(texts), 10) is None
        assert parse_range(header_of(texts), 0) is None


@pytest.mark.parametrize(
    ("header", "bounds"),
    [
        ("bytes=0-4", [(0, 5)]),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=9-9", [(9, 10)]),
        ("bytes=0-9", [(0, 10)]),
        ("bytes=0-", [(0, 10)]),
        ("bytes=9-", [(9, 10)]),
        ("bytes=5-100", [(5, 10)]),
        ("bytes=-1", [(9, 10)]),
        ("bytes=-10", [(0, 10)]),
        ("bytes=-11", [(0, 10)]),
        ("bytes=0-0,-1", [(0, 1), (9, 10)]),
        ("bytes=8-,0-1", [(0, 2), (8, 10)]),
        ("bytes=0-1,2-3", [(0, 4)]),
        ("bytes=0-1,3-4", [(0, 2), (3, 5)]),
        ("bytes=0-5,2-3", [(0, 6)]),
        ("bytes=0-1,-0", [(0, 2)]),
        ("bytes=0-1,10-", [(0, 2)]),
        ("bytes=007-08", [(7, 9)]),
        ("bytes=, 0-1 ,\t, 4-5 ,", [(0, 2), (4, 6)]),
    ],
)
def test_ranges_of_ten_bytes(header: str, bounds: list[tuple[int, int]]) -> None:
    assert bounds_of(header, 10) == bounds


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes= , ,",
        "=0-1",
        "0-1",
        "lines=0-1",
        "byte=0-1",
        "bytess=0-1",
        "b\u00fftes=0-1",
        "bytes:0-1",
        "bytes 0-1",
        "none",
        "bytes=0-1=2",
        "bytes==0-1",
        "bytes=0-1\n",
    ],
)
def test_what_is_no_byte_range_is_ignored(header: str | None) -> None:
    assert parse_range(header, 10) is None
    assert parse_range(header, 0) is None


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("bytes=-0", 10),
        ("bytes=-000", 10),
        ("bytes=10-", 10),
        ("bytes=10-10", 10),
        ("bytes=100-200,300-,-0", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-0", 0),
        ("bytes=-1", 0),
    ],
)
def test_ranges_without_any_byte_are_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as caught:
        parse_range(header, size)
    assert caught.value.size == size


@pytest.mark.parametrize(
    ("header", "bounds"),
    [
        (f"bytes=0-{HUGE}", [(0, 10)]),
        (f"bytes=3-{HUGE}", [(3, 10)]),
        (f"bytes=-{HUGE}", [(0, 10)]),
        (f"bytes={'0' * 5000}3-{'0' * 5000}4", [(3, 5)]),
        (f"bytes=0-0,{HUGE}-", [(0, 1)]),
        (f"bytes=0-0,{HUGE}-{HUGE}", [(0, 1)]),
        ("bytes=0-9223372036854775807", [(0, 10)]),
        ("bytes=-18446744073709551616", [(0, 10)]),
    ],
)
def test_numbers_of_any_length_are_read(header: str, bounds: list[tuple[int, int]]) -> None:
    assert bounds_of(header, 10) == bounds


@pytest.mark.parametrize(
    "header", [f"bytes={HUGE}-", f"bytes={HUGE}-{HUGE}", "bytes=18446744073709551616-"]
)
def test_a_huge_first_position_is_past_the_end(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        parse_range(header, 10)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("5", "4"),
        ("1000000000000000000", "999999999999999999"),
        ("1000000000000000001", "1000000000000000000"),
        (f"1{HUGE}", HUGE),
    ],
)
def test_a_last_position_before_the_first_is_broken_at_any_length(first: str, last: str) -> None:
    assert parse_range(f"bytes=0-0,{first}-{last}", 10) is None


@pytest.mark.parametrize("size", [2**32, 2**53 + 1, 10**18])
def test_offsets_in_large_contents_are_exact(size: int) -> None:
    assert bounds_of(f"bytes={size - 2}-{size - 1}", size) == [(size - 2, size)]
    assert bounds_of("bytes=-1", size) == [(size - 1, size)]
    assert bounds_of(f"bytes=-{size - 1}", size) == [(1, size)]
    with pytest.raises(RangeNotSatisfiable):
        parse_range(f"bytes={size}-", size)


def test_as_many_ranges_as_possible_are_served() -> None:
    texts = [f"{3 * place}-{3 * place}" for place in range(MAX_RANGES)]
    assert bounds_of(header_of(texts), 1000) == [
        (3 * place, 3 * place + 1) for place in range(MAX_RANGES)
    ]


def test_empty_elements_are_no_ranges() -> None:
    assert bounds_of("bytes=" + "," * 10 * MAX_RANGES + "0-0", 10) == [(0, 1)]


@pytest.mark.parametrize("text", ["0-0", "0-", "-1", "500-"])
def test_with_one_range_more_none_counts(text: str) -> None:
    assert bounds_of(header_of(["1-1"] * MAX_RANGES), 10) == [(1, 2)]
    assert parse_range(header_of([text] * (MAX_RANGES + 1)), 10) is None


@pytest.mark.parametrize(
    ("bounds", "size", "header"),
    [
        (ByteRange(0, 500), 1234, "bytes 0-499/1234"),
        (ByteRange(734, 1234), 1234, "bytes 734-1233/1234"),
        (ByteRange(0, 1), 1, "bytes 0-0/1"),
    ],
)
def test_content_range(bounds: ByteRange, size: int, header: str) -> None:
    assert bounds.to_header(size) == header


@given(start=numbers, length=numbers)
def test_the_length_of_a_range_is_the_count_of_its_bytes(start: int, length: int) -> None:
    assert len(ByteRange(start, start + length)) == length
