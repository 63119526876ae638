"""A transfer whose client, server or link fails at any moment goes on, and shows nothing by halves.

The client is the real program, between which and a real server is a link that this test can break.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.backends import PostgresBackend
from tests.crash.link import Link
from tests.crash.load import session_with
from tests.crash.options import Rounds
from tests.crash.transfers import TRANSFERS, Transfer
from tests.process import COMMAND, ServerProcess, clean_environment

# Many, so that there are many moments.
OPTIONS = ("--chunk-size", "64KiB", "--min-free", "0")
AWAY = 5
# By what the end of a transfer can be seen on the wire.
ENDS = (
    b"PATCH /uploads/",
    b"PUT /manifests/",
    b"POST /batch",
    b"MOVE /files/",
    b"/packs/",
)
# So much may pass before.
WIRE = (5000, 1 << 20, 6 << 20)
LATEST_SECONDS = 0.03


class Fault(StrEnum):
    """What fails."""

    CLIENT = "kills of clients"
    SERVER = "kills of servers"
    LINK = "links lost"


@dataclass
class Figures:
    """What a test has been through."""

    rounds: int = 0
    faults: dict[Fault, int] = field(default_factory=lambda: dict.fromkeys(Fault, 0))
    too_late: int = 0
    gone_on: int = 0
    repeated: int = 0
    spared: int = 0

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {fault}" for fault, count in self.faults.items())
        return (
            f"{self.rounds} rounds: {faults}; {self.gone_on} transfers went on by themselves,"
            f" {self.repeated} when they were repeated, which spared {self.spared >> 20:,} MiB;"
            f" {self.too_late} had ended before"
        )


class World:
    """A server whose store stays, a link to it, and clients with one home."""

    def __init__(self, folder: Path, link: Link, options: tuple[str, ...]) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.link = link
        self.transfers = [kind(self.home) for kind in TRANSFERS]
        self._folder = folder / "served"
        self._folder.mkdir()
        self._options = (*OPTIONS, *options)
        self.server: ServerProcess

    async def start_server(self) -> None:
        """Start the server, with whatever the one before has left."""
        self.server = await asyncio.to_thread(ServerProcess, self._folder, *self._options)
        self.link.target = self.server.port

    def url(self, transfer: Transfer) -> str:
        """Return the URL of a transfer's folder, by the link."""
        return f"http://127.0.0.1:{self.link.port}/files/{transfer.folder}/"

    @asynccontextmanager
    async def client(self, transfer: Transfer, *options: str) -> AsyncIterator[Any]:
        """Run a transfer's command."""
        kept = {name: value for name, value in clean_environment().items() if "XDG" not in name}
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *transfer.command(self.url(transfer)), "--json", *options,
            cwd=self.home, env={**kept, "HOME": str(self.home)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def transfer(self, transfer: Transfer, *options: str) -> dict[str, Any]:
        """Transfer without a fault; return the summary."""
        async with self.client(transfer, *options) as process:
            output, errors = await process.communicate()
            assert process.returncode == 0, (transfer.name, output[-1000:], errors[-1000:])
        told = [json.loads(line) for line in output.splitlines()]
        [summary] = [line for line in told if line["type"] == "summary"]
        return dict(summary)

    def check_home(self) -> None:
        """Check that clients have left no part of a file, and no upload to go on with."""
        parts = [path for path in self.home.rglob("*") if path.name.endswith(".part")]
        assert parts == []
        uploads = self.home / ".local/state/chunkstore/uploads"
        assert not uploads.exists() or list(uploads.iterdir()) == []


class Moment:
    """A moment on the wire: so many bytes, or the beginning of a transfer's end; then a pause."""

    def __init__(self, rng: random.Random, act: Callable[[], None]) -> None:
        self.reached = False
        self._left = sys.maxsize
        self._ends = rng.randrange(3) == 0
        if not self._ends:
            self._left = rng.randrange(rng.choice(WIRE))
        self._pause = rng.choice([0, rng.uniform(0, LATEST_SECONDS)])
        self._act = act

    def watch(self, piece: bytes) -> None:
        """Count what passes."""
        self._left -= len(piece)
        at_end = self._ends and any(end in piece for end in ENDS)
        if not self.reached and (self._left < 0 or at_end):
            self.reached = True
            asyncio.get_running_loop().call_later(self._pause, self._act)


async def run_round(
    world: World, transfer: Transfer, fault: Fault, rng: random.Random, figures: Figures
) -> None:
    """Transfer the next version, with a fault, and go on."""
    async with session_with(world.server) as session:
        await transfer.prepare(rng, session)
    # With few retries, clients give up before all is well again.
    is_long = rng.randrange(2) == 0
    status = await transfer_with_fault(world, transfer, fault, rng, is_long, figures)
    world.link.mend()
    world.link.watch = lambda _: None
    if not world.server.running:
        world.server.wait()
        await world.start_server()
    async with session_with(world.server) as session:
        await transfer.check_between(session)
        if status == 0:
            figures.gone_on += 1
        else:
            figures.repeated += 1
            figures.spared += (await world.transfer(transfer))["spared"]
        await transfer.check_after(session)
    world.check_home()


async def transfer_with_fault(
    world: World, transfer: Transfer, fault: Fault, rng: random.Random, is_long: bool,
    figures: Figures,
) -> int:  # fmt: skip
    """Transfer, have something fail at some moment, and return the exit status."""
    options = ("--retries", "1") if is_long else ("--retries", "8")
    async with world.client(transfer, *options) as process:
        failed = asyncio.Event()

        def fail() -> None:
            match fault:
                case Fault.CLIENT if process.returncode is None:
                    process.kill()
                case Fault.SERVER:
                    world.server.signal(signal.SIGKILL)
                case Fault.LINK if is_long:
                    world.link.take_down()
                case Fault.LINK:
                    world.link.cut()
            failed.set()

        moment = Moment(rng, fail)
        world.link.watch = moment.watch
        ended = asyncio.create_task(process.communicate())
        failing = asyncio.create_task(failed.wait())
        await asyncio.wait([ended, failing], return_when="FIRST_COMPLETED")
        failing.cancel()
        if moment.reached:
            await failed.wait()
            figures.faults[fault] += 1
        else:
            figures.too_late += 1
        if failed.is_set() and fault is Fault.SERVER and not is_long:
            await asyncio.to_thread(world.server.wait)
            await world.start_server()
        output, _ = await ended
        status = int(process.returncode or 0)
        assert status in (0, -signal.SIGKILL, AWAY), output[-2000:].decode()
        return status


@pytest.fixture
def options(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """Return what makes a server keep its files in the database of the parameter."""
    if request.param == "sqlite":
        yield ()
        return
    backend: PostgresBackend = request.getfixturevalue("postgres_backend")
    asyncio.run(backend.clear())
    yield ("--db", backend.location)


@pytest.mark.fault(
    "SIGKILL of a client or its server, or a link that is lost, in the middle of a transfer",
    "push, pull and sync by the real program, at any moment; each file of the target must be the"
    " old one or the new one, an atomic sync's folder as a whole; the same command again must go"
    " on, make it identical, and leave nothing else",
)
@pytest.mark.parametrize("options", ["sqlite", "postgres"], indirect=True)
async def test_a_transfer_that_breaks_off_goes_on(
    tmp_path: Path,
    client_rounds: Rounds,
    report_figures: Callable[[object], None],
    options: tuple[str, ...],
) -> None:
    figures = Figures()
    async with Link.forwarding() as link:
        world = World(tmp_path, link, options)
        await world.start_server()
        kinds = list(product(world.transfers, Fault))
        try:
            for seed in client_rounds:
                with client_rounds.named(seed):
                    rng = random.Random(seed)
                    # One after the other, so that few rounds are of different kinds.
                    transfer, fault = kinds[seed * 7 % len(kinds)]
                    await run_round(world, transfer, fault, rng, figures)
                    figures.rounds += 1
        finally:
            await asyncio.to_thread(world.server.kill)
    report_figures(figures)
