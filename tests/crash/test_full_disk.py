"""A full disk refuses uploads, and nothing else; the service gets out of it by itself."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from tests.crash.disk import small_disk
from tests.crash.inspection import DATABASE, check_database
from tests.crash.load import session_with
from tests.process import ServerProcess, served

MIB = 1024 * 1024
DISK_SIZE = 24 * MIB
PATIENCE_SECONDS = 120
# No floor of free space but the one that the log needs; so little memory that the larger files
# take several transactions.
OPTIONS = ("--collect-every", "50ms", "--grace", "0s", "--min-free", "0", "--memory", "8MiB")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", DISK_SIZE) as place:
        yield place


@pytest.fixture
def server(tmp_path: Path, disk: Path) -> Iterator[ServerProcess]:
    """A server with its database on the small disk, and its log elsewhere."""
    with served(tmp_path, "--db", str(disk / DATABASE), *OPTIONS) as started:
        yield started


async def put(session: aiohttp.ClientSession, name: str, content: bytes) -> int:
    async with session.put(f"files/{name}", data=io.BytesIO(content)) as response:
        answer = await response.read()
        if response.status == HTTPStatus.INSUFFICIENT_STORAGE:
            assert response.content_type == "application/problem+json"
            assert json.loads(answer)["type"] == "urn:chunkstore:problem:store-full"
        return response.status


async def fill(session: aiohttp.ClientSession, prefix: str, size: int) -> dict[str, bytes]:
    """Put new files of `size` bytes until there is no room; return those that were taken."""
    rng = random.Random(f"{prefix} {size}")
    files: dict[str, bytes] = {}
    while True:
        name, content = f"{prefix}{len(files)}", rng.randbytes(size)
        status = await put(session, name, content)
        if status == HTTPStatus.INSUFFICIENT_STORAGE:
            return files
        assert status == HTTPStatus.CREATED
        files[name] = content


async def check(session: aiohttp.ClientSession, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        async with session.get(f"files/{name}") as response:
            assert response.status == HTTPStatus.OK
            assert await response.read() == content


async def delete(session: aiohttp.ClientSession, name: str) -> int:
    async with session.delete(f"files/{name}") as response:
        return response.status


@pytest.mark.fault(
    "A full disk",
    "a server on a 24 MiB file system takes files until it answers 507; it must serve what it has,"
    " delete, collect and take uploads again, all in the same process",
)
@pytest.mark.parametrize("size", [400 * 1024, 3 * MIB], ids=["400KiB", "3MiB"])
async def test_a_server_gets_out_of_a_full_disk(
    tmp_path: Path,
    disk: Path,
    server: ServerProcess,
    report_figures: Callable[[object], None],
    size: int,
) -> None:
    async with session_with(server) as session:
        files = await fill(session, "old", size)
        taken = len(files)
        assert taken * size >= DISK_SIZE // 3
        await check(session, files)
        for name in list(files)[::2]:
            assert await delete(session, name) == HTTPStatus.NO_CONTENT
            del files[name]
        content = random.Random(1).randbytes(size)
        async with asyncio.timeout(PATIENCE_SECONDS):
            # What was deleted is collected meanwhile.
            while (status := await put(session, "new", content)) != HTTPStatus.CREATED:
                assert status == HTTPStatus.INSUFFICIENT_STORAGE
        files["new"] = content
        await check(session, files)
    assert server.stop() == 0
    await check_database(disk, tmp_path / "copy")
    report_figures(f"{taken} files of {size // 1024} KiB taken, then 507")
