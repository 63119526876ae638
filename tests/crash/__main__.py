"""Run the crash tests and print, as a table of Markdown, what came of each fault.

`python -m tests.crash [options of pytest]`. A row is what the tests of one fault reported in this
run: it says that the fault was survived only if every one of them ran and passed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.crash.figures import figures_of

_SHOWN_IF_PASSED = "survived"


@dataclass
class Row:
    """One fault: how it is tested, and what its tests came to."""

    fault: str
    how: str
    tests: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    figures: list[str] = field(default_factory=list)

    @property
    def result(self) -> str:
        """What the table says."""
        if self.failed:
            return f"**FAILED** ({len(self.failed)} of {len(self.tests)})"
        if self.passed != self.tests:
            return f"not tested here ({len(self.tests - self.passed)} of {len(self.tests)})"
        return "; ".join([_SHOWN_IF_PASSED, *self.figures])

    def __str__(self) -> str:
        return f"| {self.fault} | {self.how} | {self.result} |"


class Table:
    """A plugin of pytest that collects the rows."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._row_of: dict[str, Row] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which tests there are for which fault."""
        for item in session.items:
            for marker in item.iter_markers("fault"):
                row = self.rows.setdefault(marker.args[0], Row(*marker.args))
                row.tests.add(item.nodeid)
                self._row_of[item.nodeid] = row

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a test; an error before or after it is a failure too."""
        row = self._row_of.get(report.nodeid)
        if row is None:
            return
        if report.failed:
            row.failed.add(report.nodeid)
        elif report.passed and report.when == "call":
            row.passed.add(report.nodeid)
            row.figures += figures_of(report)


def main() -> int:
    """Return pytest's exit status."""
    table = Table()
    status = pytest.main([str(Path(__file__).parent), "-q", *sys.argv[1:]], plugins=[table])
    print("\n| fault | how it is tested | result |\n| --- | --- | --- |")
    print("\n".join(map(str, table.rows.values())))
    return status


if __name__ == "__main__":
    sys.exit(main())
