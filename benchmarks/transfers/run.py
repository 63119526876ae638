"""chunkstore's client and what people would pick instead, in one run.

`python -m benchmarks.transfers`. Server, client and the slow link are real processes on this
machine; `benchmarks/link.py` says what the link is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks import report
from benchmarks.figures import MEMORY, RATE, SECONDS, Figure, Quantity, Results
from benchmarks.machine import describe_machine
from benchmarks.report import note
from benchmarks.subjects import Unavailable
from benchmarks.targets import Target
from benchmarks.transfers.tools import CLIENT, CURL, TOOLS, Tool
from benchmarks.transfers.works import (
    FILES,
    RECEIVED_OF_BOUND,
    SECONDS_OF_BOUND,
    SENT_OF_BOUND,
    Bench,
    Sizes,
    Sources,
    back_over_link,
    benched,
    over_link,
    over_loopback,
    sparse,
    trees,
)
from chunkstore.core.units import parse_size

GIB: Final = 1024**3
WORKS: Final[Mapping[str, Callable[[Bench], Iterator[Figure]]]] = {
    "loopback": over_loopback,
    "link": over_link,
    "back": back_over_link,
    "tree": trees,
    "huge": sparse,
}
_LINKED: Final = ("link-known", "link-changed")


def _target(
    name: str, work: str, quantity: Quantity, reach: float, peer: str = "", note: str = ""
) -> Target:
    return Target(name, (work,), quantity, reach, peer, note, CLIENT.name)


TARGETS: Final = (
    *(
        _target("sent, of the new chunks * 1.02 + 40 B a chunk", work, SENT_OF_BOUND, 1.0)
        for work in _LINKED
    ),
    *(
        _target("seconds, of 1.2 times what these take + 2 s", work, SECONDS_OF_BOUND, 1.0)
        for work in _LINKED
    ),
    _target(
        "push of what is there, digests known",
        "push-known",
        RATE,
        1 / 0.15,
        peer=CURL.name,
        note="PUT",
    ),
    _target("push of what is there, nothing known, MB/s", "push-known-cold", RATE, 1500),
    _target("push, all new", "push-new", RATE, 1.0, peer=CURL.name, note="PUT"),
    _target(
        "pull, all new, verified", "pull-new", RATE, 0.9, peer=CURL.name, note="GET, not verified"
    ),
    _target("received, of the new chunks * 1.05", "pull-changed", RECEIVED_OF_BOUND, 1.0),
    _target("tree, all new", "tree-new", FILES, 2.0, peer=CURL.name, note="PUTs on 8 connections"),
    _target("tree, unchanged, seconds", "tree-unchanged", SECONDS, 2.0),
    Target("the client's anonymous memory, MiB", (), MEMORY, 150, subject=CLIENT.name),
)


def main() -> None:
    """Run from the command line."""
    options = _parse()
    sizes = Sizes(
        options.size, options.files, options.rate * 1e6, options.round_trip / 1000, options.sparse
    )
    results = Results()
    print(f"{describe_machine()}; link of {options.rate:g} Mbit/s, {options.round_trip:g} ms\n")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        tools = _available(options.tools, results)
        _print(_describe(tools))
        sources = Sources(Path(folder), sizes)
        for repetition in range(options.repetitions):
            turn = repetition % max(1, len(tools))
            for work in options.only:
                for tool in [*tools][turn:] + [*tools][:turn]:
                    _measure(work, tool, sources, Path(folder), repetition, results)
    _print(report.tables(results, CLIENT.name))
    _print(report.target_lines(results, TARGETS))
    if options.json:
        options.json.write_text(json.dumps(results.to_json(), indent=1) + "\n")


def _measure(
    work: str, tool: Tool, sources: Sources, folder: Path, repetition: int, results: Results
) -> None:
    if work in ("link", "back") and not (tool.differential and (work == "link" or tool.pull)):
        return
    if work == "huge" and tool is not CLIENT:
        return
    note(f"{tool.name}: {work}")
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as fresh:
        try:
            with benched(tool, sources, Path(fresh)) as bench:
                for figure in WORKS[work](bench):
                    results.add(tool.name, repetition, figure)
        except (OSError, RuntimeError) as error:
            print(f"Failed: {work}, by {tool.name}: {error!r}")
            results.skipped[tool.name, ""] = repr(error)


def _available(names: Sequence[str], results: Results) -> dict[Tool, str]:
    found = {}
    for tool in TOOLS:
        if tool.name not in names:
            continue
        try:
            found[tool] = tool.find_version()
        except Unavailable as reason:
            print(f"Skipped: {reason}")
            results.skipped[tool.name, ""] = str(reason)
    return found


def _describe(tools: Mapping[Tool, str]) -> Iterator[str]:
    yield "| program | version | settings | when it is done, the server's files are |"
    yield "| --- | --- | --- | --- |"
    for tool, version in tools.items():
        kept = "on the disk" if tool.durable else "in the system's cache"
        yield f"| {tool.name} | {version} | {tool.settings} | {kept} |"


def _print(lines: Iterator[str]) -> None:
    print("\n".join(lines), flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfers", description=__doc__)
    add = parser.add_argument
    add("--only", type=_of(WORKS), default=[*WORKS], metavar="WORK,…", help=", ".join(WORKS))
    names = [tool.name for tool in TOOLS]
    add("--tools", type=lambda text: [names[int(n)] for n in text.split(",")], default=names,
        metavar="N,…", help="; ".join(f"{n} {name}" for n, name in enumerate(names)))  # fmt: skip
    add("--repetitions", type=int, default=3, metavar="N")
    add("--size", type=parse_size, default=4 * GIB, help="of the large file")
    add("--files", type=int, default=20_000, metavar="N", help="of the tree")
    add("--sparse", type=parse_size, default=100 * GIB, metavar="SIZE", help="of the sparse file")
    add("--rate", type=float, default=100.0, metavar="MBIT", help="of the link, a second")
    add("--round-trip", type=float, default=100.0, metavar="MS", help="of the link")
    add("--folder", type=Path, help="where files go; default: a temporary one")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def _of(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := {*names} - {*known}:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not of {', '.join(known)}")
        return names

    return parse
