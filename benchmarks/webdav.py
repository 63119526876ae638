"""What PROPFIND takes: `python -m benchmarks.webdav`.

Servers that are drives by WebDAV have the same folder of many files, and are asked for it in turn,
so that what else the machine does falls on all: with Depth 1 for all properties, for those that
rclone asks for, and for all with gzip; then with Depth 0 for files of it. Seconds are until the
last byte of the answer, which is thrown away; how many resources it tells of is counted in the
first repetition, which is not measured. Memory is by how much anonymous memory (RssAnon) of the
server, which has been started again after the files came, grew in all this beyond what it had
after a PROPFIND of one file.
"""

from __future__ import annotations

import argparse
import http.client
import re
import statistics
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import load
from benchmarks.clients import open_clients, run
from benchmarks.drives import DRIVES, IN_PYTHON, path_of
from benchmarks.machine import MB, describe_machine
from benchmarks.meters import anonymous_memory, metered, process_tree
from benchmarks.postgres import POSTGRES, on_postgres
from benchmarks.subjects import REFERENCE, Running, Subject, Unavailable, discard, running

_FOLDER: Final = "listed"
_BUFFER_SIZE: Final = 1024 * 1024
_TIMEOUT_SECONDS: Final = 600
_MIB: Final = 1024**2
_RESPONSE: Final = re.compile(rb"<(?:\w+:)?response[\s>]")
# More than 20 MiB that an answer takes would be a part of it kept.
_MOST_GROWTH: Final = 20 * _MIB
_MOST_TO_FASTEST: Final = 2.0
_LEAST_TO_PYTHON: Final = 2.0

_ALL: Final = '<?xml version="1.0"?><D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>'
# What rclone asks a server for that keeps checksums.
_OF_RCLONE: Final = """<?xml version="1.0" encoding="utf-8"?>
<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" xmlns:nc="http://nextcloud.org/ns">
 <d:prop>
  <d:displayname /><d:getlastmodified /><d:getcontentlength /><d:resourcetype />
  <d:getcontenttype /><oc:checksums /><oc:permissions />
 </d:prop>
</d:propfind>
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything."""

    names: int = 100_000
    requests: int = 2000
    clients: int = 4
    repetitions: int = 5


@dataclass(frozen=True, slots=True)
class Work:
    """What a list is asked for."""

    title: str
    body: str
    coding: str = "identity"


WORKS: Final = (
    Work("allprop", _ALL),
    Work("rclone's", _OF_RCLONE),
    Work("allprop, gzip", _ALL, "gzip"),
)


@dataclass(slots=True)
class Lists:
    """Lists of one work: seconds of each, processor seconds of the server, bytes of an answer."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    size: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of one server; `rates` are answers a second with Depth 0.

    `refusal` is why it is not measured, if it is not.
    """

    name: str
    version: str
    lists: dict[str, Lists]
    rates: list[float] = field(default_factory=list)
    growth: int = 0
    refusal: str = ""


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webdav", description=__doc__)
    scale = Scale()
    for name in Scale.__slots__:
        parser.add_argument(f"--{name}", type=int, default=getattr(scale, name), metavar="N")
    parser.add_argument("--subjects", help=f"of {', '.join((*DRIVES, POSTGRES))}; default: all")
    told = parser.parse_args()
    scale = Scale(**{name: getattr(told, name) for name in Scale.__slots__})
    wanted = told.subjects.split(",") if told.subjects else (*DRIVES, POSTGRES)
    print(f"{describe_machine()}; {scale.names:,} names, {scale.clients} clients\n", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        print("\n".join(report(measure(Path(folder), scale, wanted))))


def measure(folder: Path, scale: Scale, wanted: Sequence[str]) -> list[Outcome]:
    """Measure these servers, those of them that are installed, in a folder for files."""
    outcomes = []
    with ExitStack() as ends:
        known = dict(DRIVES)
        if POSTGRES in wanted:
            known[POSTGRES] = ends.enter_context(on_postgres())[POSTGRES]
        started: list[tuple[Outcome, Running]] = []
        for subject in map(known.__getitem__, wanted):
            try:
                version = subject.find_version()
            except Unavailable as reason:
                print(f"Skipped: {reason}", flush=True)
                continue
            server = ends.enter_context(running(subject, _plant(subject, folder, scale.names)))
            ends.callback(discard, subject, folder / subject.name)
            outcome = Outcome(subject.name, version, {work.title: Lists() for work in WORKS})
            outcomes.append(outcome)
            started.append((outcome, server))
        # The first repetition fills caches, and the answers are looked at.
        for number in range(scale.repetitions + 1):
            for outcome, server in started:
                if not outcome.refusal:
                    _repeat(outcome, server, scale, is_first=number == 0)
    return outcomes


def _plant(subject: Subject, folder: Path, names: int) -> Path:
    """Give a server its files; return the folder that is to be served."""
    where = folder / subject.name
    if subject.plain_files:
        files = where / "files" / _FOLDER
        files.mkdir(parents=True, exist_ok=True)
        for number in range(names):
            (files / _name(number)).write_text(_name(number))
        return where
    with running(subject, where) as server:
        for batch in load.batches(
            [(_name(number), _name(number).encode()) for number in range(names)]
        ):
            load.put_form(server.port, _FOLDER, batch)
    return where


def _name(number: int) -> str:
    return f"name{number:07}.txt"


def _repeat(outcome: Outcome, server: Running, scale: Scale, *, is_first: bool) -> None:
    """Have a server answer everything once."""
    folder = path_of(server.subject, f"{_FOLDER}/")
    if is_first:
        _count(server, path_of(server.subject, f"{_FOLDER}/{_name(0)}"), "0", WORKS[0])
    before = anonymous_memory(process_tree(server.pid))
    for work in WORKS:
        with metered(server.pid) as usage:
            begun = time.perf_counter()
            try:
                if is_first and (found := _count(server, folder, "1", work)) != scale.names + 1:
                    outcome.refusal = f"tells of {found:,} resources"
                size = _drain(server, folder, work) if not is_first else 0
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                outcome.refusal = str(error) or type(error).__name__
            seconds = time.perf_counter() - begun
        if outcome.refusal:
            return
        outcome.growth = max(outcome.growth, usage.peak_memory - before)
        if not is_first:
            lists = outcome.lists[work.title]
            lists.seconds.append(seconds)
            lists.processor.append(usage.processor_seconds)
            lists.size = size
    rate = _rate(server, scale)
    if not is_first:
        outcome.rates.append(rate)


def _head(path: str, depth: str, work: Work, *, keep_alive: bool) -> bytes:
    return (
        f"PROPFIND {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nDepth: {depth}\r\n"
        f"Accept-Encoding: {work.coding}\r\nContent-Type: application/xml\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
        f"Content-Length: {len(work.body)}\r\n\r\n{work.body}"
    ).encode()


def _drain(server: Running, path: str, work: Work) -> int:
    """Ask for a list; return how many bytes its answer has, when the last one has come."""
    buffer = bytearray(_BUFFER_SIZE)
    with load.connect(server.port) as connection:
        connection.sendall(_head(path, "1", work, keep_alive=False))
        received = connection.recv_into(buffer)
        load.check(bytes(buffer[:received]))
        while length := connection.recv_into(buffer):
            received += length
    return received


def _count(server: Running, path: str, depth: str, work: Work) -> int:
    """Return how many resources an answer tells of."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=_TIMEOUT_SECONDS)
    headers = {"Depth": depth, "Accept-Encoding": work.coding, "Content-Type": "application/xml"}
    try:
        connection.request("PROPFIND", path, work.body, headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.MULTI_STATUS:
        raise RuntimeError(f"answers {answer.status}: {body[:200].decode(errors='replace')}")
    if answer.getheader("Content-Encoding") == "gzip":
        body = zlib.decompress(body, 16 + zlib.MAX_WBITS)
    return len(_RESPONSE.findall(body))


def _rate(server: Running, scale: Scale) -> float:
    """Return how many PROPFINDs with Depth 0 are answered in a second."""
    requests = [
        _head(
            path_of(server.subject, f"{_FOLDER}/{_name(number * 37 % scale.names)}"),
            *("0", WORKS[1]),
            keep_alive=True,
        )
        for number in range(scale.requests)
    ]
    opened = open_clients(server.port, requests, min(scale.clients, scale.requests), None)
    begun = time.perf_counter()
    run(opened)
    return scale.requests / (time.perf_counter() - begun)


def report(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield tables in Markdown, and what came of the promises."""
    measured = [outcome for outcome in outcomes if not outcome.refusal]
    for outcome in outcomes:
        if outcome.refusal:
            yield f"{outcome.name} {outcome.version} is not measured: it {outcome.refusal}\n"
    yield "| list, Depth 1 | seconds | server's processor, s | MB | time to chunkstore's |"
    yield "| --- | --- | --- | --- | --- |"
    for work in WORKS:
        for outcome in measured:
            yield _list_row(work, outcome, measured)
    yield ""
    yield "| server | Depth 0, answers/s | RssAnon grew by |"
    yield "| --- | --- | --- |"
    for outcome in measured:
        rates = f"{statistics.median(outcome.rates):,.0f} ({_range(outcome.rates, ',.0f')})"
        name = f"{outcome.name} {outcome.version}"
        yield f"| {name} | {rates} | {outcome.growth / _MIB:.1f} MiB |"
    yield ""
    yield from _promises(measured)


def _list_row(work: Work, outcome: Outcome, measured: Sequence[Outcome]) -> str:
    lists = outcome.lists[work.title]
    ratio = ""
    if own := _find(measured, REFERENCE):
        pairs = zip(lists.seconds, own.lists[work.title].seconds, strict=True)
        ratio = f"{statistics.median(seconds / other for seconds, other in pairs):.2f}"
    return (
        f"| {work.title}: {outcome.name} | {statistics.median(lists.seconds):.2f}"
        f" ({_range(lists.seconds, '.2f')}) | {statistics.median(lists.processor):.2f}"
        f" | {lists.size / MB:.1f} | {ratio} |"
    )


def _promises(measured: Sequence[Outcome]) -> Iterator[str]:
    own = _find(measured, REFERENCE)
    if own is None:
        return
    yield _promise(f"RssAnon grows less than {_MOST_GROWTH // _MIB} MiB", own.growth < _MOST_GROWTH)
    peers = [other for other in measured if not other.name.startswith(REFERENCE)]
    for work in WORKS:
        middle = {
            other.name: statistics.median(other.lists[work.title].seconds)
            for other in (own, *peers)
        }
        seconds = middle.pop(REFERENCE)
        if middle:
            name = min(middle, key=middle.__getitem__)
            ratio = seconds / middle[name]
            told = f"{work.title}: twice the time of the fastest at most, {name}: {ratio:.2f}"
            yield _promise(told, ratio <= _MOST_TO_FASTEST)
        in_python = {name: middle[name] for name in IN_PYTHON if name in middle}
        if in_python:
            name = min(in_python, key=in_python.__getitem__)
            ratio = in_python[name] / seconds
            told = f"{work.title}: twice as fast as the fastest in Python, {name}: {ratio:.2f}"
            yield _promise(told, ratio >= _LEAST_TO_PYTHON)


def _promise(told: str, is_met: bool) -> str:
    return f"- {told}: {'met' if is_met else 'MISSED'}"


def _find(measured: Sequence[Outcome], name: str) -> Outcome | None:
    return next((outcome for outcome in measured if outcome.name == name), None)


def _range(values: Sequence[float], pattern: str) -> str:
    return f"{min(values):{pattern}} to {max(values):{pattern}}"


if __name__ == "__main__":
    main()
