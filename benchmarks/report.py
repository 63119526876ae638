"""The figures as people and programs read them: Markdown and JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.figures import Quantity, Results, Spread, Work
from benchmarks.space import Kept
from benchmarks.subjects import REFERENCE, Subject
from benchmarks.targets import TARGETS, Target, outcomes
from chunkstore.core.units import format_size


def note(text: str) -> None:
    """Tell how far a run is, beside what it prints."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def describe_subjects(subjects: Mapping[Subject, str]) -> Iterator[str]:
    """Yield a table of subjects and their versions."""
    yield "| server | version | settings | an answer to an upload means |"
    yield "| --- | --- | --- | --- |"
    for subject, version in subjects.items():
        meaning = "on the disk" if subject.durable else "in the system's cache: timed until a sync"
        yield f"| {subject.name} | {version} | {subject.settings} | {meaning} |"


def tables(results: Results, reference: str = REFERENCE) -> Iterator[str]:
    """Yield a table for each work: medians, and the reference's ratio to each of the others.

    Of the first quantity also the least and the most.
    """
    for work in results.works():
        quantities = results.quantities(work)
        yield f"\n### {work.title}\n"
        first, subjects = quantities[0], results.subjects(work)
        head = ["server", *(quantity.name for quantity in quantities)]
        if len(subjects) > 1 and reference in subjects:
            head.append(f"{reference} is better by ({first.name})")
        yield _row(head)
        yield _row(["---"] * len(head))
        for subject in subjects:
            yield _row(_cells(results, work, quantities, subject, reference)[: len(head)])


def _cells(
    results: Results, work: Work, quantities: Sequence[Quantity], subject: str, reference: str
) -> list[str]:
    cells = [subject]
    for quantity in quantities:
        spread, form = results.spread(work, quantity, subject), f",.{quantity.decimals}f"
        shown = spread if quantity is quantities[0] or spread is None else spread.median
        cells.append("" if shown is None else format(shown, form))
    ratio = results.ratio(work, quantities[0], reference, subject)
    return [*cells, "" if ratio is None or subject == reference else f"{ratio:.2f}"]


def space_table(rows: Sequence[Kept]) -> Iterator[str]:
    """Yield a table of what each way of policy versions takes."""
    yield f"\n### {len(rows[0].versions)} versions, kept: {format_size(rows[0].given)} given\n"
    yield "| kept by | chunks | bytes kept | given/kept | given/kept once, not compressed | MB/s |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for row in rows:
        chunk_size = format_size(row.chunk_size) if row.chunk_size else ""
        once = f"{row.given / row.unique:.2f}" if row.unique else ""
        saving = f"{row.given / row.kept:.2f}"
        kept = format_size(row.kept)
        rate = f"{row.rate:.1f}" if row.rate else ""
        yield _row([row.name, chunk_size, kept, saving, once, rate])


def target_lines(results: Results, targets: Sequence[Target] = TARGETS) -> Iterator[str]:
    """Yield a table of what came of each target."""
    yield "\n### Targets\n"
    yield "Against another: how many times better, repetition by repetition.\n"
    yield "| work | against | reach | median (least to most) | |"
    yield "| --- | --- | --- | --- | --- |"
    for outcome in outcomes(results, targets):
        came_to = f"{outcome.spread:,.2f}" if outcome.spread else outcome.reason
        met = {True: "met", False: "MISSED", None: "not measured"}[outcome.met]
        yield _row([outcome.name, outcome.against, outcome.reach, came_to, met])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_json(
    path: Path,
    machine: str,
    options: Mapping[str, object],
    subjects: Mapping[Subject, str],
    results: Results,
    space: Sequence[Kept],
) -> None:
    """Write everything that was measured, each repetition of it."""
    told = {
        "machine": machine,
        "options": options,
        "subjects": {subject.name: version for subject, version in subjects.items()},
        "skipped": [
            {"subject": subject, "task": task, "reason": reason}
            for (subject, task), reason in results.skipped.items()
        ],
        "figures": results.to_json(),
        "ratios": list(_ratios(results)),
        "targets": [asdict(outcome) for outcome in outcomes(results)],
        "space": [asdict(row) for row in space],
    }
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _ratios(results: Results) -> Iterator[dict[str, object]]:
    for work in results.works():
        for quantity in results.quantities(work):
            for subject in results.subjects(work):
                ratio: Spread | None = results.ratio(work, quantity, REFERENCE, subject)
                if ratio is not None and subject != REFERENCE:
                    yield {
                        "work": work.key,
                        "quantity": quantity.name,
                        "against": subject,
                        **asdict(ratio),
                    }
