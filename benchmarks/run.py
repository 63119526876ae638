"""chunkstore and what people would pick instead, in one run: `python -m benchmarks`.

All servers are real processes on this machine.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Final, NoReturn

from benchmarks import plots, postgres, report, space
from benchmarks.figures import Results
from benchmarks.generator import default_processes, generating
from benchmarks.machine import GB, describe_machine, free_space
from benchmarks.peers import PEERS, all_subjects
from benchmarks.report import note
from benchmarks.space import Kept
from benchmarks.subjects import REFERENCE, Subject, Unavailable
from benchmarks.turns import pair, repeat_all
from benchmarks.works import TASKS
from benchmarks.works.growth import GROWTH
from benchmarks.works.stage import HUGE, SENT_FILES, Sizes, Stage
from chunkstore.core.units import format_size, parse_size

MIB: Final = 1024**2
SPACE: Final = "space"
# What is not collected yet, and what a store takes beside the contents.
_GROWN_OVERHEAD: Final = 1.3
_FULL: Final = {
    "large": 1024 * MIB, "huge": 10 * 1024 * MIB, "ranges": 1000, "first_bytes": 200,
    "clients": (1, 16, 64), "small_files": 5000, "slow": 64, "slow_seconds": 30,
    "names": (100_000,), "grown": 20 * GB, "grown_names": 1_000_000,
    "versions": 6, "version_size": 192 * MIB, "chunk_sizes": space.CHUNK_SIZES,
    "repetitions": 5, "within": 0,
}  # fmt: skip
_QUICK: Final = {
    "large": 24 * MIB, "huge": 64 * MIB, "ranges": 50, "first_bytes": 30,
    "clients": (1, 16, 64), "small_files": 96, "slow": 64, "slow_seconds": 4, "names": (1000,),
    "grown": 120 * MIB, "grown_names": 5000, "versions": 4, "version_size": 4 * MIB,
    "chunk_sizes": space.CHUNK_SIZES[::4], "repetitions": 3, "within": 120,
}  # fmt: skip


def main() -> None:
    """Run from the command line."""
    signal.signal(signal.SIGTERM, _end)
    options = _parse(sys.argv[1:])
    _check_plots(options.plots)
    results = Results()
    with (
        tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as folder,
        _available(options, results) as subjects,
    ):
        _check_space(Path(folder), options, subjects)
        machine = describe_machine()
        print(f"{machine}; generator processes: {options.processes}\n")
        _print(report.describe_subjects(subjects))
        rows = _measure(options, list(subjects), results, Path(folder))
        # Before the files are removed, which takes as long as some works.
        _print(report.tables(results))
        if rows:
            _print(report.space_table(rows))
        if options.plots:
            _plot(options.plots, results, rows)
        if options.json:
            told = {name: str(value) for name, value in vars(options).items()}
            report.write_json(options.json, machine, told, subjects, results, rows)
        _print(report.target_lines(results))


def _end(_number: int, _frame: object) -> NoReturn:
    # So that servers are ended, and files removed.
    raise SystemExit("ended by a signal")


def _print(lines: Iterator[str]) -> None:
    print("\n".join(lines), flush=True)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; those that are not given are the full run's, or the quick one's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    _add_choices(parser)
    _add_sizes(parser)
    quick = parser.parse_known_args(arguments)[0].quick
    parser.set_defaults(**(_QUICK if quick else _FULL))
    return parser.parse_args(arguments)


def _add_choices(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--quick", action="store_true", help="sizes for a run of a few minutes")
    add("--only", type=_tasks, default=[*TASKS, SPACE], metavar="WORK,…",
        help=", ".join([*TASKS, SPACE]))  # fmt: skip
    add("--subjects", type=_subjects, metavar="NAME,…",
        default=[REFERENCE, *(peer.name for peer in PEERS), *postgres.COMPARED],
        help=", ".join([*all_subjects(), *postgres.NAMES]))  # fmt: skip
    add("--baseline", type=Path, metavar="FOLDER",
        help="a checkout of an earlier version, which the baselines run")  # fmt: skip
    add("--repetitions", type=int, metavar="N")
    add("--within", type=float, metavar="SECONDS",
        help="begin no further repetition that would not end by then")  # fmt: skip
    add("--processes", type=int, default=default_processes(), metavar="N",
        help="of the load generator; default: half of the cores, 2 at least")  # fmt: skip
    add("--folder", type=Path, help="where files go; default: a temporary one")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--plots", type=Path, metavar="FOLDER", help="draw SVG files into it")


def _add_sizes(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--size", dest="large", type=parse_size, help="of the large file")
    add("--huge", type=parse_size, metavar="SIZE", help="of the huge file")
    add("--ranges", type=int, metavar="N", help="of 64 KiB, of the large file")
    add("--first-bytes", type=int, metavar="N", help="of ranges of the huge file")
    add("--clients", type=_numbers, metavar="N,…", help="of small files")
    add("--small-files", type=int, metavar="N", help="for each number of clients")
    add("--slow", type=int, metavar="N", help="downloads beside a fast one")
    add("--slow-seconds", type=float, metavar="N", help="for the fast one at most")
    add("--names", type=_numbers, metavar="N,…", help="in the folder that is listed")
    add("--grow-to", dest="grown", type=parse_size, metavar="SIZE",
        help="of a store that grows; 0: not by bytes")  # fmt: skip
    add("--grow-names", dest="grown_names", type=int, metavar="N", help="0: not by names")
    add("--versions", type=int, metavar="N", help="of the corpus that is kept")
    add("--version-size", type=parse_size, metavar="SIZE", help="of each of them")
    add("--corpus", type=Path, help="a folder with a folder for each version, instead")
    add("--chunk-sizes", type=_chunk_sizes, metavar="SIZE,…", help="for the corpus")


def _tasks(text: str) -> list[str]:
    return _names(text, {*TASKS, SPACE})


def _subjects(text: str) -> list[str]:
    return _names(text, {*all_subjects(), *postgres.NAMES})


def _names(text: str, known: set[str]) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - known:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _chunk_sizes(text: str) -> tuple[int, ...]:
    return tuple(parse_size(size) for size in text.split(","))


@contextmanager
def _available(options: argparse.Namespace, results: Results) -> Iterator[dict[Subject, str]]:
    """Return the subjects that can be had with their versions; say why others cannot."""
    with ExitStack() as stack:
        known = all_subjects(options.baseline)
        if not set(postgres.NAMES).isdisjoint(options.subjects):
            known |= stack.enter_context(postgres.on_postgres(options.baseline))
        found = dict[Subject, str]()
        for name in options.subjects:
            try:
                found[known[name]] = known[name].find_version()
            except Unavailable as reason:
                print(f"Skipped: {reason}")
                results.skipped[name, ""] = str(reason)
        yield found


def _check_plots(folder: Path | None) -> None:
    if folder is None:
        return
    if reason := plots.reason_not_to_plot():
        raise SystemExit(reason)
    folder.mkdir(parents=True, exist_ok=True)


def _check_space(folder: Path, options: argparse.Namespace, subjects: Iterable[Subject]) -> None:
    """Refuse what the disk cannot hold, before anything is written; let a store grow to less."""
    tasks = [TASKS[name] for name in options.only if name in TASKS]
    keeping = sum(not subject.plain_files for subject in subjects)
    most = max((task.large_files for task in tasks), default=0)
    large = options.large * (SENT_FILES + most + keeping) if most else 0
    huge = options.huge * 2.2 if any(HUGE in task.plants for task in tasks) else 0
    versions = options.versions * options.version_size * 3 if SPACE in options.only else 0
    needed, free = int(large + huge + versions) + 600 * MIB, free_space(folder)
    if free < needed:
        told = f"{format_size(needed)} are needed in {folder.parent}, {format_size(free)} are free"
        raise SystemExit(f"{told}: choose another --folder, or smaller sizes")
    room = int((free - needed) / _GROWN_OVERHEAD)
    if GROWTH in tasks and room < options.grown:
        print(f"Room for growth: {format_size(room)}, of {format_size(options.grown)} asked for.")
        options.grown = room


def _measure(
    options: argparse.Namespace, subjects: Sequence[Subject], results: Results, folder: Path
) -> list[Kept]:
    """Measure what the options ask for; files go to `folder`."""
    sized = [field.name for field in fields(Sizes) if field.name in _FULL]
    sizes = Sizes(**{name: getattr(options, name) for name in sized})
    rows = list[Kept]()
    tasks = [TASKS[name] for name in TASKS if name in options.only]
    with generating(options.processes) as generator:
        stage = Stage.build(folder, sizes, generator)
        # What has been measured is told also if the run is ended early.
        try:
            pairs = pair(stage, tasks, subjects, results)
            repeat_all(stage, pairs, options.repetitions, options.within, results)
            rows.extend(_keep(options, folder) if SPACE in options.only else ())
        except (KeyboardInterrupt, SystemExit):
            print("Ended early: what follows is what was measured until then.")
    return rows


def _keep(options: argparse.Namespace, folder: Path) -> Iterator[Kept]:
    corpus = options.corpus
    if corpus is None:
        corpus = folder / "corpus"
        space.make_versions(corpus, options.versions, options.version_size)
    note("versions, kept")
    for row in space.measure(corpus, folder, options.chunk_sizes):
        if isinstance(row, str):
            print(f"Skipped: {row}")
        else:
            yield row


def _plot(folder: Path, results: Results, rows: Sequence[Kept]) -> None:
    for name, panels in (
        ("clients", plots.clients_panels(results)),
        ("growth", plots.growth_panels(results)),
        ("saving", plots.saving_panels(rows)),
    ):
        if panels:
            plots.draw(folder / f"{name}.svg", panels)
            print(f"\nDrawn: {os.fspath(folder / name)}.svg")
