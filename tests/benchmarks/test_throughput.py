"""Each benchmark runs, tiny, so that none is broken when it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_prints_its_table(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--size", "2MiB", "--small-files", "20",
         "--repetitions", "1", "--folder", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "upload of 2.0 MiB, new",
        "upload of 2.0 MiB, known",
        "download of 2.0 MiB",
        "PUT of 4 KiB files, 16 clients",
        "GET of 4 KiB files, 16 clients",
    ]
    assert list(tmp_path.iterdir()) == []
