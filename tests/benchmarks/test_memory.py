"""The memory of the server, on contents far larger than its budget would have to be."""

from __future__ import annotations

from pathlib import Path

from benchmarks.memory import run

MIB = 1024**2


def test_memory_does_not_grow_with_files_or_their_number(tmp_path: Path) -> None:
    figures = run(tmp_path, large=96 * MIB, count=64, each=2 * MIB)
    assert figures.one_large < 150 * MIB
    assert figures.many < 400 * MIB
    assert figures.growth < 0.01
