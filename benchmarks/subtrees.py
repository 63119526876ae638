"""How fast a digest is computed of chaining values, and new values of bytes, by numpy.

Each figure is the best of some runs, in seconds of one thread's processor time and, for two threads
at once, in MB/s by the clock.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks.machine import KIB, MB, describe_machine
from chunkstore.core.blake3_tree import VALUE_SIZE, TreeMerger, chaining_values
from chunkstore.core.chunking import DEFAULT_CHUNK_SIZE

_COUNTS = (16_384, 524_288)
_PAGE = 1024 * VALUE_SIZE
_BATCHES = tuple(size * KIB for size in (256, 1024, 2048, 4096, 8192))


def merge(values: bytes) -> None:
    """Merge values as they come from a store, by pages."""
    merger = TreeMerger()
    for start in range(0, len(values), _PAGE):
        merger.add(values[start : start + _PAGE])
    merger.digest()


def best(work: Callable[[], object], runs: int, clock: Callable[[], float]) -> float:
    """Return the least that `work` takes by a clock."""
    times = []
    for _ in range(runs):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def together(work: Callable[[], object], threads: int) -> None:
    """Do some work in several threads at once."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda _: work(), range(threads)))


def rows(runs: int) -> list[str]:
    """Return the rows of the table."""
    table = []
    for count in _COUNTS:
        took = best(partial(merge, os.urandom(count * VALUE_SIZE)), runs, time.thread_time)
        table.append(f"| merge of {count:,} values | {took:.4f} s | |")
    for size in _BATCHES:
        compute = partial(chaining_values, [(0, os.urandom(size))], DEFAULT_CHUNK_SIZE)
        one = size / best(compute, runs, time.thread_time)
        two = 2 * size / best(partial(together, compute, 2), runs, time.perf_counter)
        name = f"values of {size // KIB:,} KiB at a time"
        table.append(f"| {name} | {one / MB:.0f} MB/s | {two / MB:.0f} MB/s |")
    return table


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, metavar="N")
    options = parser.parse_args()
    print(f"{describe_machine()}\n")
    print("| work | one thread | two threads |\n| --- | --- | --- |")
    print("\n".join(rows(options.runs)))


if __name__ == "__main__":
    main()
