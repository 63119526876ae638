"""How long the crash tests run, and what they tell at the end: a plugin of pytest.

A plugin, because options must be known before any test below this folder is looked at.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.crash.figures import FIGURES, figures_of

_CHAINS = 2
_MAX_SEED = 1_000_000
_CUTS_OF_A_RECORDING = 250
# Beyond the minutes asked for: each round starts programs twice, which takes slow machines long.
_HANG_SECONDS = 1800


class Rounds:
    """The seeds of a test's rounds, one after the other, until it has had its share."""

    def __init__(self, count: int, seed: int, minutes: float, share: int) -> None:
        """It has one of `share` equal parts of the rounds."""
        self._count = count
        self._share = share
        self._seed = seed
        self._seconds = minutes * 60 / share

    def __iter__(self) -> Iterator[int]:
        began = time.monotonic()
        seed = self._seed
        while time.monotonic() - began < self._seconds or seed < self._seed + self._count:
            yield seed
            seed += 1

    @contextmanager
    def named(self, seed: int) -> Iterator[None]:
        """Add to an error how to do the same again."""
        try:
            yield
        except Exception as error:
            count = self._share * (seed - self._seed + 1)
            error.add_note(
                f"In the round of seed {seed}. The same operations on a new database:"
                f" --crash-seed {seed} --crash-rounds {self._share}; with the rounds before it:"
                f" --crash-seed {self._seed} --crash-rounds {count}"
            )
            raise


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("crash tests")
    group.addoption("--crash-rounds", type=int, default=24, help="how often servers are killed")
    group.addoption("--power-cuts", type=int, default=500, help="images of a disk whose power went")
    group.addoption("--crash-seed", type=int, help="the first round's seed; by default any")
    group.addoption(
        "--crash-minutes", type=float, default=0.0, help="go on killing for so long instead"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "fault(fault, how): what goes wrong in this test, and how that is arranged"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    minutes = config.getoption("--crash-minutes")
    for item in items:
        if {"rounds", "client_rounds", "power_cuts"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.timeout(minutes * 60 + _HANG_SECONDS))


@pytest.fixture
def rounds(pytestconfig: pytest.Config) -> Rounds:
    """Return this test's share of the rounds."""
    return _rounds(pytestconfig, _CHAINS)


@pytest.fixture
def client_rounds(pytestconfig: pytest.Config) -> Rounds:
    """Return this test's share of them, where each takes some seconds."""
    return _rounds(pytestconfig, 2 * _CHAINS)


def _rounds(config: pytest.Config, share: int) -> Rounds:
    seed = config.getoption("--crash-seed")
    minutes = config.getoption("--crash-minutes")
    count = 1 if minutes else -(-config.getoption("--crash-rounds") // share)
    first = random.randrange(_MAX_SEED) if seed is None else seed
    return Rounds(count, first, minutes, share)


@pytest.fixture
def power_cuts(pytestconfig: pytest.Config) -> Iterator[tuple[int, int]]:
    """Return the seeds of a test's recordings, each with how many images to make of it."""
    seed = pytestconfig.getoption("--crash-seed")
    first = random.randrange(_MAX_SEED) if seed is None else seed
    count = -(-pytestconfig.getoption("--power-cuts") // _CHAINS)
    return (
        (first + made, min(count - made, _CUTS_OF_A_RECORDING))
        for made in range(0, count, _CUTS_OF_A_RECORDING)
    )


@pytest.fixture
def report_figures(record_property: Callable[[str, object], None]) -> Callable[[object], None]:
    """Return what notes a test's figures for the end of the run."""

    def report(figures: object) -> None:
        record_property(FIGURES, str(figures))

    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {figures}"
        for report in terminalreporter.getreports("passed")
        for figures in figures_of(report)
    ]
    if lines:
        terminalreporter.section("crash tests")
        terminalreporter.write_line("\n".join(lines))
