"""Figures in Prometheus' text format, which the processes of a server count in shared memory.

A `Board` is made before the processes are forked: a slot for each of them, a row of 64 bits for
each number of a slot. A process writes to its own slot only, so nothing is locked; whoever is asked
adds all slots up. A process that takes the place of one that died goes on with its slot, so
counters never fall.

Which series there can be is fixed when the board is made: no client can make one.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final, TypeAlias

import numpy as np

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MICROSECOND: Final = 1e-6
_ROW_SIZE: Final = 8

Labels: TypeAlias = tuple[str, ...]
Rows: TypeAlias = Sequence[int]


class Kind(StrEnum):
    """What a family is of, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """Series of one name: one for each of `series`, the values of `labels`.

    A number is in steps of `unit`. Gauges of several processes are added up, or the `largest`
    counts. Where `shows_zero` is off, a series is shown once it has another value. `bounds` are the
    upper ones of a histogram's buckets; its last two rows are what is above these, and the sum.
    """

    name: str
    kind: Kind
    help: str
    labels: Labels = ()
    series: tuple[Labels, ...] = ((),)
    unit: float = 1
    bounds: tuple[float, ...] = ()
    largest: bool = False
    shows_zero: bool = True

    @property
    def width(self) -> int:
        """How many rows a series has."""
        return len(self.bounds) + 2 if self.kind is Kind.HISTOGRAM else 1


class Slot:
    """What one process counts: `rows`, and where in them each family begins."""

    def __init__(self, rows: memoryview, firsts: Mapping[str, tuple[Family, int]]) -> None:
        self.rows = rows
        self._firsts = firsts

    def first(self, name: str) -> int:
        """Return the row at which the family of this name begins."""
        return self._firsts[name][1]

    def row(self, name: str, *labels: str) -> int:
        """Return the first row of a series."""
        family, first = self._firsts[name]
        return first + family.series.index(labels) * family.width

    def observe(self, row: int, family: Family, value: float) -> None:
        """Count a value in the histogram that begins at `row`."""
        self.rows[row + bisect_left(family.bounds, value)] += 1
        self.rows[row + len(family.bounds) + 1] += int(value / family.unit)


class Board:
    """What `slots` processes count, which are forked when it has been made."""

    def __init__(self, families: Sequence[Family], slots: int = 1) -> None:
        self._families = families
        self._firsts: dict[str, tuple[Family, int]] = {}
        rows = 0
        for family in families:
            self._firsts[family.name] = family, rows
            rows += len(family.series) * family.width
        self._rows = rows
        self._slots = slots
        # Anonymous and shared: it has no file that could stay behind, and pages that no process
        # writes to take no memory.
        self._memory = mmap.mmap(-1, _ROW_SIZE * rows * slots)

    def slot(self, number: int) -> Slot:
        """Return the slot of a process that begins, whose predecessor's gauges count no more."""
        size = _ROW_SIZE * self._rows
        begin = number * size
        rows = memoryview(self._memory)[begin : begin + size].cast("Q")
        for family, first in self._firsts.values():
            if family.kind is Kind.GAUGE:
                for row in range(first, first + len(family.series)):
                    rows[row] = 0
        return Slot(rows, self._firsts)

    def lines(self) -> Iterator[str]:
        """Yield the lines of all families, as they are now."""
        table = np.frombuffer(self._memory, np.uint64).reshape(self._slots, self._rows)
        added, largest = table.sum(axis=0), table.max(axis=0)
        for family, first in self._firsts.values():
            stop = first + len(family.series) * family.width
            rows = (largest if family.largest else added)[first:stop].reshape(-1, family.width)
            yield from head_of(family)
            # Nearly all of the many series of requests are zero.
            shown = range(len(rows)) if family.shows_zero else np.flatnonzero(rows.any(axis=1))
            for number in shown:
                yield from _lines_of(family, family.series[number], rows[number].tolist())


def head_of(family: Family) -> Iterator[str]:
    """Yield the lines that say what a family is."""
    yield f"# HELP {family.name} {family.help}"
    yield f"# TYPE {family.name} {family.kind}"


def line_of(name: str, names: Labels, labels: Labels, value: float) -> str:
    """Return the line of one number; labels have no quote, backslash or line end."""
    within = ",".join(f'{key}="{label}"' for key, label in zip(names, labels, strict=True))
    return f"{name}{{{within}}} {value:.16g}" if within else f"{name} {value:.16g}"


def _lines_of(family: Family, labels: Labels, values: Rows) -> Iterator[str]:
    if family.kind is not Kind.HISTOGRAM:
        yield line_of(family.name, family.labels, labels, values[0] * family.unit)
        return
    *counts, total = values
    bounds = (*(f"{bound:g}" for bound in family.bounds), "+Inf")
    below = list(accumulate(counts))
    for bound, count in zip(bounds, below, strict=True):
        yield line_of(f"{family.name}_bucket", (*family.labels, "le"), (*labels, bound), count)
    yield line_of(f"{family.name}_sum", family.labels, labels, total * family.unit)
    yield line_of(f"{family.name}_count", family.labels, labels, below[-1])
