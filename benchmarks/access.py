"""What accounts cost: `python -m benchmarks.access`.

Two servers have the same files: one that is open to everybody, and one with accounts and many
rules. They are asked the same in turn, so that what else the machine does falls on both, and what
is told is the ratio of their rates: of each repetition, then the median of these. Processor time is
that of the server, for each request.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.clients import open_clients, run
from benchmarks.dialects import CHUNKSTORE
from benchmarks.machine import describe_machine
from benchmarks.meters import process_tree, processor_seconds
from benchmarks.subjects import Running, chunkstore, running
from benchmarks.works.stage import SMALL_SIZE
from chunkstore.core.access import EVERYTHING, GROUP_MARK, parse_verbs
from chunkstore.core.names import ROOT, FolderName
from chunkstore.service.access.people import People
from chunkstore.service.access.values import KeptRule
from chunkstore.store.sqlite.store import SQLiteStore

_DATABASE: Final = "files/chunkstore.db"
_ACCOUNT: Final = "bench"
_PASSWORD: Final = "a password of the benchmark"
_GROUPS: Final = 100
_JOINED: Final = 3
_RULES_AT_ONCE: Final = 1000
_LISTED: Final = "listed"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    rules: int = 10_000
    requests: int = 4000
    lists: int = 200
    names: int = 1000
    clients: int = 16
    repetitions: int = 9


@dataclass(frozen=True, slots=True)
class Work:
    """Requests of one kind: `requests` makes them, for the repetition of this number.

    `size` is that of each answer's body, None if heads tell it; `by` sends the credentials.
    `promised` is the least ratio to the server without accounts, None where none is promised.
    """

    title: str
    by: str
    requests: Callable[[int], list[bytes]]
    size: int | None
    promised: float | None


@dataclass(slots=True)
class Outcome:
    """What came of a work in each repetition: requests a second, and the server's seconds."""

    work: Work
    open_rates: list[float] = field(default_factory=list)
    closed_rates: list[float] = field(default_factory=list)
    open_processor: list[float] = field(default_factory=list)
    closed_processor: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """The ratio of the rates in each repetition."""
        pairs = zip(self.closed_rates, self.open_rates, strict=True)
        return [closed / whole for closed, whole in pairs]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.access", description=__doc__)
    scale = Scale()
    for name in Scale.__slots__:
        parser.add_argument(f"--{name}", type=int, default=getattr(scale, name), metavar="N")
    told = parser.parse_args()
    scale = Scale(**{name: getattr(told, name) for name in Scale.__slots__})
    print(f"{describe_machine()}; {scale.rules:,} rules, {scale.clients} clients\n")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        print("\n".join(table(measure(Path(folder), scale))))


def measure(folder: Path, scale: Scale) -> list[Outcome]:
    """Measure all works in a folder for files."""
    open_folder, closed_folder = folder / "open", folder / "closed"
    with running(chunkstore("open"), open_folder) as server:
        _plant(server, scale)
    shutil.copytree(open_folder, closed_folder)
    token = asyncio.run(_close(closed_folder / _DATABASE, scale.rules))
    password = b64encode(f"{_ACCOUNT}:{_PASSWORD}".encode()).decode()
    outcomes = [Outcome(work) for work in _works(scale)]
    by = {"a token": f"Bearer {token}", "a password": f"Basic {password}"}
    with (
        running(chunkstore("open"), open_folder) as without,
        running(chunkstore("closed"), closed_folder) as with_accounts,
    ):
        # The first repetition is not measured: it fills caches, and checks the password.
        for number in range(scale.repetitions + 1):
            for outcome in outcomes:
                credentials = by[outcome.work.by]
                _repeat(outcome, number, (without, with_accounts), credentials, scale.clients)
    return outcomes


def _plant(server: Running, scale: Scale) -> None:
    small = [(f"{number}", os.urandom(SMALL_SIZE)) for number in range(scale.requests)]
    tiny = [(f"name{number:07}", b"x") for number in range(scale.names)]
    for target, files in (("small", small), (_LISTED, tiny)):
        for batch in load.batches(files):
            load.put_form(server.port, target, batch)


async def _close(database: Path, rules: int) -> str:
    """Give a store accounts, groups and so many rules; return a token of the one that asks."""
    store = await SQLiteStore.open(database)
    people = People(store.records)
    try:
        await people.accounts.add(_ACCOUNT, _PASSWORD)
        await people.accounts.allow(_ACCOUNT, ROOT, EVERYTHING)
        made = [await people.accounts.add_group(f"team{number}") for number in range(_GROUPS)]
        for group in made[:_JOINED]:
            await people.accounts.join(group.name, _ACCOUNT)
        editor = parse_verbs("editor")
        kept = [
            KeptRule(
                f"{GROUP_MARK}{group.key}",
                group.id,
                FolderName(f"team{number % _GROUPS}/project{number // _GROUPS}/"),
                editor,
            ).to_record()
            for number in range(rules)
            for group in (made[number % _GROUPS],)
        ]
        for start in range(0, len(kept), _RULES_AT_ONCE):
            await store.records.apply(kept[start : start + _RULES_AT_ONCE])
        scope = [(ROOT, EVERYTHING)]
        return (await people.accounts.add_token(_ACCOUNT, "benchmark", scope, None)).text
    finally:
        people.close()
        await store.close()


def _works(scale: Scale) -> Iterator[Work]:
    gets = [CHUNKSTORE.get(f"small/{number}") for number in range(scale.requests)]
    content = os.urandom(SMALL_SIZE)

    def puts(repetition: int) -> list[bytes]:
        names = [f"put/{repetition}/{number}" for number in range(scale.requests // 4)]
        heads = [CHUNKSTORE.put(name, SMALL_SIZE)[0] for name in names]
        # Each is another content.
        tail = content[8:]
        places = range(len(heads))
        return [
            head + (repetition << 32 | place).to_bytes(8) + tail
            for place, head in zip(places, heads, strict=True)
        ]

    path = CHUNKSTORE.listing.format(folder=_LISTED, limit=scale.names)
    listing = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n".encode()
    size = f"GET of {SMALL_SIZE // 1024} KiB"
    yield Work(size, "a token", lambda _: gets, SMALL_SIZE, 0.85)
    yield Work(size, "a password", lambda _: gets, SMALL_SIZE, 0.8)
    yield Work(f"list of {scale.names:,}", "a token", lambda _: [listing] * scale.lists, None, 0.9)
    yield Work(f"PUT of {SMALL_SIZE // 1024} KiB", "a token", puts, None, None)


def _repeat(
    outcome: Outcome, number: int, servers: tuple[Running, Running], credentials: str, clients: int
) -> None:
    """Have both servers answer the requests of a repetition, each the first one in turn."""
    work = outcome.work
    asked = [work.requests(number)] * 2
    asked[1] = [_with(request, credentials) for request in asked[1]]
    rates, spent = [0.0, 0.0], [0.0, 0.0]
    for place in (0, 1) if number % 2 else (1, 0):
        rates[place], spent[place] = _burst(servers[place], asked[place], clients, work.size)
    if number:
        for kept, value in zip(
            (outcome.open_rates, outcome.closed_rates), rates, strict=True
        ):  # fmt: skip
            kept.append(value)
        for kept, value in zip(
            (outcome.open_processor, outcome.closed_processor), spent, strict=True
        ):  # fmt: skip
            kept.append(value)


def _with(request: bytes, credentials: str) -> bytes:
    line, _, rest = request.partition(b"\r\n")
    return line + b"\r\nAuthorization: " + credentials.encode() + b"\r\n" + rest


def _burst(
    server: Running, requests: Sequence[bytes], clients: int, size: int | None
) -> tuple[float, float]:
    """Return requests a second, and the server's seconds of processor for each."""
    opened = open_clients(server.port, requests, min(clients, len(requests)), size)
    tree = process_tree(server.pid)
    spent, begun = processor_seconds(tree), time.perf_counter()
    run(opened)
    seconds = time.perf_counter() - begun
    return len(requests) / seconds, (processor_seconds(tree) - spent) / len(requests)


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| work | open, requests/s | with accounts | ratio | promised | server, ms/request |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for outcome in outcomes:
        work, ratios = outcome.work, outcome.ratios
        middle = statistics.median(ratios)
        promised = (
            ""
            if work.promised is None
            else f"{work.promised:.2f}: " + ("met" if middle >= work.promised else "MISSED")
        )
        processor = [
            f"{1000 * statistics.median(each):.3f}"
            for each in (outcome.open_processor, outcome.closed_processor)
        ]
        yield (
            f"| {work.title}, by {work.by} | {statistics.median(outcome.open_rates):,.0f}"
            f" | {statistics.median(outcome.closed_rates):,.0f}"
            f" | {middle:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {promised}"
            f" | {processor[0]}, then {processor[1]} |"
        )


if __name__ == "__main__":
    main()
