"""A server that all tests of a module share, and a folder on it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.client.sync.folders import Folders
from tests.process import ServerProcess, served

_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server."""
    with served(tmp_path_factory.mktemp("server"), "--min-free", "0") as server:
        yield server


@pytest.fixture
def folders(server: ServerProcess, tmp_path: Path) -> Iterator[Folders]:
    """Return a folder here, and one of its own on the server."""
    with Folders(server.url, f"test-{next(_numbers)}/folder/", tmp_path) as folders:
        yield folders


@pytest.fixture
def server_log(server: ServerProcess) -> Path:
    """Return the log of the server, which has a line for each request."""
    return server.log
