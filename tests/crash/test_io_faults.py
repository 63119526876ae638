"""A server whose disk fails refuses what it cannot keep, and goes on once the disk is well."""

from __future__ import annotations

import asyncio
import errno
import io
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from tests.crash.faults import READ, SYNC, WRITE, Fault, FaultyServer, served_faultily
from tests.crash.inspection import check_database
from tests.crash.load import (
    BROKEN,
    Client,
    Figures,
    require_problem,
    session_with,
    verify_all,
)
from tests.crash.operations import BOUNDED, CHUNK_SIZE, schedule
from tests.programs import require_program

FOLDERS = ("one", "two", "three")
OPERATIONS = 10
COLLECTING = ("--collect-every", "200ms", "--grace", "0s")
SMALL = ("--chunk-size", str(CHUNK_SIZE), "--memory", "1MiB")

SOMETIMES = 0.05
SELDOM = 0.001
DOWNLOADS = 20
# Larger than what the readers have in their caches.
LARGE = random.Random(20230521).randbytes(900 * CHUNK_SIZE)
FAULTS = {
    "each_write_fails": [Fault(WRITE)],
    "each_sync_fails": [Fault(SYNC)],
    "writes_and_syncs_fail_sometimes": [
        Fault(WRITE, probability=SOMETIMES / 4),
        Fault(SYNC, probability=SOMETIMES),
    ],
    "writes_find_no_room_sometimes": [Fault(WRITE, errno.ENOSPC, SOMETIMES / 4)],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    """One process for all the faults: it must outlive them."""
    require_program("fiu-run")
    folder = tmp_path_factory.mktemp("faulty")
    with served_faultily(folder, *SMALL, *COLLECTING, bounds=BOUNDED) as faulty:
        yield faulty
        assert faulty.server.running


@pytest.fixture
def one_file_server(tmp_path: Path) -> Iterator[FaultyServer]:
    """A process that has all in its database file."""
    require_program("fiu-run")
    with served_faultily(tmp_path, *SMALL, *COLLECTING) as faulty:
        yield faulty
        assert faulty.server.running


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count()


@pytest.fixture
def clients(numbers: Iterator[int]) -> list[Client]:
    """Return clients with folders that no other test uses."""
    number = next(numbers)
    figures = Figures()
    return [Client(f"{folder}{number}", figures) for folder in FOLDERS]


def ignore() -> None:
    """Take no notice of a moment."""


async def load(client: Client, session: aiohttp.ClientSession, count: int) -> None:
    """Send operations; after each that was refused, see what is there."""
    for operation in itertools.islice(schedule(client.folder), count):
        try:
            await client.perform(session, operation, ignore)
        except BROKEN:
            assert operation.method == "PUT"
        if client.doubt is not None:
            await client.verify(session)


async def load_all(clients: list[Client], session: aiohttp.ClientSession) -> None:
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(load(client, session, OPERATIONS))


@contextmanager
def nothing_refused(figures: Figures) -> Iterator[None]:
    """Check that every operation in the context is acknowledged."""
    before = figures.refused + figures.broken
    yield
    assert figures.refused + figures.broken == before


@pytest.mark.fault(
    "I/O errors: writes and syncs fail, always or at random",
    "libfiu in a real server under load, switched on and off; the same process must keep what it"
    " acknowledged and take uploads again",
)
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_a_server_outlives_io_errors(
    server: FaultyServer,
    clients: list[Client],
    tmp_path: Path,
    report_figures: Callable[[object], None],
    faults: list[Fault],
) -> None:
    figures = clients[0].figures
    folder = server.server.folder
    async with session_with(server.server) as session:
        with nothing_refused(figures):
            await load_all(clients, session)
        with server.failing(*faults):
            await load_all(clients, session)
            with server.server.suspended():
                # As if it were killed here.
                await check_database(folder, tmp_path / "copy")
        await verify_all(session, clients)
        with nothing_refused(figures):
            await load_all(clients, session)
        await verify_all(session, clients)
    report_figures(figures)


@dataclass
class Downloads:
    """What became of downloads."""

    whole: int = 0
    refused: int = 0
    broken: int = 0

    def __str__(self) -> str:
        return f"{self.whole} downloads whole, {self.refused} refused, {self.broken} broken off"


async def download(session: aiohttp.ClientSession, name: str, seen: Downloads) -> None:
    """Get a file; it must come whole or end in an error."""
    try:
        async with session.get(f"files/{name}") as response:
            if response.status != HTTPStatus.OK:
                await require_problem(response)
                seen.refused += 1
                return
            content = await response.read()
    except BROKEN:
        seen.broken += 1
        return
    assert content == LARGE
    seen.whole += 1


@pytest.mark.fault(
    "I/O errors: reads fail at random",
    "libfiu in a real server; each download must be whole or end in an error, and none may be"
    " taken for damage",
)
async def test_reads_that_fail_are_errors_and_no_damage(
    one_file_server: FaultyServer, report_figures: Callable[[object], None]
) -> None:
    seen = await download_beside_failing_reads(one_file_server)
    assert seen.whole < DOWNLOADS
    report_figures(seen)


@pytest.mark.fault(
    "I/O errors: reads of segments fail at random",
    "the same with content in segments, which are read again before they count as damaged",
)
async def test_reads_of_segments_that_fail_are_no_damage(
    server: FaultyServer, report_figures: Callable[[object], None]
) -> None:
    report_figures(await download_beside_failing_reads(server))


async def download_beside_failing_reads(server: FaultyServer) -> Downloads:
    """Download a large file again and again, and check that nothing was taken for damage."""
    seen = Downloads()
    async with session_with(server.server) as session:
        async with session.put("files/large", data=io.BytesIO(LARGE)) as response:
            assert response.ok
        with server.failing(Fault(READ, probability=SELDOM)):
            for _ in range(DOWNLOADS):
                await download(session, "large", seen)
        async with session.get("files/large") as response:
            assert await response.read() == LARGE
        async with session.get("stats") as response:
            assert (await response.json())["damaged"] == 0
    return seen
