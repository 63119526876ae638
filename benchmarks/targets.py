"""What chunkstore is to reach, by itself or against others in one run, and what it came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.figures import (
    CHANGE,
    DURABLE,
    LONGEST,
    MEDIAN,
    MEMORY,
    RATE,
    REQUESTS,
    REQUESTS_DURABLE,
    REQUESTS_EACH,
    WRITTEN,
    Quantity,
    Results,
    Spread,
    Work,
)
from benchmarks.postgres import BEFORE, POSTGRES, RAW
from benchmarks.subjects import REFERENCE


@dataclass(frozen=True, slots=True)
class Target:
    """What a subject is to reach in works, by their keys; without any, in all.

    With a peer it is how many times better the subject is, without one the figure itself. Of what
    is to be `reach` at least the median of the repetitions counts, of what is to be so much at most
    the worst of them; of several works the worst one.
    """

    name: str
    works: Sequence[str]
    quantity: Quantity
    reach: float
    peer: str = ""
    note: str = ""
    subject: str = REFERENCE

    @property
    def more_is_better(self) -> bool:
        """Whether `reach` is the least, not the most."""
        return bool(self.peer) or self.quantity.more_is_better

    def counting(self, spread: Spread) -> float:
        """Return what counts of the repetitions."""
        return spread.median if self.more_is_better else spread.high

    def is_met(self, spread: Spread) -> bool:
        """Whether what was measured reaches it."""
        value = self.counting(spread)
        return value >= self.reach if self.more_is_better else value <= self.reach


_SUSTAINED: Final = ("new-in-a-row", "new-at-once")
_SYNC: Final = "PUT + sync"
_EACH: Final = "each file synced after its answer"
_ONE: Final = "one sync at the end"
_RAW: Final = (RAW, "neither HTTP nor digests", POSTGRES)
_BEFORE: Final = (BEFORE, "", POSTGRES)
_GROWTH: Final = (
    *(f"growth-bytes-{key}" for key in ("new", "known", "download", "ranges")),
    *(f"growth-names-{key}" for key in ("form", "delete", "put", "get")),
)
TARGETS: Final = (
    Target("large new files in a row", _SUSTAINED[:1], DURABLE, 1.0, "nginx", _EACH),
    Target("large new files at once", _SUSTAINED[1:], DURABLE, 1.0, "nginx", _EACH),
    Target("known content", ("upload-known",), DURABLE, 2.3, "nginx", _SYNC),
    Target("next version, 2 % changed", ("upload-version",), DURABLE, 3.0, "nginx", _SYNC),
    Target("written/given, new", _SUSTAINED, WRITTEN, 1.06),
    Target("longest PUT of 4 KiB beside uploads, ms", ("beside-put",), LONGEST, 100),
    Target("longest GET of 4 KiB beside uploads, ms", ("beside-get",), LONGEST, 60),
    Target("download, every byte verified", ("download",), RATE, 0.55, "nginx", "sendfile"),
    Target("download, every byte verified", ("download",), RATE, 1.0, "copyparty"),
    Target("download, every byte verified", ("download",), RATE, 1.0, "rclone"),
    Target("GET of hot 4 KiB, 16 clients", ("hot-16",), REQUESTS, 4.0, "copyparty"),
    *(
        Target("PUT of 4 KiB, 16 clients", ("put-16",), REQUESTS_EACH, 3.0, peer, _EACH)
        for peer in ("nginx", "copyparty", "rclone")
    ),
    *(
        Target("PUT of 4 KiB, 16 clients", ("put-16",), REQUESTS_DURABLE, 1.5, peer, _ONE)
        for peer in ("copyparty", "rclone")
    ),
    Target("first byte of a range", ("first-byte",), MEDIAN, 0.5, "nginx"),
    Target("peak anonymous memory, MiB", (), MEMORY, 130),
    Target("PostgreSQL: new file", ("upload-new",), DURABLE, 0.6, *_RAW),
    Target("PostgreSQL: download", ("download",), RATE, 0.6, *_RAW),
    Target("PostgreSQL: GET of 4 KiB, 16 clients", ("get-16",), REQUESTS, 2.5, *_BEFORE),
    Target("PostgreSQL: PUT of 4 KiB, 16 clients", ("put-16",), REQUESTS_DURABLE, 2.0, *_BEFORE),
    Target("growth, second half against first half", _GROWTH, CHANGE, 0.9),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A target, and what came of it: a spread, or why there is none."""

    name: str
    against: str
    reach: str
    spread: Spread | None
    met: bool | None
    reason: str = ""


def outcomes(results: Results, targets: Sequence[Target] = TARGETS) -> Iterator[Outcome]:
    """Yield what came of each target."""
    return (judge(target, results) for target in targets)


def judge(target: Target, results: Results) -> Outcome:
    """Return what came of a target."""
    works = [work for work in results.works() if work.key in target.works or not target.works]
    against = f"{target.peer}: {target.note}" if target.note else target.peer
    reach = f"{'≥' if target.more_is_better else '≤'} {target.reach:g}"
    spreads = {work: spread for work in works if (spread := _spread(target, work, results))}
    if not spreads:
        return Outcome(target.name, against, reach, None, None, _reason(target, works, results))
    least_or_most = min if target.more_is_better else max
    worst = least_or_most(spreads, key=lambda work: target.counting(spreads[work]))
    name = target.name if len(target.works) == 1 else f"{target.name}; worst: {worst.title}"
    return Outcome(name, against, reach, spreads[worst], target.is_met(spreads[worst]))


def _spread(target: Target, work: Work, results: Results) -> Spread | None:
    if target.peer:
        return results.ratio(work, target.quantity, target.subject, target.peer)
    return results.spread(work, target.quantity, target.subject)


def _reason(target: Target, works: Sequence[Work], results: Results) -> str:
    """Return why there is nothing to judge by."""
    if not works:
        return "the work was not done"
    missing = (results.skipped.get((name, "")) for name in (target.subject, target.peer))
    return next(filter(None, missing), "not among the subjects, or it failed")
