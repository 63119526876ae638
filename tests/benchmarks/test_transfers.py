"""The benchmark of transfers runs, tiny, so that it is not broken when it is needed."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

from tests.programs import require_program

ROOT = Path(__file__).parents[2]
TINY = shlex.split(
    "--repetitions 1 --size 2MiB --files 20 --sparse 2MiB --rate 1000 --round-trip 1 --tools 0,1"
)
CLIENT, CURL = "chunkstore push, pull, sync", "curl"
PUSHES = {"push-new", "push-known", "push-known-cold", "pull-new"}
PUSHES |= {"tree-new", "tree-unchanged", "tree-changed"}


def test_all_works_come_to_figures(tmp_path: Path) -> None:
    require_program("curl")
    told, folder = tmp_path / "told.json", tmp_path / "files"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.transfers", *TINY,
         "--json", str(told), "--folder", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Failed" not in done.stdout
    assert list(folder.iterdir()) == []
    figures = json.loads(told.read_text())
    works = {
        name: {one["work"] for one in figures if one["subject"] == name} for name in (CLIENT, CURL)
    }
    assert works[CURL] == PUSHES
    assert works[CLIENT] == PUSHES | {"link-known", "link-changed", "pull-changed", "push-huge"}
    # What a link carried was counted: a chunk of the new version, and no more than that.
    [sent] = [
        one["median"]
        for one in figures
        if one["quantity"] == "sent/bound" and one["work"] == "link-changed"
    ]
    assert 0.5 < sent < 2
