"""A server whose disk fails refuses what it cannot keep, and goes on once the disk is well."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.crash.faults import SHORTEN, SYNC, WRITE, Fault, FaultyServer, served_faultily
from tests.crash.load import BROKEN, Client, Figures, session_with, verify_all
from tests.crash.operations import CHUNK_SIZE, schedule
from tests.programs import require_program

FOLDERS = ("one", "two", "three")
OPERATIONS = 12
COLLECTING = ("--collect-every", "10ms", "--grace", "0s")
SMALL = ("--chunk-size", str(CHUNK_SIZE), "--memory", "512KiB")

SOMETIMES = 0.05
FAULTS = {
    "each_write_fails": [Fault(WRITE)],
    "each_sync_fails": [Fault(SYNC)],
    "the_log_cannot_be_shortened": [Fault(SHORTEN)],
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
    with served_faultily(tmp_path_factory.mktemp("faulty"), *SMALL, *COLLECTING) as faulty:
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


def untimed() -> None:
    """Take no notice of a moment."""


async def load(client: Client, session: aiohttp.ClientSession, count: int) -> None:
    """Send operations; after each that was refused, see what is there."""
    for operation in itertools.islice(schedule(client.folder), count):
        try:
            await client.perform(session, operation, untimed)
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
    "I/O errors: writes, syncs and truncations fail, always or at random",
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
    async with session_with(server.server) as session:
        with nothing_refused(figures):
            await load_all(clients, session)
        with server.failing(*faults):
            await load_all(clients, session)
        await verify_all(session, clients)
        with nothing_refused(figures):
            await load_all(clients, session)
        await verify_all(session, clients)
    report_figures(figures)
