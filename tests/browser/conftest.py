"""Chromium, and pages in it that are watched."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.meter import Meter, metered
from tests.browser.steps import MIB, Visit
from tests.process import ServerProcess, served
from tests.programs import require_node_package, require_program

# Debian's packages. The first is Chromium without its desktop, and opens a page in half the time.
_PROGRAMS = ("chromium-headless-shell", "chromium")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return the system's Chromium; it fetches none.

    Not for the whole session: Playwright runs an event loop as long as it is there, and other
    modules' tests need one of their own.
    """
    program = require_program(*_PROGRAMS)
    with sync_playwright() as playwright:
        # Without its sandbox it also runs as root, as in CI; it sees pages of ours only.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """Return the source of axe-core."""
    folder = require_node_package("axe-core") / "node_modules" / "axe-core"
    return (folder / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server that the tests of a module share, each in a folder of its own."""
    with served(tmp_path_factory.mktemp("served"), "--min-free", "0") as server:
        yield server


@pytest.fixture(scope="module")
def meter(server: ServerProcess) -> Iterator[Meter]:
    """Return a meter before that server."""
    with metered(server.port) as meter:
        yield meter


@pytest.fixture
def visit(
    chromium: Browser,
    server: ServerProcess,
    meter: Meter,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Visit]:
    """Return a visit to the test's own folder, in which nothing unexpected may happen."""
    name = request.node.name.removeprefix("test_")
    visit = Visit(chromium.new_context(), server, name, tmp_path, meter)
    yield visit
    visit.end()


@pytest.fixture
def large(request: pytest.FixtureRequest) -> bytes:
    """Return 3 MiB that the server knows from no other test."""
    return random.Random(request.node.nodeid).randbytes(3 * MIB)
