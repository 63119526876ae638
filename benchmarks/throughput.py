"""How fast this server takes files and gives them back.

`chunkstore serve` runs as a process of its own with its defaults, so every upload is timed until
the server has answered, that is until it is synced to disk, and every download has each chunk's
digest checked. The load comes from the same machine and takes its part of the processor.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import load
from chunkstore.units import format_size, parse_size
from tests.process import ServerProcess, served

MB: Final = 1_000_000
SMALL_SIZE: Final = 4096


@dataclass(frozen=True, slots=True)
class Result:
    """One figure: `rates` of each repetition, in `unit`."""

    work: str
    unit: str
    rates: tuple[float, ...]

    def row(self) -> str:
        """Return the figure as a row of a Markdown table."""
        low, median, high = min(self.rates), statistics.median(self.rates), max(self.rates)
        return f"| {self.work} | {median:,.0f} {self.unit} | {low:,.0f} to {high:,.0f} |"


def run(size: int, small_files: int, clients: int, repetitions: int, folder: Path) -> list[Result]:
    """Measure; `size` is that of the large file in bytes. Files go to `folder`."""
    source = folder / "content"
    figures: dict[tuple[str, str], list[float]] = {}
    for _ in range(repetitions):
        write_random(source, size)
        with _fresh_server(folder) as server:
            for work, unit, rate in _measure(server, source, size, small_files, clients):
                figures.setdefault((work, unit), []).append(rate)
    return [Result(work, unit, tuple(rates)) for (work, unit), rates in figures.items()]


def _measure(
    server: ServerProcess, source: Path, size: int, small_files: int, clients: int
) -> Iterator[tuple[str, str, float]]:
    shown = format_size(size)
    upload = partial(load.upload, server.port)
    yield f"upload of {shown}, new", "MB/s", size / MB / _seconds(partial(upload, "a", source))
    yield f"upload of {shown}, known", "MB/s", size / MB / _seconds(partial(upload, "b", source))
    yield (
        f"download of {shown}",
        "MB/s",
        size / MB / _seconds(partial(load.download, server.port, "a", size)),
    )
    names = [f"small/{index}" for index in range(small_files)]
    contents = [os.urandom(SMALL_SIZE) for _ in names]
    put = partial(load.put_many, server.port, names, contents, clients)
    get = partial(load.get_many, server.port, names, clients)
    kind = f"of 4 KiB files, {clients} clients"
    yield f"PUT {kind}", "files/s", small_files / _seconds(put)
    yield f"GET {kind}", "files/s", small_files / _seconds(get)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def _fresh_server(folder: Path) -> Iterator[ServerProcess]:
    with tempfile.TemporaryDirectory(dir=folder) as fresh, served(Path(fresh)) as server:
        yield server


def write_random(path: Path, size: int) -> None:
    """Write an incompressible file of `size` bytes, through to the disk."""
    with path.open("wb") as file:
        for start in range(0, size, MB):
            file.write(os.urandom(min(MB, size - start)))
        file.flush()
        os.fsync(file.fileno())


def describe_machine() -> str:
    """Return what the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (
        f"{os.cpu_count()} cores of {model}, {format_size(memory)} of memory, {platform.system()}"
        f" {platform.release()}, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}, {time.strftime('%Y-%m-%d')}"
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--size", type=parse_size, default=1024**3, help="of the large file")
    parser.add_argument("--small-files", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where files go; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        results = run(
            options.size,
            options.small_files,
            options.clients,
            options.repetitions,
            Path(folder),
        )
    print(f"{describe_machine()}\n")
    print("| work | median | of all repetitions |\n| --- | --- | --- |")
    for result in results:
        print(result.row())
