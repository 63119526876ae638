"""A real server for all tests of the client, and sessions that keep nothing outside of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chunkstore.client.cache import DigestCache
from chunkstore.client.places import RemotePlace, parse_url
from chunkstore.client.reporting import Silent
from chunkstore.client.server.server import Server
from chunkstore.client.session import Session
from chunkstore.client.settings import Settings
from tests.process import ServerProcess, served

MakeSession = Callable[..., Session]


class Recorder(Silent):
    """A reporter that remembers what it was told, and runs `on_started` when a file begins."""

    def __init__(self, on_started: Callable[[], None] | None = None) -> None:
        self.on_started = on_started
        self.finished_names: list[str] = []
        self.failures: list[tuple[str, Exception]] = []
        self.warnings: list[str] = []

    def started(self, name: str, size: int) -> None:
        """Run the action."""
        if self.on_started is not None:
            self.on_started()

    def finished(self, name: str) -> None:
        """Remember the name."""
        self.finished_names.append(name)

    def failed(self, name: str, error: Exception) -> None:
        """Remember the failure."""
        self.failures.append((name, error))

    def warned(self, message: str) -> None:
        """Remember the warning."""
        self.warnings.append(message)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Return a server that all tests share; each uses a folder of its own in it."""
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def folder(shared_server: ServerProcess) -> RemotePlace:
    """Return a folder of the server that only this test has."""
    return parse_url(f"{shared_server.url}files/{secrets.token_hex(4)}/")


@pytest.fixture
def make_session(tmp_path: Path) -> Iterator[MakeSession]:
    """Return a function that opens sessions, which share a digest cache and a state."""
    with ExitStack() as stack:

        def make(recorder: Recorder | None = None, *, use_cache: bool = True) -> Session:
            session = Session(
                Settings(retries=1),
                reporter=recorder,
                use_cache=use_cache,
                cache=DigestCache(tmp_path / "cache" / "digests.db"),
                state=tmp_path / "state",
            )
            return stack.enter_context(session)

        yield make


@pytest.fixture
def session(make_session: MakeSession) -> Session:
    """Return a session."""
    return make_session()


@pytest.fixture
def remote(session: Session, folder: RemotePlace) -> Server:
    """Return the server as the client sees it."""
    return session.server(folder)


def content_of(server: Server, name: str) -> bytes:
    """Return the content of a file of a server."""
    with server.files.get(name) as answer:
        return answer.read()
