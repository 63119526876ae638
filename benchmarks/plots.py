"""Plots of the figures, as SVG. The only module that needs matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from benchmarks.figures import Results, Work
    from benchmarks.space import Kept

_PACKAGE: Final = "matplotlib"


@dataclass(frozen=True, slots=True)
class Curve:
    """A named line through points."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves over one axis. `logarithmic` is of the axes that are, "x", "y" or "xy"."""

    title: str
    x: str
    y: str
    curves: Sequence[Curve]
    logarithmic: str = ""


def reason_not_to_plot() -> str:
    """Return why no plot can be drawn, or nothing."""
    return "" if importlib.util.find_spec(_PACKAGE) else f"no plots: PyPI's {_PACKAGE} is missing"


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Draw panels side by side into an SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    # The same figures make the same file.
    mpl.rcParams["svg.hashsalt"] = "chunkstore"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(6.5 * len(panels), 4.5), squeeze=False, layout="constrained"
    )
    for axis, panel in zip(axes[0], panels, strict=True):
        _fill(axis, panel)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _fill(axis: Any, panel: Panel) -> None:  # noqa: ANN401 - matplotlib has no type for it
    for curve in panel.curves:
        axis.plot(*zip(*curve.points, strict=True), marker="o", markersize=4, label=curve.name)
    if "x" in panel.logarithmic:
        axis.set_xscale("log", base=2)
        ticks = sorted({x for curve in panel.curves for x, _ in curve.points})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    if "y" in panel.logarithmic:
        axis.set_yscale("log")
    else:
        axis.set_ylim(bottom=0)
    axis.set(title=panel.title, xlabel=panel.x, ylabel=panel.y)
    axis.grid(alpha=0.3)
    axis.legend()


def clients_panels(results: Results) -> list[Panel]:
    """Return throughput against the number of clients, for puts and for gets."""
    panels = []
    for method, about in (("put", "PUT until durable"), ("get", "GET")):
        works = [work for work in results.works() if work.key.startswith(f"{method}-")]
        if not works:
            continue
        subjects = dict.fromkeys(name for work in works for name in results.subjects(work))
        curves = [Curve(name, _by_clients(results, works, name)) for name in subjects]
        panels.append(Panel(f"{about}, 4 KiB files", "clients", "requests/s", curves, "xy"))
    return panels


def _by_clients(results: Results, works: Sequence[Any], subject: str) -> list[tuple[float, float]]:
    points = []
    for work in works:
        spread = results.spread(work, results.quantities(work)[0], subject)
        if spread is not None:
            points.append((float(work.key.partition("-")[2]), spread.median))
    return points


def growth_panels(results: Results) -> list[Panel]:
    """Return what each work comes to as a store grows by bytes, and by names."""
    panels = []
    for unit, axis in (("bytes", "GB stored"), ("names", "names stored")):
        works = [work for work in results.works() if work.key.startswith(f"growth-{unit}-")]
        curves = [
            Curve(f"{work.title.partition(', growing')[0]}, {subject}", points)
            for work in works
            for subject in results.subjects(work)
            if (points := _by_marks(results, work, subject))
        ]
        if curves:
            panels.append(Panel(f"By {unit}", axis, "MB/s, or requests/s", curves, "y"))
    return panels


def _by_marks(results: Results, work: Work, subject: str) -> list[tuple[float, float]]:
    return [
        (quantity.mark, spread.median)
        for quantity in results.quantities(work)
        if quantity.mark is not None and (spread := results.spread(work, quantity, subject))
    ]


def saving_panels(rows: Sequence[Kept]) -> list[Panel]:
    """Return what is saved against the chunk size, beside what has no chunk size."""
    chunked = [row for row in rows if row.chunk_size]
    if not chunked:
        return []
    sizes = [row.chunk_size / 1024 for row in chunked]
    once = [(size, row.given / row.unique) for size, row in zip(sizes, chunked, strict=True)]
    kept = [(size, row.given / row.kept) for size, row in zip(sizes, chunked, strict=True)]
    curves = [Curve("chunkstore, on disk", kept), Curve("chunkstore, not compressed", once)]
    curves += [
        Curve(row.name, [(size, row.given / row.kept) for size in (min(sizes), max(sizes))])
        for row in rows
        if not row.chunk_size
    ]
    rate = Curve(
        "chunkstore, until durable", list(zip(sizes, [r.rate for r in chunked], strict=True))
    )
    return [
        Panel("Saving by chunk size", "chunk size, KiB", "bytes given / bytes kept", curves, "x"),
        Panel("Upload by chunk size", "chunk size, KiB", "MB/s", [rate], "x"),
    ]
