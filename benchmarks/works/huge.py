"""A huge file: the first byte of a range in it, and the start of a server that has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from benchmarks import load
from benchmarks.figures import SECONDS, Figure, Work, percentiles
from benchmarks.subjects import Running
from benchmarks.works.stage import HUGE, RANGE_SIZE, Stage, Task, refuse_without_ranges
from chunkstore.core.units import format_size


def measure_first_byte(stage: Stage, server: Running) -> Iterator[Figure]:
    """Wait for the first byte of random ranges, one after another."""
    size = min(RANGE_SIZE, stage.sizes.huge)
    title = f"first byte of a {format_size(size)} range in {format_size(stage.sizes.huge)}"
    work = Work("first-byte", title)
    starts = [
        stage.random.randrange(stage.sizes.huge - size + 1) for _ in range(stage.sizes.first_bytes)
    ]
    source, dialect = stage.source(HUGE), server.subject.dialect
    waits = load.read_ranges(server.port, HUGE, starts, size, source, dialect)
    for quantity, value in percentiles(waited.first for waited in waits).items():
        yield Figure(work, quantity, value)


def measure_start(stage: Stage, server: Running) -> Iterator[Figure]:
    """Tell how long the server took to answer for a file that it has."""
    work = Work("start", f"start with a file of {format_size(stage.sizes.huge)}")
    yield Figure(work, SECONDS, server.started)


FIRST_BYTE: Final = Task(
    "first-byte",
    "first byte of a range in a huge file",
    measure_first_byte,
    (HUGE,),
    refuses=refuse_without_ranges,
)
START: Final = Task("start", "start with a huge store", measure_start, (HUGE,))
