"""How cost grows with what is stored: `python -m benchmarks.growth`.

A store grows with incompressible bytes up to `--to`, and by tiny files up to `--names`. At marks on
the way some are put and got: what that costs is to stay the same, however much is there. Files of
`--probe` bytes are uploaded as new and as known, downloaded, and 64 KiB ranges of random files are
looked up. Between the marks of names, forms of 1,000 files fill the store, which costs one
transaction each.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from benchmarks import load, plots
from benchmarks.generator import Requests, default_processes, generating
from benchmarks.machine import GB, MB, describe_machine, free_space, seconds, write_random
from benchmarks.run import MIB, end_on_signals, note
from benchmarks.subjects import Running, chunkstore, running
from benchmarks.works.stage import RANGE_SIZE, SMALL_SIZE
from chunkstore.core.units import format_size, parse_size

_SEED: Final = 20260103
_CLIENTS: Final = 16
# What SQLite takes beside the contents, and the log.
_OVERHEAD: Final = 1.05
_SPARE: Final = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Mark:
    """What some work came to with so much in the store: bytes, or names."""

    stored: int
    work: str
    rate: float


class BytesGrowth:
    """A store that grows by files of `probe` bytes, and what it does at its marks."""

    def __init__(self, server: Running, folder: Path, probe: int, lookups: int) -> None:
        self._server = server
        self._source = folder / "source"
        self._probe = probe
        self._lookups = lookups
        self._stored = 0
        self._names: list[str] = []
        self._random = Random(_SEED)

    def run(self, marks: Sequence[int]) -> Iterator[Mark]:
        """Fill up to each mark and yield what the works come to there."""
        for mark in marks:
            while self._stored < mark:
                self._put()
            yield from self._measure()

    def _put(self) -> float:
        """Upload a file nothing of which is known; return its seconds."""
        write_random(self._source, self._probe)
        self._names.append(f"grown{len(self._names):06}")
        taken = self._upload(self._names[-1])
        self._stored += self._probe
        return taken

    def _upload(self, name: str) -> float:
        return seconds(partial(load.upload, self._server.port, name, self._source))

    def _measure(self) -> Iterator[Mark]:
        stored, size = self._stored, self._probe / MB
        yield Mark(stored, "upload of new bytes, MB/s", size / self._put())
        yield Mark(stored, "upload of known bytes, MB/s", size / self._upload("known"))
        get = partial(load.download, self._server.port, self._names[-1], self._probe)
        yield Mark(stored, "download, MB/s", size / seconds(get))
        yield Mark(stored, "64 KiB ranges of random files, 1/s", self._lookups / self._look_up())

    def _look_up(self) -> float:
        size = min(RANGE_SIZE, self._probe)
        taken = 0.0
        with load.connect(self._server.port) as connection:
            for _ in range(self._lookups):
                name = self._random.choice(self._names)
                start = self._random.randrange(self._probe - size + 1)
                request = self._server.subject.dialect.get(name, start, start + size)
                taken += load.exchange(connection, request, size)[0].last
        return taken


def names_growth(server: Running, marks: Sequence[int], count: int) -> Iterator[Mark]:
    """Fill by names up to each mark, and yield the rates of `count` puts and gets there."""
    random, stored = Random(_SEED), 0
    dialect = server.subject.dialect
    with generating(default_processes()) as generator:
        for mark in marks:
            for batch in load.batches([f"{number:08}" for number in range(stored, mark)]):
                load.put_form(server.port, "grown", [(name, os.urandom(64)) for name in batch])
            stored = mark
            names = [f"probe/{mark}-{number}" for number in range(count)]
            put = Requests(server.port, dialect, "PUT", names, SMALL_SIZE, _CLIENTS)
            work = f"4 KiB files, {_CLIENTS} clients, 1/s"
            yield Mark(stored, f"PUT of {work}", count / generator.burst(put).seconds)
            random.shuffle(names)
            get = Requests(server.port, dialect, "GET", names, SMALL_SIZE, _CLIENTS)
            yield Mark(stored, f"GET of {work}", count / generator.burst(get).seconds)


def spaced(last: int, steps: int) -> list[int]:
    """Return `steps` + 1 marks from nothing to `last`."""
    return [last * step // steps for step in range(steps + 1)]


def table(title: str, marks: Sequence[Mark], unit: str, divisor: float) -> Iterator[str]:
    """Yield a Markdown table: a row for each mark, a column for each work, and the change."""
    works = list(dict.fromkeys(mark.work for mark in marks))
    yield f"\n### {title}\n"
    yield f"| {unit} | {' | '.join(works)} |\n|{' --- |' * (len(works) + 1)}"
    for stored in dict.fromkeys(mark.stored for mark in marks):
        rates = [mark.rate for mark in marks if mark.stored == stored]
        amount = f"{stored / divisor:,.1f}".removesuffix(".0")
        yield f"| {amount} | {' | '.join(f'{rate:,.1f}' for rate in rates)} |"
    changes = [_change([mark.rate for mark in marks if mark.work == work]) for work in works]
    yield f"| last half against first half | {' | '.join(changes)} |"


def _change(rates: Sequence[float]) -> str:
    half = max(1, len(rates) // 2)
    first, last = rates[:half], rates[-half:]
    return f"{sum(last) / sum(first):.2f}"


def _panel(title: str, marks: Sequence[Mark], unit: str, divisor: float) -> plots.Panel:
    works = dict.fromkeys(mark.work for mark in marks)
    curves = [
        plots.Curve(
            work, [(mark.stored / divisor, mark.rate) for mark in marks if mark.work == work]
        )
        for work in works
    ]
    return plots.Panel(title, unit, "MB/s, or requests/s", curves, "y")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    add = parser.add_argument
    add("--to", type=parse_size, default=20 * GB, help="0: not by bytes; default: 20 GB")
    add("--probe", type=parse_size, default=256 * MIB, help="of each file")
    add("--lookups", type=int, default=500, help="of ranges at each mark")
    add("--names", type=int, default=1_000_000, help="0: not by names")
    add("--small-files", type=int, default=2000, help="at each mark of names")
    add("--steps", type=int, default=10, help="marks between nothing and all")
    add("--options", default="", help="of `chunkstore serve`, in one argument")
    add("--folder", type=Path, help="where files go; default: a temporary one")
    add("--json", type=Path, metavar="FILE")
    add("--plots", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.plots and (reason := plots.reason_not_to_plot()):
        parser.error(reason)
    return options


def held_by_disk(folder: Path, wanted: int) -> int:
    """Return `wanted` bytes, or how many the disk holds, and say so."""
    room = max(0, int((free_space(folder) - _SPARE) / _OVERHEAD))
    if room < wanted:
        print(f"The disk holds {format_size(room)} of {format_size(wanted)}: growing to that.")
    return min(room, wanted)


def _grow(options: argparse.Namespace, folder: Path) -> tuple[list[Mark], list[Mark]]:
    subject = chunkstore(options=options.options.split())
    by_bytes: list[Mark] = []
    by_names: list[Mark] = []
    if options.to:
        marks = spaced(held_by_disk(folder, options.to), options.steps)
        with running(subject, folder / "bytes") as server:
            growth = BytesGrowth(server, folder, options.probe, options.lookups)
            by_bytes = _told(growth.run(marks))
    if options.names:
        with running(subject, folder / "names") as server:
            marks = spaced(options.names, options.steps)
            by_names = _told(names_growth(server, marks, options.small_files))
    return by_bytes, by_names


def _told(marks: Iterator[Mark]) -> list[Mark]:
    done = []
    for mark in marks:
        note(f"{mark.stored:,}: {mark.work}: {mark.rate:.1f}")
        done.append(mark)
    return done


def main() -> None:
    """Run from the command line."""
    end_on_signals()
    options = _parse()
    with tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as folder:
        by_bytes, by_names = _grow(options, Path(folder))
    print(describe_machine())
    shown = [("By bytes", by_bytes, "GB stored", GB), ("By names", by_names, "names stored", 1)]
    shown = [one for one in shown if one[1]]
    for one in shown:
        print("\n".join(table(*one)))
    if options.json:
        told = {"bytes": by_bytes, "names": by_names}
        text = {name: [asdict(mark) for mark in marks] for name, marks in told.items()}
        options.json.write_text(json.dumps({"machine": describe_machine(), **text}, indent=1))
    if options.plots:
        options.plots.mkdir(parents=True, exist_ok=True)
        plots.draw(options.plots / "growth.svg", [_panel(*one) for one in shown])
        print(f"\nDrawn: {options.plots / 'growth.svg'}")


if __name__ == "__main__":
    main()
