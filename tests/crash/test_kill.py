"""A server that is killed at any moment keeps what it acknowledged, and nothing by halves."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from chunkstore.core.names import FolderName
from chunkstore.store.sqlite.store import SQLiteStore
from tests.crash.inspection import DATABASE, check_database, check_what_is_kept_of_edits
from tests.crash.load import BROKEN, Client, Figures, Moments, session_with, verify_all
from tests.crash.operations import BOUNDED, CHUNK_SIZE, schedule
from tests.crash.options import Rounds
from tests.process import ServerProcess, served

# So little memory that a larger upload takes several transactions.
SMALL = ("--chunk-size", str(CHUNK_SIZE), "--memory", "1MiB")
FOLDERS = ("one", "two", "three", "four", "five")
MOST_MOMENTS = 150
LATEST_SECONDS = 0.02


async def load(client: Client, session: aiohttp.ClientSession, moments: Moments, seed: str) -> None:
    """Send operations until the server is killed."""
    for operation in schedule(f"{seed} {client.folder}"):
        try:
            await client.perform(session, operation, moments.tick)
        except BROKEN:
            if not moments.reached.is_set():
                raise
            return
        assert client.doubt is None, f"{operation.method} {operation.name} was refused"


async def kill(server: ServerProcess, moments: Moments, after_seconds: float) -> None:
    """Kill the server a little after the moment is reached, whatever it does just then."""
    await moments.reached.wait()
    await asyncio.sleep(after_seconds)
    server.signal(signal.SIGKILL)


async def run_round(server: ServerProcess, clients: list[Client], seed: str) -> None:
    """Check what the rounds before left, load the server, kill it."""
    rng = random.Random(seed)
    moments = Moments(rng.randrange(1, MOST_MOMENTS))
    async with session_with(server) as session:
        await verify_all(session, clients)
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(load(client, session, moments, seed))
            group.create_task(kill(server, moments, rng.uniform(0, LATEST_SECONDS)))
    assert server.wait() == -signal.SIGKILL


async def set_quotas(folder: Path) -> None:
    """Make a store with quotas that nothing exceeds."""
    store = await SQLiteStore.open(folder / DATABASE, chunk_size=CHUNK_SIZE)
    for limited in ("", "one/", "two/", "none/"):
        await store.quotas.set(FolderName(limited), 1 << 40, 1 << 40)
    await store.close()


@pytest.mark.fault(
    "SIGKILL at any moment",
    "five clients put, replace, delete, copy, move and get on a real server; after each kill the"
    " next one must have all that was acknowledged, and what was not whole or not at all; quotas"
    " are exact, and the audit log tells of the very names that there are",
)
@pytest.mark.parametrize(
    "options",
    [("--collect-every", "0"), ("--collect-every", "10ms", "--grace", "0s")],
    ids=["without_collection", "beside_collection"],
)
async def test_a_killed_server_keeps_what_it_acknowledged(
    tmp_path: Path,
    rounds: Rounds,
    report_figures: Callable[[object], None],
    options: tuple[str, ...],
) -> None:
    figures = Figures()
    clients = [Client(folder, figures) for folder in FOLDERS]
    folder = tmp_path / "served"
    folder.mkdir()
    await set_quotas(folder)
    options = (*SMALL, "--audit", "always", *options)
    for seed in rounds:
        with rounds.named(seed), served(folder, *options, wrapper=BOUNDED) as server:
            await run_round(server, clients, str(seed))
            figures.rounds += 1
            figures.kills += 1
            await check_what_is_kept_of_edits(folder, tmp_path / "copy")
            await check_database(folder, tmp_path / "copy")
    with served(folder, *SMALL, wrapper=BOUNDED) as server:
        async with session_with(server) as session:
            await verify_all(session, clients)
    report_figures(figures)
