"""Byte ranges: which part of a file a Range header asks for (RFC 9110 §14).

The header is evaluated for the size of the file. It is ignored, and the whole file is sent,
when its unit is not bytes or it asks for more ranges than honest clients do (§14.2), or when it
breaks the grammar; it is refused when nothing that it asks for exists (§15.5.17). Ranges that
overlap or touch are merged (§15.3.7), so an answer is never longer than the file and the heads of
its parts (§17.15).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chunkstore.core.errors import RangeNotSatisfiable

# zsync and zchunk ask for as many at once.
MAX_RANGES: Final = 256
_SPEC: Final = re.compile(r"(?P<first>[0-9]*)-(?P<last>[0-9]*)", re.ASCII)
_SEPARATOR: Final = re.compile(r"[,\r\n]")
_MOST_DIGITS: Final = 18
_OVERSIZE: Final = 10**_MOST_DIGITS


@dataclass(frozen=True, slots=True, order=True)
class ByteRange:
    """The bytes `start` to `stop`, half-open, of a file."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def to_header(self, size: int) -> str:
        """Return the Content-Range value for a file of `size` bytes (RFC 9110 §14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_range(header: str | None, size: int) -> list[ByteRange] | None:
    """Return the ranges asked for, ascending and disjoint, or None for the whole file.

    `size` is the size of the file in bytes.

    Raises:
        RangeNotSatisfiable: no range lies within the file.
    """
    unit, separator, ranges_specifier = (header or "").partition("=")
    if not separator or unit.strip().lower() != "bytes":
        return None
    # RFC 9110 §5.6.1.2: a recipient ignores empty list elements.
    specs = [spec for part in ranges_specifier.split(",") if (spec := part.strip(" \t"))]
    if len(specs) > MAX_RANGES:
        return None
    wanted = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        bounds = _resolve(match["first"], match["last"], size)
        if bounds is None:
            return None
        wanted.append(bounds)
    if not wanted:
        return None
    return _merge_satisfiable(wanted, size)


def parse_spans(text: str, size: int, most: int) -> list[ByteRange]:
    """Return the ranges in a list like `0-99,200-`, ascending and disjoint.

    They are inclusive, as in a Range header, and separated by commas or line breaks; `size` is that
    of the file in bytes. A range may end behind it, not begin there.

    Raises:
        ValueError: there are more than `most`, or none, or one breaks the grammar.
        RangeNotSatisfiable: one lies outside of the file.
    """
    specs = [spec for part in _SEPARATOR.split(text, most + 1) if (spec := part.strip(" \t"))]
    if not 1 <= len(specs) <= most:
        raise ValueError(f"there are 1 to {most} ranges")
    wanted = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        bounds = _resolve(match["first"], match["last"], size) if match and match["first"] else None
        if bounds is None:
            raise ValueError("a range is FIRST-LAST or FIRST-")
        if not len(bounds):
            raise RangeNotSatisfiable(size)
        wanted.append(bounds)
    return _merge_satisfiable(wanted, size)


def _resolve(first: str, last: str, size: int) -> ByteRange | None:
    """Return the range as half-open numbers, None where the grammar is broken (§14.1.2)."""
    if not first:
        if not last:
            return None
        return ByteRange(max(0, size - _number(last)), size)
    start = _number(first)
    if not last:
        return ByteRange(start, max(start, size))
    if _is_less(last, first):
        return None
    return ByteRange(start, min(_number(last) + 1, max(start, size)))


def _is_less(digits: str, other: str) -> bool:
    """Compare numbers of any length, which int() does not take."""
    one, two = digits.lstrip("0"), other.lstrip("0")
    return (len(one), one) < (len(two), two)


def _number(digits: str) -> int:
    """Return the number; one too long to be an offset counts as larger than any file."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else _OVERSIZE


def _merge_satisfiable(wanted: Iterable[ByteRange], size: int) -> list[ByteRange]:
    merged: list[ByteRange] = []
    for bounds in sorted(bounds for bounds in wanted if len(bounds)):
        if merged and bounds.start <= merged[-1].stop:
            merged[-1] = ByteRange(merged[-1].start, max(merged[-1].stop, bounds.stop))
        else:
            merged.append(bounds)
    if not merged:
        raise RangeNotSatisfiable(size)
    return merged
