"""How cost grows with what is stored, while files are deleted, collected and compacted.

A store grows with incompressible bytes, then by tiny names. Of every four large files one leaves
every other MiB of it in a file of half its size, and is deleted, so that much that was stored
together is needed no more; another is deleted whole. Of every ten tiny ones one is deleted. The
server collects all the time. What puts, gets and deletes cost is to stay the same, however much is
there: each rate is told at marks on the way, and as that of the second half of them against the
first half's.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from benchmarks import load
from benchmarks.figures import CHANGE, MEMORY, Figure, Quantity, Work
from benchmarks.generator import Requests
from benchmarks.machine import GB, MB, seconds, write_random
from benchmarks.meters import metered
from benchmarks.report import note
from benchmarks.subjects import Running, Subject
from benchmarks.works.stage import RANGE_SIZE, SMALL_SIZE, Stage, Task

STEPS: Final = 10
_SEED: Final = 20260103
_CLIENTS: Final = 16
_THINNED_OF: Final = 4
_PIECE_SIZE: Final = 1024**2
_DELETED_OF: Final = 10
Rates = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Unit:
    """What a store grows by: how much one is, how its mark is written, titles of its rates."""

    key: str
    size: float
    mark: str
    titles: Mapping[str, str]


BYTES: Final = Unit(
    "bytes",
    GB,
    "{:,.3g} GB",
    {
        "new": "upload of new bytes, MB/s",
        "known": "upload of known bytes, MB/s",
        "download": "download, MB/s",
        "ranges": "64 KiB ranges of random files, 1/s",
    },
)
NAMES: Final = Unit(
    "names",
    1,
    "{:,.0f} names",
    {
        "form": "names by forms of 1,000, 1/s",
        "delete": f"DELETE of tiny files, {_CLIENTS} clients, 1/s",
        "put": f"PUT of 4 KiB files, {_CLIENTS} clients, 1/s",
        "get": f"GET of 4 KiB files, {_CLIENTS} clients, 1/s",
    },
)


class BytesGrowth:
    """A store that grows by large files, and what it does at its marks."""

    def __init__(self, stage: Stage, server: Running) -> None:
        self._server = server
        self._source = stage.folder / "source-growth"
        self._half = stage.folder / "source-growth-half"
        self._size = stage.sizes.large // 4
        self._ranges = max(1, stage.sizes.ranges // 2)
        self._random = Random(_SEED)
        self._put = 0
        self._names: dict[str, int] = {}

    def grow(self, mark: int) -> Rates:
        """Fill up to a mark; return the rates of that, and of ranges that are looked up there."""
        spent, before = Counter[str](), self._put
        while before == self._put or sum(self._names.values()) < mark:
            self._thin_out()
            spent.update(self._put_and_get())
        moved = (self._put - before) * self._size / MB
        rates = {key: moved / taken for key, taken in spent.items()}
        return {**rates, "ranges": self._ranges / self._look_up()}

    def _put_and_get(self) -> dict[str, float]:
        """Upload a file as new, then as known, and get it; return the seconds of each."""
        write_random(self._source, self._size)
        name = f"grown-{self._put:06}"
        self._put += 1
        self._names[name] = self._size
        new = seconds(partial(self._server.upload, name, self._source))
        known = seconds(partial(self._server.upload, "known", self._source))
        self._delete("known")
        got = seconds(partial(self._server.download, name, self._size))
        return {"new": new, "known": known, "download": got}

    def _thin_out(self) -> None:
        """Of every four files keep half of the last one, and delete another one."""
        turn = self._put % _THINNED_OF
        if turn == 1:
            name = next(reversed(self._names))
            self._take_half()
            self._server.upload(f"{name}-half", self._half)
            self._names[f"{name}-half"] = self._half.stat().st_size
            self._remove(name)
        elif turn == 3:
            self._remove(self._random.choice(list(self._names)))

    def _take_half(self) -> None:
        """Make a file of every other piece of the source, as long as a chunk may be at most."""
        piece = min(_PIECE_SIZE, self._size // 2)
        with self._source.open("rb") as whole, self._half.open("wb") as half:
            for start in range(0, self._size, 2 * piece):
                whole.seek(start)
                half.write(whole.read(piece))

    def _remove(self, name: str) -> None:
        del self._names[name]
        self._delete(name)

    def _delete(self, name: str) -> None:
        request = self._server.subject.dialect.delete(name, keep_alive=False)
        load.fetch(self._server.port, request)

    def _look_up(self) -> float:
        taken = 0.0
        with load.connect(self._server.port) as connection:
            for _ in range(self._ranges):
                name, whole = self._random.choice(list(self._names.items()))
                size = min(RANGE_SIZE, whole)
                start = self._random.randrange(whole - size + 1)
                request = self._server.subject.dialect.get(name, start, start + size)
                taken += load.exchange(connection, request, size)[0].last
        return taken


class NamesGrowth:
    """A store that grows by forms of many tiny files, and what it does at its marks."""

    def __init__(self, stage: Stage, server: Running) -> None:
        self._stage = stage
        self._server = server
        self._random = Random(_SEED)
        self._stored = self._put = 0

    def grow(self, mark: int) -> Rates:
        """Fill up to a mark, deleting on the way; return the rates of requests at it."""
        more = max(1, (mark - self._stored) * _DELETED_OF // (_DELETED_OF - 1))
        grown = [f"{number:08}" for number in range(self._put, self._put + more)]
        filled = seconds(partial(self._fill, grown))
        deleted = [f"grown/{name}" for name in grown[::_DELETED_OF]]
        self._put += more
        self._stored += more - len(deleted)
        count = max(1, self._stage.sizes.small_files // 2)
        names = [f"probe/{mark}-{number}" for number in range(count)]
        return {
            "form": more / filled,
            "delete": self._rate("DELETE", deleted),
            "put": self._rate("PUT", names),
            "get": self._rate("GET", names),
        }

    def _fill(self, names: Sequence[str]) -> None:
        for batch in load.batches(names):
            load.put_form(self._server.port, "grown", [(name, os.urandom(64)) for name in batch])

    def _rate(self, method: str, names: list[str]) -> float:
        self._random.shuffle(names)
        dialect = self._server.subject.dialect
        requests = Requests(self._server.port, dialect, method, names, SMALL_SIZE, _CLIENTS)
        return len(names) / self._stage.generator.burst(requests).seconds


def measure(stage: Stage, server: Running) -> Iterator[Figure]:
    """Let the store grow by bytes, then by names."""
    for unit, grow, last in (
        (BYTES, BytesGrowth(stage, server).grow, stage.sizes.grown),
        (NAMES, NamesGrowth(stage, server).grow, stage.sizes.grown_names),
    ):
        if last:
            with metered(server.pid) as usage:
                marks = _grow(unit, grow, last)
            yield from _figures(unit, marks, usage.peak_memory / 1024**2)


def _grow(unit: Unit, grow: Callable[[int], Rates], last: int) -> dict[int, Rates]:
    """Grow up to `last`; return the rates at each mark."""
    rates = {}
    for mark in (last * step // STEPS for step in range(1, STEPS + 1)):
        rates[mark] = grow(mark)
        told = ", ".join(f"{key} {rate:,.1f}" for key, rate in rates[mark].items())
        note(f"{unit.mark.format(mark / unit.size)}: {told}")
    return rates


def _figures(unit: Unit, marks: Mapping[int, Rates], memory: float) -> Iterator[Figure]:
    last = unit.mark.format(max(marks) / unit.size)
    for key, title in unit.titles.items():
        work = Work(f"growth-{unit.key}-{key}", f"{title}, growing to {last}")
        rates = [of[key] for of in marks.values()]
        half = len(rates) // 2
        # Of rates over equal amounts, so that a slow one counts by its time.
        first, second = map(statistics.harmonic_mean, (rates[:half], rates[half:]))
        yield Figure(work, CHANGE, second / first)
        yield Figure(work, MEMORY, memory)
        for mark, rate in zip(marks, rates, strict=True):
            name = f"at {unit.mark.format(mark / unit.size)}"
            yield Figure(work, Quantity(name, 1, True, mark / unit.size), rate)


def _refuse_plain_files(subject: Subject) -> str:
    return "it has nothing to collect" if subject.plain_files else ""


GROWTH: Final = Task(
    "growth",
    "growth of a store, with deletions and collections",
    measure,
    options=("--collect-every", "2s", "--grace", "0s"),
    refuses=_refuse_plain_files,
)
