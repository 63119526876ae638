"""The benchmark of savings, on a corpus made up here."""

from __future__ import annotations

from pathlib import Path

from benchmarks.corpora import Corpus, rows_of

KIB = 1024


def fetch(folder: Path, release: str) -> None:
    (folder / "same").write_bytes(b"the same in each release " * 4 * KIB)
    (folder / "own").write_bytes(release.encode() * 4 * KIB)


def test_rows_tell_what_is_saved(tmp_path: Path) -> None:
    rows = rows_of(Corpus("made up", ("1", "2"), fetch), tmp_path, ["64KiB", "cdc"])
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["made up, file by file"] * 2 + ["made up, as tars"] * 2
    assert [row[1] for row in cells] == ["64KiB", "cdc"] * 2
    assert cells[0][2] == "208.0 KiB"
    assert cells[0][3] == "108.0 KiB (1.93)"
    assert all(float(cell.partition("(")[2].rstrip(")")) > 10 for cell in cells[0][4:6])
