"""A byte that changes on the disk is never sent, is found, is named and can be repaired."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from chunkstore.core.digest import Digest
from tests.crash.inspection import DATABASE, check_database
from tests.crash.load import read_folder, require_problem, session_with
from tests.crash.operations import CHUNK_SIZE
from tests.process import run_command, served

CHUNKS = 200
FLIPS = 4
SEED = 20230521
# So little memory that a download takes many windows; no scrub but the one that is asked for.
OPTIONS = ("--chunk-size", str(CHUNK_SIZE), "--memory", "1MiB", "--scrub-every", "0")

FIRST = random.Random(SEED).randbytes(CHUNKS * CHUNK_SIZE)
FILES = {
    "first": FIRST,
    "shares": FIRST[: CHUNKS // 2 * CHUNK_SIZE] + b"and ends in another way",
    "other": random.Random(SEED + 1).randbytes(CHUNKS * CHUNK_SIZE),
}


def chunk(seq: int) -> bytes:
    return FIRST[seq * CHUNK_SIZE : (seq + 1) * CHUNK_SIZE]


def flip_a_byte(database: Path, seq: int, rng: random.Random) -> None:
    """Change one bit of the chunk at place `seq`, where it is stored."""
    with closing(sqlite3.connect(database)) as db, db:
        [(row, content)] = db.execute(
            "SELECT chunk_data.id, bytes FROM chunk_data JOIN chunk USING (id) WHERE digest = ?",
            [Digest.of(chunk(seq)).raw],
        )
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        db.execute("UPDATE chunk_data SET bytes = ? WHERE id = ?", [bytes(damaged), row])


async def put_all(session: aiohttp.ClientSession) -> None:
    for name, content in FILES.items():
        async with session.put(f"files/x/{name}", data=content) as response:
            assert response.ok


async def receive_until_broken(response: aiohttp.ClientResponse) -> bytes:
    """Return what came of a body before the connection was broken off, as it must be."""
    received = b""
    try:
        async for piece in response.content.iter_any():
            received += piece
    except aiohttp.ClientError:
        return received
    raise AssertionError("a damaged content was sent as if it were whole")


async def check_whole_downloads(session: aiohttp.ClientSession) -> None:
    """Check that what is damaged ends in an error, and all before it is right."""
    for name in ("first", "shares"):
        async with session.get(f"files/x/{name}") as response:
            if response.status == HTTPStatus.OK:
                received = await receive_until_broken(response)
                assert FILES[name].startswith(received)
            else:
                await require_problem(response)
    async with session.get("files/x/other") as response:
        assert await response.read() == FILES["other"]


async def check_each_chunk(session: aiohttp.ClientSession, damaged: set[int]) -> None:
    """Check that each chunk is to be had but for those that are damaged."""
    for seq in sorted({*range(0, CHUNKS, 10), *damaged}):
        bounds = f"bytes={seq * CHUNK_SIZE}-{(seq + 1) * CHUNK_SIZE - 1}"
        async with session.get("files/x/first", headers={"Range": bounds}) as response:
            if seq in damaged:
                await require_problem(response)
            else:
                assert response.status == HTTPStatus.PARTIAL_CONTENT
                assert await response.read() == chunk(seq)


def check_report(folder: Path, damaged: set[int]) -> None:
    """Check that scrub names each damaged chunk and the files that it is part of."""
    result = run_command(folder, "scrub")
    assert result.returncode == 1
    lines = [line for line in result.stdout.splitlines() if line.startswith("chunk ")]
    assert len(lines) == len(damaged)
    for seq in damaged:
        [line] = [line for line in lines if str(Digest.of(chunk(seq))) in line]
        assert "x/first" in line
        assert ("x/shares" in line) == (seq < CHUNKS // 2)
        assert "x/other" not in line


@pytest.mark.fault(
    "A flipped byte",
    "single bits change in stored chunks; downloads must end in an error before a wrong byte, what"
    " is whole must be readable, scrub must name chunks and files, a new upload must repair them",
)
async def test_a_flipped_byte_is_never_sent_and_can_be_repaired(
    tmp_path: Path, report_figures: Callable[[object], None]
) -> None:
    rng = random.Random(SEED)
    folder = tmp_path / "served"
    folder.mkdir()
    with served(folder, *OPTIONS) as server:
        async with session_with(server) as session:
            await put_all(session)
    # One where both files share the chunk, the others anywhere.
    damaged = {rng.randrange(CHUNKS // 2), *rng.sample(range(CHUNKS), FLIPS - 1)}
    for seq in damaged:
        flip_a_byte(folder / DATABASE, seq, rng)
    with served(folder, *OPTIONS) as server:
        async with session_with(server) as session:
            await check_whole_downloads(session)
            await check_each_chunk(session, damaged)
    check_report(folder, damaged)
    with served(folder, *OPTIONS) as server:
        async with session_with(server) as session:
            await put_all(session)
            assert await read_folder(session, "x") == FILES
    await check_database(folder, tmp_path / "copy")
    report_figures(f"{len(damaged)} chunks damaged, named and repaired")
