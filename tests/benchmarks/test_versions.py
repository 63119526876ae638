"""The benchmark of versions of a folder."""

from __future__ import annotations

from pathlib import Path

from benchmarks.versions import run

KIB = 1024


def test_the_next_version_takes_what_was_changed(tmp_path: Path) -> None:
    first, second = run(tmp_path, size=4096 * KIB, files=2, changed=0.02)
    assert first.given == first.new == second.given == 4096 * KIB
    assert first.grown >= first.new
    # One piece of 64 KiB touches two chunks of 256 KiB at most.
    assert 256 * KIB <= second.new <= 512 * KIB
    assert second.grown < first.grown / 2
