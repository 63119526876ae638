"""The figures of subtrees are there, and say what they are of."""

from __future__ import annotations

from benchmarks.subtrees import rows


def test_each_figure_has_a_row() -> None:
    names = [row.split("|")[1].strip() for row in rows(runs=1)]
    assert names[:2] == ["merge of 16,384 values", "merge of 524,288 values"]
    assert names[-1] == "values of 8,192 KiB at a time"
