"""Each benchmark runs, tiny, so that none is broken when it is needed."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.targets import BOUNDS, TARGETS
from tests.postgres import Programs

ROOT = Path(__file__).parents[2]
TINY = shlex.split(
    "--size 1MiB --huge 2MiB --ranges 4 --first-bytes 4 --clients 1,3 --small-files 6 --slow 2"
    " --names 200 --repetitions 1 --versions 2 --version-size 256KiB --chunk-sizes 64KiB"
    " --processes 2 --subjects chunkstore,nginx,uploadserver"
)
WORKS = [
    "upload-new", "upload-known", "upload-version", "put-1", "get-1", "put-3", "get-3", "start",
    "download", "ranges", "first-byte", "list-first-200", "list-100-200", "beside-slow",
]  # fmt: skip


def run(module: str, folder: Path, *options: str) -> str:
    """Run a benchmark whose files go to `folder`; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--folder", str(folder), *options],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder, beside what a benchmark is told to write."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def plots(tmp_path: Path) -> list[str]:
    """Return options that ask for plots, if they can be drawn here."""
    return ["--plots", str(tmp_path)] if importlib.util.find_spec("matplotlib") else []


def test_the_benchmark_tells_every_figure_and_target(tmp_path: Path, folder: Path) -> None:
    told = tmp_path / "told.json"
    drawn = plots(tmp_path)
    printed = run("benchmarks", folder, *TINY, "--json", str(told), *drawn)
    assert "Failed" not in printed
    results = json.loads(told.read_text())
    mine = [figure for figure in results["figures"] if figure["subject"] == "chunkstore"]
    assert list(dict.fromkeys(figure["work"] for figure in mine)) == WORKS
    # What was sent once is not kept again.
    assert value(mine, "upload-new", "kept/given") > 0.9
    assert value(mine, "upload-known", "kept/given") < 0.1
    assert all(f"### {figure['title']}\n" in printed for figure in mine)
    peers = {*results["subjects"]} - {"chunkstore"}
    assert {ratio["against"] for ratio in results["ratios"]} == peers
    assert all(ratio["low"] <= ratio["median"] <= ratio["high"] for ratio in results["ratios"])
    lines = printed.partition("### Targets")[2].splitlines()
    assert sum(line.startswith("- ") for line in lines) == len(TARGETS) + len(BOUNDS)
    assert "2 versions, kept" in printed
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == (
        ["clients.svg", "saving.svg"] if drawn else []
    )


def value(figures: list[dict[str, object]], work: str, quantity: str) -> float:
    """Return the median of one figure."""
    [figure] = [one for one in figures if (one["work"], one["quantity"]) == (work, quantity)]
    assert isinstance(figure["median"], float)
    return figure["median"]


def test_growth_tells_each_work_at_each_mark(tmp_path: Path, folder: Path) -> None:
    told = tmp_path / "told.json"
    sizes = shlex.split("--to 2MiB --probe 512KiB --lookups 4 --names 20 --small-files 4 --steps 2")
    drawn = plots(tmp_path)
    printed = run("benchmarks.growth", folder, *sizes, "--json", str(told), *drawn)
    marks = json.loads(told.read_text())
    assert [mark["stored"] for mark in marks["names"]] == [0, 0, 10, 10, 20, 20]
    assert len(marks["bytes"]) == 3 * 4
    assert all(mark["rate"] > 0 for mark in [*marks["names"], *marks["bytes"]])
    assert "### By bytes" in printed
    assert (tmp_path / "growth.svg").exists() == bool(drawn)


def test_stalls_tell_the_rate_and_the_waits_of_each_repetition(folder: Path) -> None:
    printed = run(
        "benchmarks.stalls", folder, *shlex.split("--size 3MiB --files 2 --repetitions 2")
    )
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines()[-2:]]
    for rate, count, longest, percentile in rows:
        assert min(float(rate), float(count)) > 0
        assert float(longest) >= float(percentile) - 1 > -1


def test_the_databases_are_measured_side_by_side(folder: Path, postgres_programs: Programs) -> None:
    sizes = shlex.split("--size 1MiB --ranges 2 --clients 2 --small-files 4 --repetitions 1")
    printed = run("benchmarks.databases", folder, *sizes)
    assert "Failed" not in printed
    for subject in ("chunkstore", *(f"on PostgreSQL, {n} worker" for n in (1, 2, 4))):
        assert sum(line.startswith(f"| {subject}") for line in printed.splitlines()) > 4
