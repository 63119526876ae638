"""How transfers tell people and programs how far they are.

On a terminal bars show it; elsewhere there is a line each ten seconds. Programs ask for JSON
lines: an object on each, whose `type` is `status`, `file`, `step`, `warning`, `error`, `summary`,
or `exit`, which comes last. Members are only ever added. `docs/client.md` has them.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from chunkstore.cli.tally import Sums, Tally
from chunkstore.core.units import format_count, format_size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_SECONDS: Final = 10.0
_STATUS_SECONDS: Final = 1.0
_BAR_SECONDS: Final = 0.2
# Smaller files come and go too fast to have a bar of their own.
_OWN_BAR_SIZE: Final = 16 * 1024 * 1024
_MAX_OWN_BARS: Final = 8
# Those of C0 and C1, and what stands for bytes that are no UTF-8.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Verb:
    """What is done to files: "Pushing", "pushed" and, of their bytes, "sent"."""

    present: str
    past: str
    bytes_past: str


PUSHING: Final = Verb("Pushing", "pushed", "sent")
PULLING: Final = Verb("Pulling", "pulled", "fetched")
SENDING: Final = Verb("Syncing", "synced", "sent")
FETCHING: Final = Verb("Syncing", "synced", "fetched")
CHECKING: Final = Verb("Verifying", "verified", "read")


class Report:
    """A reporter that shows what it is told as lines of text."""

    _every_seconds = _LINE_SECONDS

    def __init__(self, verb: Verb, *, out: TextIO | None = None, quiet: bool = False) -> None:
        """Results go to `out`, standard output by default; `quiet` shows only what went wrong."""
        self.verb = verb
        self._out = out
        self._quiet = quiet
        self._tally = Tally()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._extra: dict[str, Any] = {}
        self._conclusion: str | None = None

    @property
    def failures(self) -> list[tuple[str, Exception]]:
        """The names that failed, each with its error."""
        return self._tally.failures

    def planned(self, files: int, size: int) -> None:
        """Expect more files."""
        self._tally.planned(files, size)

    def started(self, name: str, size: int) -> None:
        """Begin a file."""
        self._tally.started(name, size)

    def transferred(self, name: str, size: int, wire_size: int) -> None:
        """Count bytes of a file that were sent or fetched."""
        self._tally.transferred(name, size, wire_size)

    def spared(self, name: str, size: int) -> None:
        """Count bytes of a file that needed no transfer."""
        self._tally.spared(name, size)

    def finished(self, name: str) -> None:
        """End a file."""
        self._tally.finished(name)

    def failed(self, name: str, error: Exception) -> None:
        """End a file that failed."""
        self._tally.failed(name, error)
        self._tell(f"{name}: {error}")

    def warned(self, message: str) -> None:
        """Tell the user something that ends nothing."""
        if not self._quiet:
            self._tell(f"Warning: {message}")

    def step(self, members: dict[str, Any], text: str) -> None:
        """Show a step that would be done, as JSON or as text."""
        del members
        with self._lock:
            click.echo(printable(text), file=self._out)

    def result(self, text: str) -> None:
        """Show a line of the result."""
        if not self._quiet:
            with self._lock:
                click.echo(text, file=self._out)

    def add_to_summary(self, **numbers: int) -> None:
        """Add numbers to the summary, as `deleted`."""
        self._extra |= numbers

    def conclude(self, text: str, **numbers: int) -> None:
        """Have this as the summary, of something else than transfers."""
        self._conclusion = text
        self._extra |= numbers

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show how far it is while the context lasts."""
        shower = threading.Thread(target=self._show_often, daemon=True)
        shower.start()
        try:
            yield
        finally:
            self._done.set()
            shower.join()
            self._stop()

    def summarize(self) -> None:
        """Show what was done altogether."""
        if not self._quiet:
            text = self._conclusion
            click.echo(self._summary(self._tally.sums()) if text is None else text, file=self._out)

    def end(self, status: int, message: str | None) -> None:
        """Say why the command ends, if it does not because all is done."""
        del status
        if message is not None:
            click.echo(f"chunkstore: {printable(message)}", err=True)

    def _show_often(self) -> None:
        while not self._done.wait(self._every_seconds):
            self._show()

    def _show(self) -> None:
        if not self._quiet:
            self._tell(self._line(self._tally.sums()))

    def _stop(self) -> None:
        """Leave the screen to what comes behind."""

    def _tell(self, text: str) -> None:
        with self._lock:
            click.echo(printable(text), err=True)

    def _line(self, sums: Sums) -> str:
        if not sums.planned_files:
            return f"{self.verb.present}: looking at what is there."
        files = f"{sums.files:,} of {format_count(sums.planned_files, 'file')}"
        size = f"{format_size(sums.done_size)} of {format_size(sums.planned_size)}"
        return f"{self.verb.present}: {files}, {size}; {self._moved(sums)}{_rest(sums)}"

    def _moved(self, sums: Sums) -> str:
        return (
            f"{format_size(sums.wire_size)} {self.verb.bytes_past}, "
            f"{format_size(sums.spared)} spared, {format_size(round(sums.rate))}/s"
        )

    def _summary(self, sums: Sums) -> str:
        rate = format_size(round(sums.wire_size / sums.seconds)) if sums.seconds else ""
        told_rate = f" ({rate}/s)" if sums.wire_size and rate else ""
        parts = [
            f"{self.verb.past.capitalize()} {format_count(sums.files, 'file')}"
            + (f" of {format_size(sums.done_size)}" if sums.files else ""),
            *(f"{count:,} {key.replace('_', ' ')}" for key, count in self._extra.items() if count),
        ]
        failed = f"; {sums.failed:,} failed" if sums.failed else ""
        return (
            f"{', '.join(parts)}: {format_size(sums.wire_size)} {self.verb.bytes_past}, "
            f"{format_size(sums.spared)} spared, in {sums.seconds:.1f} s{told_rate}{failed}."
        )


class TerminalReport(Report):
    """A reporter with bars on a terminal."""

    _every_seconds = _BAR_SECONDS

    def __init__(self, verb: Verb, *, out: TextIO | None = None) -> None:
        """Show the bars on standard error, and results on `out`."""
        super().__init__(verb, out=out)
        self._progress = _bars()
        self._all = self._progress.add_task(verb.present, total=None, told="")
        self._own: dict[str, TaskID] = {}

    def step(self, members: dict[str, Any], text: str) -> None:
        """Show a step, with the bars out of its way."""
        self._stop()
        super().step(members, text)

    def _show(self) -> None:
        sums = self._tally.sums()
        if not sums.planned_size and not sums.planned_files:
            return
        self._progress.start()
        files = f"{sums.files:,}/{sums.planned_files:,}"
        self._progress.update(
            self._all, completed=sums.done_size, total=max(sums.planned_size, 1),
            told=f"{files} files, {self._moved(sums)}{_rest(sums)}",
        )  # fmt: skip
        moving = self._tally.moving()
        for name in self._own.keys() - moving.keys():
            self._progress.remove_task(self._own.pop(name))
        for name, (done, size) in moving.items():
            if name not in self._own and size >= _OWN_BAR_SIZE and len(self._own) < _MAX_OWN_BARS:
                self._own[name] = self._progress.add_task(_shortened(name), total=size, told="")
            if name in self._own:
                told = f"{format_size(done)} of {format_size(size)}"
                self._progress.update(self._own[name], completed=done, total=size, told=told)

    def _stop(self) -> None:
        self._progress.stop()

    def _tell(self, text: str) -> None:
        with self._lock:
            # Above the bars; not as markup.
            self._progress.console.print(printable(text), markup=False, highlight=False)


class JsonReport(Report):
    """A reporter for programs: JSON lines on standard output, or on `out`."""

    _every_seconds = _STATUS_SECONDS

    def finished(self, name: str) -> None:
        """End a file."""
        self._write("file", name=name, **self._tally.finished(name))

    def failed(self, name: str, error: Exception) -> None:
        """End a file that failed."""
        self._tally.failed(name, error)
        self._write("error", name=name, message=str(error))

    def warned(self, message: str) -> None:
        """Tell something that ends nothing."""
        self._write("warning", message=message)

    def step(self, members: dict[str, Any], text: str) -> None:
        """Show a step as an object."""
        del text
        self._write("step", **members)

    def result(self, text: str) -> None:
        """Leave out what only people read."""

    def summarize(self) -> None:
        """Show what was done altogether."""
        self._write("summary", **self._numbers(), **self._extra)

    def end(self, status: int, message: str | None) -> None:
        """Say with which status the command ends, and why."""
        self._write("exit", status=status, message=message)

    def _show(self) -> None:
        sums = self._tally.sums()
        self._write("status", **self._numbers(), remaining_seconds=sums.remaining_seconds)

    def _numbers(self) -> dict[str, Any]:
        sums = self._tally.sums()
        return {
            "files": sums.files,
            "planned_files": sums.planned_files,
            "failed": sums.failed,
            "planned_size": sums.planned_size,
            "transferred": sums.transferred,
            "wire_size": sums.wire_size,
            "spared": sums.spared,
            "seconds": round(sums.seconds, 3),
            "rate": round(sums.rate),
        }

    def _write(self, kind: str, **members: Any) -> None:  # noqa: ANN401 - whatever JSON has
        line = json.dumps({"type": kind, **members}, ensure_ascii=False)
        with self._lock:
            click.echo(line, file=self._out)


def printable(text: str) -> str:
    """Return a line without what a terminal would obey: names come from servers, too."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def make_report(
    verb: Verb, *, as_json: bool = False, quiet: bool = False, to_pipe: bool = False
) -> Report:
    """Return the report that suits the options and the terminal.

    `to_pipe` says that the content goes to standard output, so that results go to standard error.
    """
    out = sys.stderr if to_pipe else None
    if as_json:
        return JsonReport(verb, out=out)
    if not quiet and sys.stderr is not None and sys.stderr.isatty():
        return TerminalReport(verb, out=out)
    return Report(verb, out=out, quiet=quiet)


def _bars() -> Progress:
    # Loaded here, since it takes as long to import as the rest of a command that needs none.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[told]}", markup=False),
        console=Console(stderr=True),
        auto_refresh=True,
        transient=True,
    )


def _rest(sums: Sums) -> str:
    seconds = sums.remaining_seconds
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f", {left} left"


def _shortened(name: str, width: int = 30) -> str:
    name = printable(name)
    return name if len(name) <= width else f"…{name[1 - width :]}"
