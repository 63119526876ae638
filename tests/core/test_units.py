"""Sizes and durations as people write them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chunkstore.core.units import (
    format_count,
    format_duration,
    format_exact_size,
    format_size,
    parse_duration_seconds,
    parse_size,
)

FACTORS = {
    "": 1,
    "B": 1,
    "bytes": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", start=1)},
    **{letter: 1024**power for power, letter in enumerate("KMGTP", start=1)},
}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1", 1),
        ("65536", 65536),
        ("65536 bytes", 65536),
        ("12B", 12),
        ("256KiB", 262_144),
        ("256 kib", 262_144),
        ("256k", 262_144),
        ("1MiB", 1_048_576),
        ("1m", 1_048_576),
        ("1.5 GiB", 1_610_612_736),
        ("2 GB", 2_000_000_000),
        ("2kB", 2000),
        ("0.5kB", 500),
        ("1.001kB", 1001),
        ("3PB", 3 * 10**15),
        ("1.0", 1),
        ("007", 7),
        ("  8  ", 8),
        ("8\tKiB", 8192),
        ("9007199254740993", 9_007_199_254_740_993),
        ("9007199254740993PiB", 9_007_199_254_740_993 * 1024**5),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "KiB",
        "-1",
        "+1",
        "1.5",
        "0.1KiB",
        "1.0001kB",
        "1e3",
        "0x10",
        "1,000",
        "1 000",
        "1_000",
        ".5KiB",
        "1.KiB",
        "1.2.3",
        "1KiBB",
        "1XB",
        "1EiB",
        "1 Ki B",
        "\u0663",
        "\u00b2",
        "inf",
        "nan",
    ],
)
def test_parse_size_refuses_what_is_no_whole_number_of_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@given(
    whole=st.integers(min_value=0, max_value=10**19),
    fraction=st.from_regex(r"[0-9]{0,6}", fullmatch=True),
    unit=st.sampled_from(sorted(FACTORS)),
)
@example(whole=1, fraction="001", unit="KB")
@example(whole=9_007_199_254_740_993, fraction="0", unit="")
def test_parse_size_is_exact(whole: int, fraction: str, unit: str) -> None:
    amount = f"{whole}.{fraction}" if fraction else str(whole)
    size = Fraction(amount) * FACTORS[unit]
    if size.denominator == 1:
        assert parse_size(amount + unit) == size
    else:
        with pytest.raises(ValueError, match="is not a size"):
            parse_size(amount + unit)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (262_144, "256.0 KiB"),
        (1023 * 1024, "1023.0 KiB"),
        (1_048_576, "1.0 MiB"),
        (1_048_575, "1.0 MiB"),
        (1_610_612_736, "1.5 GiB"),
        (1024**4, "1.0 TiB"),
        (1024**5, "1.0 PiB"),
        (2000 * 1024**5, "2000.0 PiB"),
    ],
)
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


@given(size=st.integers(min_value=0, max_value=2**53))
def test_format_size_is_right_to_a_tenth_of_its_unit(size: int) -> None:
    amount, unit = format_size(size).split(" ")
    assert abs(Fraction(amount) * FACTORS[unit] - size) <= Fraction(FACTORS[unit], 20)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1KiB"),
        (1536, "1536"),
        (64 * 1024 * 1024, "64MiB"),
        (2**40 + 1024, "1073741825KiB"),
    ],
)
def test_format_exact_size(size: int, text: str) -> None:
    assert format_exact_size(size) == text


@given(size=st.integers(min_value=0, max_value=2**64))
def test_format_exact_size_can_be_parsed(size: int) -> None:
    assert parse_size(format_exact_size(size)) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0.0", 0),
        ("30s", 30),
        ("1.5h", 5400),
        ("10m", 600),
        ("10 m", 600),
        ("250ms", 0.25),
        ("2d", 172_800),
        (" 1s ", 1),
    ],
)
def test_parse_duration_seconds(text: str, seconds: float) -> None:
    assert parse_duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "5",
        "0.5",
        "-1s",
        "1w",
        "1M",
        "1S",
        "1h30m",
        "1e3s",
        "inf",
        "nan",
        "1.s",
        ".5s",
        "\u0663s",
    ],
)
def test_parse_duration_refuses_anything_else(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_seconds(text)


@pytest.mark.parametrize("text", ["36501d", "99999999999999999999s"])
def test_parse_duration_refuses_what_no_time_can_have_passed_since(text: str) -> None:
    assert parse_duration_seconds("36500d") == 36_500 * 86_400
    with pytest.raises(ValueError, match="is more than 36500d"):
        parse_duration_seconds(text)


@given(milliseconds=st.integers(min_value=0, max_value=10**10))
def test_format_duration_can_be_parsed(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration_seconds(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.05, "50ms"), (1.5, "1500ms"), (90, "90s"), (3600, "1h"), (2_592_000, "30d")],
)
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 contents"), (1, "1 content"), (1000, "1,000 contents")]
)
def test_format_count(count: int, text: str) -> None:
    assert format_count(count, "content") == text
