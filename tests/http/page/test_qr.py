"""QR codes are drawn as they are made."""

from __future__ import annotations

import re

import segno
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.http.page.qr import qr_code


@given(st.text(min_size=1, max_size=200))
def test_the_path_fills_the_dark_squares_and_no_others(text: str) -> None:
    code = qr_code(text)
    drawn = set[tuple[int, int]]()
    for x, y, width, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", code.path):
        assert width == back
        drawn |= {(int(x) + at, int(y)) for at in range(int(width))}
    matrix = segno.make_qr(text, error="m").matrix
    dark = {(x + 4, y + 4) for y, row in enumerate(matrix) for x, cell in enumerate(row) if cell}
    assert drawn == dark
    assert code.size == len(matrix) + 8
