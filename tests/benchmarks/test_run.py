"""Each benchmark runs, tiny, so that none is broken when it is needed."""

from __future__ import annotations

import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.targets import TARGETS
from tests.postgres import Programs
from tests.programs import do_without

ROOT = Path(__file__).parents[2]
TINY = shlex.split(
    "--size 1MiB --huge 2MiB --ranges 4 --first-bytes 4 --clients 1,3 --small-files 6 --slow 2"
    " --names 200 --grow-to 3MiB --grow-names 40 --versions 2 --version-size 256KiB"
    " --chunk-sizes 64KiB --processes 2 --repetitions 1"
)
UPLOADS = ["upload-new", "upload-known", "upload-version"]
SMALL = ["put-1", "get-1", "hot-1", "put-3", "get-3", "hot-3"]
GROWTH = [
    *(f"growth-bytes-{work}" for work in ("new", "known", "download", "ranges")),
    *(f"growth-names-{work}" for work in ("form", "delete", "put", "get")),
]
WORKS = [
    "new-in-a-row", "new-at-once", "beside-put", "beside-get", "beside-small", *UPLOADS, *SMALL,
    *GROWTH, "start", "download", "ranges", "first-byte", "list-first-200", "list-100-200",
    "beside-slow",
]  # fmt: skip


class Run:
    """A tiny run with more `options`, whose files go to `folder`: what it printed and told."""

    def __init__(self, folder: Path, subjects: str, *options: str) -> None:
        told = folder.with_name("told.json")
        where = ("--folder", str(folder), "--json", str(told), "--subjects", subjects)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *where, *TINY, *options],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert list(folder.iterdir()) == []
        self.printed = done.stdout
        assert "Failed" not in self.printed
        self.told = json.loads(told.read_text())

    def works(self, subject: str) -> list[str]:
        """Return the works that a subject has figures of, in the order they were done in."""
        figures = self.told["figures"]
        return list(dict.fromkeys(one["work"] for one in figures if one["subject"] == subject))

    def median(self, subject: str, work: str, quantity: str) -> float:
        """Return the median of one figure."""
        [value] = [
            one["median"]
            for one in self.told["figures"]
            if (one["subject"], one["work"], one["quantity"]) == (subject, work, quantity)
        ]
        assert isinstance(value, float)
        return value


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
    drawn = plots(tmp_path)
    run = Run(folder, "chunkstore,nginx,uploadserver", *drawn)
    assert run.works("chunkstore") == WORKS
    # What was sent once is not kept again.
    assert run.median("chunkstore", "new-in-a-row", "kept/given") > 0.9
    assert run.median("chunkstore", "upload-new", "kept/given") > 0.9
    assert run.median("chunkstore", "upload-known", "kept/given") < 0.1
    assert all(f"### {figure['title']}\n" in run.printed for figure in run.told["figures"])
    peers = {*run.told["subjects"]} - {"chunkstore"}
    assert {ratio["against"] for ratio in run.told["ratios"]} == peers
    assert all(ratio["low"] <= ratio["median"] <= ratio["high"] for ratio in run.told["ratios"])
    lines = run.printed.partition("### Targets")[2].splitlines()
    assert sum(line.endswith((" met |", " MISSED |", " not measured |")) for line in lines) == len(
        TARGETS
    )
    assert "2 versions, kept" in run.printed
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == (
        ["clients.svg", "growth.svg", "saving.svg"] if drawn else []
    )


def test_a_peer_is_also_measured_with_a_sync_of_each_file(folder: Path) -> None:
    run = Run(folder, "chunkstore,uploadserver", "--only", "small", "--clients", "1")
    each = "requests/s, each durable"
    assert run.median("chunkstore", "put-1", each) == run.median(
        "chunkstore", "put-1", "requests/s until answered"
    )
    assert run.median("uploadserver", "put-1", each) > 0


def test_a_growing_store_is_measured_at_each_mark(folder: Path) -> None:
    run = Run(folder, "chunkstore", "--only", "growth", "--grow-to", "0", "--grow-names", "20")
    assert run.works("chunkstore") == GROWTH[4:]
    for work in GROWTH[4:]:
        assert run.median("chunkstore", work, "second half/first half") > 0
        marks = [run.median("chunkstore", work, f"at {names} names") for names in range(2, 22, 2)]
        assert all(rate > 0 for rate in marks)


def test_postgres_is_held_against_asyncpg_and_an_earlier_version(
    folder: Path, postgres_programs: Programs
) -> None:
    if not (ROOT / ".git").exists():
        do_without("this is no checkout, which could stand for an earlier version")
    subjects = "chunkstore-postgres,chunkstore-postgres-2,baseline-postgres,asyncpg"
    run = Run(folder, subjects, "--baseline", str(ROOT))
    for subject in subjects.split(",")[:3]:
        assert run.works(subject) == [*UPLOADS, *SMALL, "download", "ranges"]
    assert run.works("asyncpg") == [*UPLOADS, "download"]
    judged = {one["name"] for one in run.told["targets"] if one["met"] is not None}
    assert judged == {"PostgreSQL: new file", "PostgreSQL: download"}
