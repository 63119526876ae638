"""chunkstore and what people would pick instead, in one run: `python -m benchmarks`.

All servers are real processes on this machine. The repetitions are the outer loop, the servers
the inner one, in another order each time: whatever else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NoReturn

from benchmarks import plots, report, space
from benchmarks.figures import Figure, Results
from benchmarks.generator import default_processes, generating
from benchmarks.machine import describe_machine, free_space
from benchmarks.peers import PEERS, all_subjects
from benchmarks.space import Kept
from benchmarks.subjects import REFERENCE, Running, Subject, Unavailable
from benchmarks.works import TASKS
from benchmarks.works.stage import HUGE, Sizes, Stage, Task
from benchmarks.works.uploads import UPLOAD
from chunkstore.core.units import format_size, parse_size

MIB: Final = 1024**2
Done = tuple[Task, Subject, Figure | Exception]
SPACE: Final = "space"
_FULL: Final = {
    "size": 1024 * MIB, "huge": 10 * 1024 * MIB, "ranges": 1000, "first_bytes": 200,
    "clients": (1, 16, 64), "small_files": 5000, "slow": 64, "slow_seconds": 30,
    "names": (100_000,), "versions": 6, "version_size": 192 * MIB,
    "chunk_sizes": space.CHUNK_SIZES, "repetitions": 5, "within": 0,
}  # fmt: skip
_QUICK: Final = {
    "size": 24 * MIB, "huge": 64 * MIB, "ranges": 50, "first_bytes": 30,
    "clients": (1, 16, 64), "small_files": 96, "slow": 64, "slow_seconds": 4, "names": (1000,),
    "versions": 4, "version_size": 4 * MIB, "chunk_sizes": space.CHUNK_SIZES[::4],
    "repetitions": 3, "within": 120,
}  # fmt: skip


def main() -> None:
    """Run from the command line."""
    end_on_signals()
    options = parse(sys.argv[1:])
    subjects = _available(options.subjects)
    _check_plots(options.plots)
    with tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as folder:
        _check_space(Path(folder), options)
        machine = describe_machine()
        print(f"{machine}; generator processes: {options.processes}\n")
        _print(report.describe_subjects(subjects))
        results, rows = measure(options, subjects, Path(folder))
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


def end_on_signals() -> None:
    """Let a run that is told to end end its servers, and remove its files."""
    signal.signal(signal.SIGTERM, _end)


def _end(_number: int, _frame: object) -> NoReturn:
    raise SystemExit("ended by a signal")


def _print(lines: Iterator[str]) -> None:
    print("\n".join(lines), flush=True)


def note(text: str) -> None:
    """Tell how far the run is, beside what it prints."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
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
        default=[REFERENCE, *(peer.name for peer in PEERS)],
        help=", ".join(all_subjects()))  # fmt: skip
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
    add("--size", type=parse_size, help="of the large file")
    add("--huge", type=parse_size, metavar="SIZE", help="of the huge file")
    add("--ranges", type=int, metavar="N", help="of 64 KiB, of the large file")
    add("--first-bytes", type=int, metavar="N", help="of ranges of the huge file")
    add("--clients", type=_numbers, metavar="N,…", help="of small files")
    add("--small-files", type=int, metavar="N", help="for each number of clients")
    add("--slow", type=int, metavar="N", help="downloads beside a fast one")
    add("--slow-seconds", type=float, metavar="N", help="for the fast one at most")
    add("--names", type=_numbers, metavar="N,…", help="in the folder that is listed")
    add("--versions", type=int, metavar="N", help="of the corpus that is kept")
    add("--version-size", type=parse_size, metavar="SIZE", help="of each of them")
    add("--corpus", type=Path, help="a folder with a folder for each version, instead")
    add("--chunk-sizes", type=_chunk_sizes, metavar="SIZE,…", help="for the corpus")


def _tasks(text: str) -> list[str]:
    return _names(text, {*TASKS, SPACE})


def _subjects(text: str) -> list[str]:
    return _names(text, set(all_subjects()))


def _names(text: str, known: set[str]) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - known:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _chunk_sizes(text: str) -> tuple[int, ...]:
    return tuple(parse_size(size) for size in text.split(","))


def _available(names: Sequence[str]) -> dict[Subject, str]:
    """Return the subjects that are installed with their versions; say why others are not."""
    known, found = all_subjects(), dict[Subject, str]()
    for name in names:
        try:
            found[known[name]] = known[name].find_version()
        except Unavailable as reason:
            print(f"Skipped: {reason}")
    return found


def _check_plots(folder: Path | None) -> None:
    if folder is None:
        return
    if reason := plots.reason_not_to_plot():
        raise SystemExit(reason)
    folder.mkdir(parents=True, exist_ok=True)


def _check_space(folder: Path, options: argparse.Namespace) -> None:
    """Refuse what the disk cannot hold, before anything is written."""
    large = options.size * 8
    plants = {plant for name in options.only if name in TASKS for plant in TASKS[name].plants}
    huge = options.huge * 2.2 if HUGE in plants else 0
    needed = int(large + huge + options.versions * options.version_size * 3) + 600 * MIB
    if (free := free_space(folder)) < needed:
        told = f"{format_size(needed)} are needed in {folder.parent}, {format_size(free)} are free"
        raise SystemExit(f"{told}: choose another --folder, or smaller sizes")


def measure(
    options: argparse.Namespace, subjects: Mapping[Subject, str], folder: Path
) -> tuple[Results, list[Kept]]:
    """Measure what the options, as `parse` returns them, ask for; files go to `folder`."""
    sizes = Sizes(
        large=options.size,
        huge=options.huge,
        ranges=options.ranges,
        first_bytes=options.first_bytes,
        clients=options.clients,
        small_files=options.small_files,
        slow=options.slow,
        slow_seconds=options.slow_seconds,
        names=options.names,
    )
    results, rows = Results(), list[Kept]()
    _tell_missing(results, options.subjects, subjects)
    tasks = [TASKS[name] for name in TASKS if name in options.only]
    with generating(options.processes) as generator:
        stage = Stage.build(folder, sizes, generator)
        # What has been measured is told also if the run is ended early.
        try:
            pairs = list(_pairs(stage, tasks, list(subjects), results))
            _repeat_all(stage, pairs, options, results)
            rows.extend(_keep(options, folder) if SPACE in options.only else ())
        except (KeyboardInterrupt, SystemExit):
            print("Ended early: what follows is what was measured until then.")
    return results, rows


def _repeat_all(
    stage: Stage,
    pairs: Sequence[tuple[Task, Subject]],
    options: argparse.Namespace,
    results: Results,
) -> None:
    begun = time.monotonic()
    for repetition in range(options.repetitions):
        spent = time.monotonic() - begun
        # Another one takes as long as each of those before it.
        if repetition and options.within and spent * (1 + 1 / repetition) > options.within:
            print(f"Repetitions: {repetition}, for there is no time for more (--within).")
            return
        note(f"repetition {repetition + 1} of {options.repetitions}")
        for task, subject, outcome in _repeat(stage, pairs, repetition):
            _take(results, repetition, task, subject, outcome)


def _take(
    results: Results, repetition: int, task: Task, subject: Subject, outcome: Figure | Exception
) -> None:
    if isinstance(outcome, Figure):
        results.add(subject.name, repetition, outcome)
    else:
        print(f"Failed: {task.about}, by {subject.name}: {outcome!r}")
        results.skipped[subject.name, task.name] = repr(outcome)


def _tell_missing(results: Results, wanted: Sequence[str], subjects: Mapping[Subject, str]) -> None:
    present = {subject.name for subject in subjects}
    for subject in all_subjects().values():
        if subject.name not in present:
            chosen = subject.name in wanted
            reason = f"not installed: {subject.package}" if chosen else "not among --subjects"
            results.skipped[subject.name, ""] = reason


def _pairs(
    stage: Stage, tasks: Sequence[Task], subjects: Sequence[Subject], results: Results
) -> Iterator[tuple[Task, Subject]]:
    """Yield each task and subject that go together, when all that these need is there."""
    if any(task.name == UPLOAD.name for task in tasks):
        stage.version()
    for subject in subjects:
        able = []
        for task in tasks:
            if reason := task.refuses(subject):
                print(f"Skipped: {task.about}, by {subject.name}: {reason}")
                results.skipped[subject.name, task.name] = reason
            else:
                able.append(task)
        if plants := dict.fromkeys(plant for task in able for plant in task.plants):
            note(f"preparing {subject.name}")
            stage.plant(subject, plants)
        yield from ((task, subject) for task in able)


def _repeat(stage: Stage, pairs: Sequence[tuple[Task, Subject]], repetition: int) -> Iterator[Done]:
    """Do all tasks once, those on fresh folders first; each subject's in one run of its server."""
    for planted in (False, True):
        mine = [(task, subject) for task, subject in pairs if bool(task.plants) is planted]
        subjects = list(dict.fromkeys(subject for _, subject in mine))
        turn = repetition % max(1, len(subjects))
        for subject in [*subjects[turn:], *subjects[:turn]]:
            tasks = [task for task, one in mine if one is subject]
            yield from _serve(stage, subject, tasks)


def _serve(stage: Stage, subject: Subject, tasks: Sequence[Task]) -> Iterator[Done]:
    plants = list(dict.fromkeys(plant for task in tasks for plant in task.plants))
    with ExitStack() as stack:
        server: Running | None = None
        for task in tasks:
            # One that fails is told of, and keeps no other from being measured.
            try:
                server = server or stack.enter_context(stage.serving(subject, plants))
                note(f"{subject.name}: {task.about}")
                for figure in task.measure(stage, server):
                    yield task, subject, figure
            except (OSError, RuntimeError) as error:
                yield task, subject, error


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
        ("saving", plots.saving_panels(rows)),
    ):
        if panels:
            plots.draw(folder / f"{name}.svg", panels)
            print(f"\nDrawn: {os.fspath(folder / name)}.svg")
