"""What `--checksums` costs: `python -m benchmarks.checksums`.

Servers with the option and one without it are sent the same in turn, so that what else the machine
does falls on all: one large content, new to each, and many small ones. What is told is the ratio of
their rates to those without the option, of each repetition, then the median of these. Processor
time is that of the server.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.clients import open_clients, run
from benchmarks.dialects import CHUNKSTORE
from benchmarks.machine import GB, MB, describe_machine, seconds, write_random
from benchmarks.meters import process_tree, processor_seconds
from benchmarks.subjects import Running, Subject, chunkstore, running
from benchmarks.works.stage import SMALL_SIZE
from chunkstore.core.units import format_size, parse_size

_WITHOUT: Final = ""
_OPTIONS: Final = (_WITHOUT, "sha1", "md5", "md5,sha1")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; `large` is in bytes."""

    large: int = 512 * 1024**2
    small: int = 1000
    clients: int = 16
    repetitions: int = 7


@dataclass(slots=True)
class Outcome:
    """What came of one option in each repetition, of one large file or of many small ones.

    `rates` are bytes or files a second, `spent` the server's seconds for a byte or a file.
    """

    option: str
    rates: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checksums", description=__doc__)
    scale = Scale()
    parser.add_argument("--large", type=parse_size, default=scale.large, metavar="SIZE")
    parser.add_argument("--small", type=int, default=scale.small, metavar="N")
    parser.add_argument("--clients", type=int, default=scale.clients, metavar="N")
    parser.add_argument("--repetitions", type=int, default=scale.repetitions, metavar="N")
    scale = Scale(**vars(parser.parse_args()))
    print(f"{describe_machine()}; {scale.clients} clients\n")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        large, small = measure(Path(folder), scale)
    print("\n".join(table(large, f"PUT of {format_size(scale.large)}", MB, "MB/s", GB, "s/GB")))
    print()
    print("\n".join(table(small, f"PUT of {format_size(SMALL_SIZE)}", 1, "per s", 1000, "s/1,000")))


def measure(folder: Path, scale: Scale) -> tuple[list[Outcome], list[Outcome]]:
    """Measure large and small files in a folder for files."""
    large, small = ([Outcome(option) for option in _OPTIONS] for _ in range(2))
    source = folder / "source"
    with ExitStack() as stack:
        servers = [
            stack.enter_context(running(_subject(option), folder / f"{place}"))
            for place, option in enumerate(_OPTIONS)
        ]
        # The first repetition is not measured.
        for number in range(scale.repetitions + 1):
            write_random(source, scale.large)
            requests = _puts(number, scale.small)
            order = range(len(_OPTIONS))
            for place in order if number % 2 else reversed(order):
                server = servers[place]
                figures = (
                    _put_large(server, source, number),
                    _put_small(server, requests, scale.clients),
                )
                for outcome, (rate, spent) in zip((large, small), figures, strict=True):
                    if number:
                        outcome[place].rates.append(rate)
                        outcome[place].spent.append(spent)
    return large, small


def _subject(option: str) -> Subject:
    return chunkstore(option or "without", ["--checksums", option] if option else [])


def _puts(number: int, count: int) -> Sequence[bytes]:
    """Return requests for small files, each of another content."""
    tail = os.urandom(SMALL_SIZE - 8)
    return [
        CHUNKSTORE.put(f"small/{number}/{place}", SMALL_SIZE)[0] + place.to_bytes(8) + tail
        for place in range(count)
    ]


def _put_large(server: Running, source: Path, number: int) -> tuple[float, float]:
    size, tree = source.stat().st_size, process_tree(server.pid)
    spent = processor_seconds(tree)
    took = seconds(lambda: server.upload(f"large/{number}", source))
    return size / took, (processor_seconds(tree) - spent) / size


def _put_small(server: Running, requests: Sequence[bytes], clients: int) -> tuple[float, float]:
    opened = open_clients(server.port, requests, min(clients, len(requests)), None)
    tree = process_tree(server.pid)
    spent = processor_seconds(tree)
    took = seconds(lambda: run(opened))
    return len(requests) / took, (processor_seconds(tree) - spent) / len(requests)


def table(
    outcomes: Sequence[Outcome], title: str, unit: float, per: str, many: float, cost: str
) -> Iterator[str]:
    """Yield the lines of a table in Markdown: rates in `unit`, processor time for so `many`."""
    yield f"| `--checksums` | {title}, {per} | ratio | server, {cost} |"
    yield "| --- | --- | --- | --- |"
    without = outcomes[0].rates
    for outcome in outcomes:
        ratios = [one / base for one, base in zip(outcome.rates, without, strict=True)]
        yield (
            f"| {outcome.option or 'none'} | {statistics.median(outcome.rates) / unit:,.0f}"
            f" | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            f" | {statistics.median(outcome.spent) * many:.2f} |"
        )


if __name__ == "__main__":
    main()
