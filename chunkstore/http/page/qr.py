"""QR codes, as the path of an SVG: dark squares of size 1 on a light ground."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final

import segno

# ISO/IEC 18004: so many light squares around it, or readers do not find it.
_MARGIN: Final = 4


@dataclass(frozen=True, slots=True)
class QrCode:
    """A QR code that is `size` units wide and high, and is all that `path` fills."""

    size: int
    path: str


def qr_code(text: str) -> QrCode:
    """Return the QR code of a text."""
    rows = segno.make_qr(text, error="m").matrix
    parts = []
    for y, row in enumerate(rows, _MARGIN):
        x = _MARGIN
        for is_dark, run in groupby(row):
            width = len(list(run))
            if is_dark:
                parts.append(f"M{x} {y}h{width}v1h-{width}z")
            x += width
    return QrCode(len(rows) + 2 * _MARGIN, "".join(parts))
