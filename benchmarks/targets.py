"""What chunkstore is to reach, as ratios to its peers in one run, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import (
    DURABLE,
    MEDIAN,
    MEMORY,
    RATE,
    REQUESTS,
    REQUESTS_DURABLE,
    WRITTEN,
    Quantity,
    Results,
    Spread,
    Work,
)
from benchmarks.subjects import REFERENCE


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio to a peer in a work, by its key: at least `least`, `reach` to strive for."""

    work: str
    quantity: Quantity
    peer: str
    least: float
    reach: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure of chunkstore's own that is to be `most` at most, in any of the `works`."""

    name: str
    works: Sequence[str]
    quantity: Quantity
    most: float
    reach: float
    unit: str = ""


TARGETS: Final = (
    Target("download", RATE, "nginx", 0.7, 1.0, "every byte verified, against sendfile"),
    Target("download", RATE, "copyparty", 1.0, 1.3, "every byte verified"),
    Target("download", RATE, "rclone", 1.0, 1.3, "every byte verified"),
    Target("upload-new", DURABLE, "nginx", 0.6, 1.0, "until durable, against PUT + sync"),
    Target("upload-known", DURABLE, "nginx", 2.5, 4.0, "until durable, against PUT + sync"),
    Target("get-16", REQUESTS, "copyparty", 4.0, 8.0),
    Target("put-16", REQUESTS_DURABLE, "copyparty", 3.0, 6.0, "until durable, against + sync"),
    Target("first-byte", MEDIAN, "nginx", 0.5, 1.0, "medians"),
)
BOUNDS: Final = (
    Bound(
        "peak anonymous memory",
        ("download", "upload-new", "upload-known", "get-16", "put-16"),
        MEMORY,
        150,
        100,
        " MiB",
    ),
    Bound("bytes written per byte given, new data", ("upload-new",), WRITTEN, 2.2, 2.05),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A target by name, and what came of it: a spread, or why there is none."""

    name: str
    target: str
    spread: Spread | None
    met: bool | None
    reason: str = ""

    def __str__(self) -> str:
        if self.spread is None:
            return f"{self.name}: not measured ({self.reason}), target {self.target}"
        return (
            f"{self.name}: {self.spread}, target {self.target}, {'met' if self.met else 'MISSED'}"
        )


def outcomes(results: Results) -> Iterator[Outcome]:
    """Yield what came of each target."""
    works = {work.key: work for work in results.works()}
    for target in TARGETS:
        yield _judge(target, works.get(target.work), results)
    for bound in BOUNDS:
        yield _judge_bound(bound, [works[key] for key in bound.works if key in works], results)


def _judge(target: Target, work: Work | None, results: Results) -> Outcome:
    note = f" ({target.note})" if target.note else ""
    told = f"{target.least} at least, {target.reach} to reach for"
    if work is None:
        reason = "the work was not done"
        return Outcome(f"{target.work} against {target.peer}{note}", told, None, None, reason)
    name = f"{work.title}, against {target.peer}{note}"
    spread = results.ratio(work, target.quantity, REFERENCE, target.peer)
    if spread is None:
        reason = results.skipped.get((target.peer, ""), f"{target.peer} has no figure")
        return Outcome(name, told, None, None, reason)
    return Outcome(name, told, spread, spread.median >= target.least)


def _judge_bound(bound: Bound, works: Sequence[Work], results: Results) -> Outcome:
    told = f"{bound.most}{bound.unit} at most, {bound.reach}{bound.unit} to reach for"
    measured = {work: results.values(work, bound.quantity, REFERENCE) for work in works}
    worst = max(measured, key=lambda work: max(measured[work], default=0), default=None)
    if worst is None or not measured[worst]:
        return Outcome(bound.name, told, None, None, "the works were not done")
    spread = Spread.of(measured[worst])
    return Outcome(f"{bound.name}, in {worst.title}", told, spread, spread.high <= bound.most)
