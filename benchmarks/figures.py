"""Figures of all repetitions, their medians, and the ratios of one subject to another."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.machine import GB
from benchmarks.meters import Usage


@dataclass(frozen=True, slots=True)
class Quantity:
    """What a figure is of. A ratio is made so that more is better, whichever way the figure is.

    `mark` is how much was stored then, of a figure that is taken again and again.
    """

    name: str
    decimals: int = 0
    more_is_better: bool = False
    mark: float | None = None


DURABLE: Final = Quantity("MB/s until durable", 1, more_is_better=True)
ANSWERED: Final = Quantity("MB/s until answered", 1, more_is_better=True)
RATE: Final = Quantity("MB/s", 1, more_is_better=True)
REQUESTS: Final = Quantity("requests/s", 0, more_is_better=True)
REQUESTS_DURABLE: Final = Quantity("requests/s until durable", 0, more_is_better=True)
REQUESTS_ANSWERED: Final = Quantity("requests/s until answered", 0, more_is_better=True)
REQUESTS_EACH: Final = Quantity("requests/s, each durable", 0, more_is_better=True)
MEDIAN: Final = Quantity("50th percentile, ms", 2)
P95: Final = Quantity("95th percentile, ms", 2)
P99: Final = Quantity("99th percentile, ms", 2)
LONGEST: Final = Quantity("longest, ms", 1)
SECONDS: Final = Quantity("seconds", 2)
PROCESSOR: Final = Quantity("processor s/GB", 2)
PROCESSOR_REQUEST: Final = Quantity("processor ms/request", 2)
GENERATOR: Final = Quantity("generator's ms/request", 2)
MEMORY: Final = Quantity("peak memory, MiB", 1)
WRITTEN: Final = Quantity("written/given", 2)
KEPT: Final = Quantity("kept/given", 2)
CHANGE: Final = Quantity("second half/first half", 2, more_is_better=True)


@dataclass(frozen=True, slots=True)
class Work:
    """Something that subjects do. `key` names it in JSON, `title` for people, with its sizes."""

    key: str
    title: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that one subject came to in one repetition."""

    work: Work
    quantity: Quantity
    value: float


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the repetitions, and the least and the most of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of some values."""
        return cls(statistics.median(values), min(values), max(values))

    def __format__(self, form: str) -> str:
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


class Results:
    """All figures: for each work, quantity and subject, one value of each repetition."""

    def __init__(self) -> None:
        self.skipped: dict[tuple[str, str], str] = {}
        self._values: dict[tuple[Work, Quantity, str], dict[int, float]] = {}

    def add(self, subject: str, repetition: int, figure: Figure) -> None:
        """Keep a figure."""
        values = self._values.setdefault((figure.work, figure.quantity, subject), {})
        values[repetition] = figure.value

    def works(self) -> list[Work]:
        """Return the works that have figures, in the order in which they were first done."""
        return list(dict.fromkeys(work for work, _, _ in self._values))

    def quantities(self, work: Work) -> list[Quantity]:
        """Return the quantities that a work has figures of; the first is what it is about."""
        return list(dict.fromkeys(quantity for done, quantity, _ in self._values if done == work))

    def subjects(self, work: Work) -> list[str]:
        """Return the subjects that did a work."""
        return list(dict.fromkeys(name for done, _, name in self._values if done == work))

    def values(self, work: Work, quantity: Quantity, subject: str) -> list[float]:
        """Return the values of all repetitions."""
        return list(self._values.get((work, quantity, subject), {}).values())

    def spread(self, work: Work, quantity: Quantity, subject: str) -> Spread | None:
        """Return the median, the least and the most, or None if there is no figure."""
        values = self.values(work, quantity, subject)
        return Spread.of(values) if values else None

    def ratio(self, work: Work, quantity: Quantity, subject: str, other: str) -> Spread | None:
        """Return how many times better than `other` a subject is, repetition by repetition."""
        mine = self._values.get((work, quantity, subject), {})
        theirs = self._values.get((work, quantity, other), {})
        ratios = [
            mine[repetition] / theirs[repetition]
            if quantity.more_is_better
            else theirs[repetition] / mine[repetition]
            for repetition in sorted(mine.keys() & theirs.keys())
            if mine[repetition] and theirs[repetition]
        ]
        return Spread.of(ratios) if ratios else None

    def to_json(self) -> list[dict[str, object]]:
        """Return every figure with its repetitions."""
        return [
            {
                "work": work.key,
                "title": work.title,
                "quantity": quantity.name,
                "subject": subject,
                "median": statistics.median(values.values()),
                "repetitions": list(values.values()),
            }
            for (work, quantity, subject), values in self._values.items()
        ]


def percentiles(latencies: Iterable[float]) -> dict[Quantity, float]:
    """Return the percentiles of latencies in seconds, in milliseconds."""
    ordered = sorted(latencies)
    return {
        quantity: ordered[max(0, math.ceil(len(ordered) * part) - 1)] * 1000
        for quantity, part in ((MEDIAN, 0.5), (P95, 0.95), (P99, 0.99))
    }


def used(work: Work, usage: Usage, size: int) -> Iterator[Figure]:
    """Yield what moving `size` bytes took of processor and memory."""
    yield Figure(work, PROCESSOR, usage.processor_seconds / (size / GB))
    yield Figure(work, MEMORY, usage.peak_memory / 1024**2)
