"""How transfers tell how far they are: sums, lines, bars on a terminal."""

from __future__ import annotations

import json
import os
import pty
import threading
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.cli.client_program import run_reported, status_of
from chunkstore.cli.reporting import PULLING, PUSHING, Report, make_report
from chunkstore.cli.tally import Tally
from chunkstore.client.errors import ClientError, ConditionFailed, Missing, ServerAway
from chunkstore.core.errors import LocalFileError

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["started", "transferred", "spared", "finished", "failed"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 1000),
    )
)


@given(STEPS)
def test_sums_are_those_of_files_that_have_not_failed(
    steps: Sequence[tuple[str, str, int]],
) -> None:
    tally = Tally()
    moving: dict[str, Counter[str]] = {}
    total: Counter[str] = Counter()
    for kind, name, size in steps:
        if kind == "started":
            moving[name] = Counter()
            tally.started(name, size)
        elif name not in moving:
            continue  # Only what was begun goes on.
        elif kind in ("transferred", "spared"):
            moving[name][kind] += size
            total["wire"] += size // 2 if kind == "transferred" else 0
            if kind == "transferred":
                tally.transferred(name, size, size // 2)
            else:
                tally.spared(name, size)
        elif kind == "finished":
            total += moving.pop(name) + Counter(files=1)
            tally.finished(name)
        else:
            moving.pop(name)
            total["failed"] += 1
            tally.failed(name, Missing())
    sums = tally.sums()
    for one in moving.values():
        total += one
    assert (sums.transferred, sums.spared) == (total["transferred"], total["spared"])
    assert (sums.wire_size, sums.files) == (total["wire"], total["files"])
    assert sums.failed == len(tally.failures) == total["failed"]


def test_any_number_of_threads_may_tell() -> None:
    tally = Tally()

    def transfer(number: int) -> None:
        for step in range(200):
            name = f"{number}-{step}"
            tally.started(name, 3)
            tally.transferred(name, 2, 1)
            tally.spared(name, 1)
            tally.finished(name)

    threads = [threading.Thread(target=transfer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sums = tally.sums()
    assert (sums.files, sums.transferred, sums.wire_size, sums.spared) == (800, 1600, 800, 800)
    assert tally.moving() == {}


def ended(report: Report, *errors: Exception, raised: Exception | None = None) -> int:
    def action() -> None:
        report.planned(1 + len(errors), 10)
        report.started("a", 10)
        report.transferred("a", 4, 3)
        report.spared("a", 6)
        report.finished("a")
        for error in errors:
            report.failed("b", error)
        if raised is not None:
            raise raised

    with pytest.raises(SystemExit) as ending:
        run_reported(report, action)
    assert isinstance(ending.value.code, int)
    return ending.value.code


def test_the_summary_tells_what_was_sent_and_spared(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(make_report(PUSHING)) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(
        "Pushed 1 file of 10 bytes: 3 bytes sent, 6 bytes spared, in 0.0 s ("
    )
    assert shown.err == ""
    assert ended(make_report(PULLING, quiet=True)) == 0
    assert ended(make_report(PULLING, to_pipe=True)) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "3 bytes fetched" in shown.err


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([Missing()], 3),
        ([Missing(), Missing()], 3),
        ([Missing(), ConditionFailed()], 1),
        ([LocalFileError("x")], 1),
        ([ValueError("x")], 1),
    ],
)
def test_the_status_is_what_all_failures_have_in_common(
    errors: list[Exception], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(make_report(PUSHING), *errors) == status
    shown = capsys.readouterr()
    assert shown.err == "".join(f"b: {error}\n" for error in errors)
    assert f"; {len(errors)} failed." in shown.out


def test_an_error_that_ends_it_is_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(make_report(PUSHING), Missing(), raised=ServerAway("gone")) == 5
    assert capsys.readouterr().err == f"b: {Missing()}\nchunkstore: gone\n"
    assert ended(make_report(PUSHING, as_json=True), raised=ClientError("it")) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["file", "exit"]
    assert lines[-1] == {"type": "exit", "status": 1, "message": "it"}
    assert status_of(ConditionFailed()) == 4


def test_bars_are_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        report = make_report(PUSHING, to_pipe=False)
        with report.showing():
            report.planned(2, 64 << 20)
            report.started("[bold]large", 32 << 20)
            report.transferred("[bold]large", 8 << 20, 4 << 20)
            report.warned("[red]careful")
            drawn = read_until(master, "4.0 MiB sent", "[bold]large", "12%", "[red]careful")
        assert "Pushing" in drawn
    os.close(master)


def read_until(master: int, *texts: str) -> str:
    """Return what a terminal was sent, once all texts are in it."""
    drawn = ""
    with open(master, "rb", buffering=0, closefd=False) as terminal:
        while not all(text in drawn for text in texts):
            drawn += terminal.read(65536).decode()
    return drawn
