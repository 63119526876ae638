"""How long a small PUT waits beside large uploads: `python -m benchmarks.stalls`.

New files of `--size` bytes are uploaded one after another, without a pause between them, so that
the log is carried into the database again and again. Meanwhile one client puts new files of 4 KiB,
each when it has the answer to the one before. The rate is that of the large files together, from
the first byte sent until the last answer: sustained, not that of a burst into an empty log.
"""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import clients, load
from benchmarks.dialects import CHUNKSTORE
from benchmarks.machine import MB, describe_machine, seconds, write_random
from benchmarks.run import MIB, end_on_signals, note
from benchmarks.subjects import chunkstore, running
from benchmarks.works.stage import SMALL_SIZE
from chunkstore.core.units import format_size, parse_size

_MOST_WAIT: Final = 0.99


@dataclass(frozen=True, slots=True)
class Figures:
    """The rate of the large files in bytes a second, and the seconds that each small PUT took."""

    rate: float
    waits: Sequence[float]

    @property
    def longest(self) -> float:
        """The longest wait."""
        return max(self.waits)

    @property
    def percentile(self) -> float:
        """The wait that 99 of 100 small PUTs did not exceed."""
        return sorted(self.waits)[int(_MOST_WAIT * (len(self.waits) - 1))]


class SmallPuts:
    """A client on a thread of its own that puts small files until it is told to end."""

    def __init__(self, port: int) -> None:
        self._ended = threading.Event()
        self._client = clients.Client(port, self._requests(), None)
        self._waits: list[float] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _requests(self) -> Iterator[bytes]:
        number = 0
        while not number or not self._ended.is_set():
            before, after = CHUNKSTORE.put(f"small/{number}", SMALL_SIZE)
            yield before + os.urandom(SMALL_SIZE) + after
            number += 1

    def _run(self) -> None:
        self._waits = clients.run([self._client])

    def end(self) -> list[float]:
        """Return the seconds that each took, once the last is answered."""
        self._ended.set()
        self._thread.join()
        if not self._waits:
            raise RuntimeError("the small PUTs failed")
        return self._waits


def measure(folder: Path, sources: Sequence[Path], options: Sequence[str]) -> Figures:
    """Upload the files at `sources` to a new server beside small PUTs."""
    total = sum(source.stat().st_size for source in sources)
    with running(chunkstore(options=options), folder) as server:
        small = SmallPuts(server.port)
        try:
            taken = seconds(partial(_upload_all, server.port, sources))
        finally:
            waits = small.end()
    return Figures(total / taken, waits)


def _upload_all(port: int, sources: Sequence[Path]) -> None:
    for source in sources:
        load.upload(port, source.name, source)


def main() -> None:
    """Run from the command line."""
    end_on_signals()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalls", description=__doc__)
    add = parser.add_argument
    add("--size", type=parse_size, default=1024 * MIB, help="of each large file")
    add("--files", type=int, default=4, help="how many there are")
    add("--repetitions", type=int, default=3, help="each on a new store")
    add("--options", default="", help="of `chunkstore serve`, in one argument")
    add("--folder", type=Path, help="where files go; default: a temporary one")
    options = parser.parse_args()
    print(f"{describe_machine()}; {options.files} files of {format_size(options.size)}\n")
    print(
        "| sustained, MB/s | PUTs of 4 KiB | longest, ms | 99th percentile, ms |\n|" + " --- |" * 4
    )
    with tempfile.TemporaryDirectory(dir=options.folder, ignore_cleanup_errors=True) as folder:
        sources = [Path(folder, f"large{number}") for number in range(options.files)]
        for source in sources:
            write_random(source, options.size)
        for repetition in range(options.repetitions):
            note(f"repetition {repetition + 1} of {options.repetitions}")
            with tempfile.TemporaryDirectory(dir=folder) as place:
                figures = measure(Path(place), sources, shlex.split(options.options))
            print(
                f"| {figures.rate / MB:,.0f} | {len(figures.waits):,}"
                f" | {figures.longest * 1000:,.0f} | {figures.percentile * 1000:,.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
