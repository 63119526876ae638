"""Servers that are killed while many lock and write: locks hold, and keep off who has none."""

from __future__ import annotations

import asyncio
import random
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.crash.load import BROKEN, Figures, Moments, session_with
from tests.crash.options import Rounds
from tests.postgres import Cluster
from tests.process import ServerProcess, served

CLIENTS: Final = 16
FILES: Final = ("a", "b", "d/e", "d/f")
MOST_MOMENTS: Final = 250
INFO: Final = (
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype></D:lockinfo>"
)
ASKED: Final = '<D:propfind xmlns:D="DAV:"><D:prop><D:lockdiscovery/></D:prop></D:propfind>'
REFUSED: Final = {HTTPStatus.LOCKED, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass
class Held:
    """A lock that was acknowledged, and what its file may hold; None is not known yet."""

    token: str
    contents: set[bytes] | None = None


@dataclass
class Lockers:
    """Clients of servers of one store, and the locks that they have, by name."""

    figures: Figures
    held: dict[str, Held] = field(default_factory=dict)

    async def run(
        self, session: aiohttp.ClientSession, moments: Moments, rng: random.Random
    ) -> None:
        """Lock and write until the moment is reached."""
        turn = 0
        try:
            while not moments.reached.is_set():
                turn += 1
                step = self._lock if rng.random() < 0.5 else self._write
                await step(session, rng.choice(FILES), b"%d %d" % (rng.randrange(10**9), turn))
                self.figures.operations += 1
                moments.tick()
        except BROKEN:
            if not moments.reached.is_set():
                raise
            self.figures.broken += 1

    async def _write(self, session: aiohttp.ClientSession, path: str, content: bytes) -> None:
        """Write without a token, if nobody has a lock."""
        async with session.put(f"files/{path}", data=content) as response:
            assert response.status in (REFUSED | {HTTPStatus.OK, HTTPStatus.CREATED}), response
            self.figures.refused += response.status in REFUSED

    async def _lock(self, session: aiohttp.ClientSession, path: str, content: bytes) -> None:
        """Take a lock, see that nobody writes but who has it, and let it go."""
        headers = {"Timeout": "Second-3600"}
        async with session.request("LOCK", f"dav/{path}", data=INFO, headers=headers) as response:
            if response.status in REFUSED:
                self.figures.refused += 1
                return
            assert response.status in (HTTPStatus.OK, HTTPStatus.CREATED), response
            held = Held(response.headers["Lock-Token"])
        assert path not in self.held
        self.held[path] = held
        found = await _read(session, path)
        held.contents = {found, content}
        tagged = {"If": f"({held.token})"}
        async with session.put(f"dav/{path}", data=content, headers=tagged) as response:
            assert response.status == HTTPStatus.NO_CONTENT, await response.text()
        held.contents = {content}
        assert await _read(session, path) == content
        del self.held[path]
        await _unlock(session, path, held.token)
        self.figures.acknowledged += 1

    async def verify(self, session: aiohttp.ClientSession) -> None:
        """Check that the locks hold that were acknowledged; end them all."""
        for path in FILES:
            async with session.request("PROPFIND", f"dav/{path}", data=ASKED) as response:
                if response.status == HTTPStatus.NOT_FOUND:
                    assert path not in self.held
                    continue
                tokens = re.findall("<D:href>(lock:.+?)</D:href>", await response.text())
            assert len(tokens) <= 1, tokens
            held = self.held.pop(path, None)
            if held is not None:
                assert [held.token] == [f"<{token}>" for token in tokens]
                assert held.contents is None or await _read(session, path) in held.contents
            if tokens:
                async with session.put(f"files/{path}", data=b"x") as response:
                    assert response.status == HTTPStatus.LOCKED
                await _unlock(session, path, f"<{tokens[0]}>")


async def _read(session: aiohttp.ClientSession, path: str) -> bytes:
    async with session.get(f"files/{path}") as response:
        assert response.status == HTTPStatus.OK, response
        return await response.read()


async def _unlock(session: aiohttp.ClientSession, path: str, token: str) -> None:
    headers = {"Lock-Token": token}
    async with session.request("UNLOCK", f"dav/{path}", headers=headers) as response:
        assert response.status == HTTPStatus.NO_CONTENT, await response.text()


@pytest.fixture(params=["sqlite", "postgresql"])
def servers_of(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], Sequence[ServerProcess]]]:
    """Return what starts the servers of one store: one, or two on PostgreSQL."""
    options: tuple[str, ...] = ()
    count = 1
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        options, count = ("--db", cluster.create_database("locks_and_kills")), 2
    folders = [tmp_path / str(number) for number in range(count)]
    for folder in folders:
        folder.mkdir()
    with ExitStack() as running:

        def start() -> Sequence[ServerProcess]:
            return [running.enter_context(served(folder, *options)) for folder in folders]

        yield start


@pytest.mark.fault(
    "SIGKILL of a server that many use to lock",
    "16 clients lock, write and unlock the same files, on one server and on two of one PostgreSQL"
    " database, one of which is killed: nobody writes what another has locked, there are never two"
    " locks, and those that were acknowledged hold after it",
)
async def test_locks_hold_when_a_server_is_killed(
    servers_of: Callable[[], Sequence[ServerProcess]],
    client_rounds: Rounds,
    report_figures: Callable[[object], None],
) -> None:
    lockers = Lockers(Figures())
    for seed in client_rounds:
        rng = random.Random(seed)
        servers = servers_of()
        with client_rounds.named(seed):
            async with AsyncExitStack() as stack:
                sessions = [await stack.enter_async_context(session_with(one)) for one in servers]
                await sessions[0].put("files/d/e", data=b"1")
                moments = Moments(rng.randrange(1, MOST_MOMENTS))
                async with asyncio.TaskGroup() as group:
                    for number in range(CLIENTS):
                        session = sessions[number % len(sessions)]
                        each = random.Random(f"{seed} {number}")
                        group.create_task(lockers.run(session, moments, each))
                    await moments.reached.wait()
                    servers[0].signal(signal.SIGKILL)
            for server in servers:
                server.stop()
            [again, *others] = servers_of()
            async with session_with(again) as session:
                await lockers.verify(session)
            for server in (again, *others):
                server.stop()
        lockers.figures.rounds += 1
        lockers.figures.kills += 1
    report_figures(lockers.figures)
