"""Sizes and durations as people write and read them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

_NUMBER: Final = r"(?P<amount>[0-9]{1,20}(?:\.[0-9]{1,20})?)"
_SIZE: Final = re.compile(rf"{_NUMBER}\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_SIZE_UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP: Final = 1024
_FACTORS: Final = {
    "": 1,
    "b": 1,
    **{unit.lower(): _STEP**power for power, unit in enumerate(_SIZE_UNITS)},
    **{unit[0].lower(): _STEP**power for power, unit in enumerate(_SIZE_UNITS) if power},
    **{f"{unit[0].lower()}b": 1000**power for power, unit in enumerate(_SIZE_UNITS) if power},
}
_DURATION: Final = re.compile(rf"{_NUMBER}\s*(?P<unit>ms|s|m|h|d|)")
_SECONDS: Final = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# So much can be subtracted from any date without leaving the calendar.
_MAX_DAYS: Final = 36_500


def parse_size(text: str) -> int:
    """Parse a size like `65536`, `256KiB` or `2 GB`; return it in bytes.

    Raises:
        ValueError: it is not a size in whole bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    factor = _FACTORS.get(match["unit"].lower()) if match else None
    if match is None or factor is None or (size := Fraction(match["amount"]) * factor) % 1:
        raise ValueError(f"{text!r} is not a size like 65536, 256KiB or 2GB")
    return int(size)


def format_size(size: int) -> str:
    """Return `size` bytes for people to read, rounded to a tenth of a unit."""
    amount = float(size)
    for unit in _SIZE_UNITS:
        if round(amount, 1) < _STEP or unit == _SIZE_UNITS[-1]:
            break
        amount /= _STEP
    return f"{size} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"


def format_exact_size(size: int) -> str:
    """Return `size` bytes as `parse_size` takes them, in the largest unit that divides them."""
    for unit in reversed(_SIZE_UNITS[1:]):
        if size and size % _FACTORS[unit.lower()] == 0:
            return f"{size // _FACTORS[unit.lower()]}{unit}"
    return str(size)


def format_count(count: int, noun: str) -> str:
    """Return a count and its noun, which is given in the singular."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def parse_duration_seconds(text: str) -> float:
    """Parse a duration like `30s`, `1.5h` or `10m`; return it in seconds. `0` needs no unit.

    Raises:
        ValueError: it is not a duration, or is more than 100 years.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not (match["unit"] or float(match["amount"]) == 0):
        raise ValueError(f"{text!r} is not a duration like 30s, 10m or 1h")
    seconds = float(match["amount"]) * _SECONDS[match["unit"]]
    if seconds > _MAX_DAYS * _SECONDS["d"]:
        raise ValueError(f"{text!r} is more than {_MAX_DAYS}d")
    return seconds


def format_duration(seconds: float) -> str:
    """Return a duration as `parse_duration_seconds` takes it, in the largest unit that fits."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    return f"{round(seconds * 1000)}ms" if seconds else "0s"
