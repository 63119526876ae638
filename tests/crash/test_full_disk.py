"""A full disk refuses uploads, and nothing else; the service gets out of it by itself."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
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
CLIENTS = 16
LONG = "x" * 900


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk of DISK_SIZE bytes, or of those of the parameter."""
    with small_disk(tmp_path / "disk", getattr(request, "param", DISK_SIZE)) as place:
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
@pytest.mark.parametrize("size", [400 * 1024, 3 * MIB, 7 * MIB], ids=["400KiB", "3MiB", "7MiB"])
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
        more = io.BytesIO(random.Random(2).randbytes(size))
        async with session.put("dav/more", data=more) as response:
            # As RFC 4331 §6 has it.
            assert response.status == HTTPStatus.INSUFFICIENT_STORAGE
            assert b"<D:sufficient-disk-space/>" in await response.read()
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


class Filler:
    """Requests that add something to a store but no new content, until there is no room for it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._numbers = itertools.count()
        self.uploads: list[str] = []

    async def fill(self, kind: str) -> None:
        """Send requests of one kind until each is refused."""
        requests = {
            "empty files": self.put_nothing,
            "folders": self.make_folder,
            "copies of folders": self.copy_folder,
            "begun uploads": self.begin_upload,
            "small appends": self.append_little,
        }
        await asyncio.gather(*(self._send(requests[kind]) for _ in range(CLIENTS)))

    async def _send(self, request: Callable[[int], Awaitable[int]]) -> None:
        while (status := await request(next(self._numbers))) != HTTPStatus.INSUFFICIENT_STORAGE:
            assert status == HTTPStatus.CREATED

    async def put_nothing(self, number: int) -> int:
        async with self._session.put(f"files/fill/{LONG}{number}") as response:
            return response.status

    async def make_folder(self, number: int) -> int:
        async with self._session.request("MKCOL", f"files/fill/{LONG}{number}/") as response:
            return response.status

    async def copy_folder(self, number: int) -> int:
        headers = {"Destination": f"/files/fill/copies/{number}/"}
        async with self._session.request("COPY", "files/fill/few/", headers=headers) as response:
            return response.status

    async def begin_upload(self, number: int) -> int:
        return await self._upload(number, more=base64.b64encode(bytes(4000)).decode())

    async def append_little(self, number: int) -> int:
        """Begin an upload whose few bytes fill no chunk."""
        return await self._upload(number, body=random.Random(number).randbytes(100_000))

    async def _upload(self, number: int, *, more: str = "", body: bytes | None = None) -> int:
        name = base64.b64encode(f"fill/{number}".encode()).decode()
        headers = {
            "Tus-Resumable": "1.0.0",
            "Upload-Length": "1000000",
            "Upload-Metadata": f"filename {name},more {more}",
        }
        if body is not None:
            headers["Content-Type"] = "application/offset+octet-stream"
        data = None if body is None else io.BytesIO(body)
        async with self._session.post("uploads", headers=headers, data=data) as response:
            if "Location" in response.headers:
                self.uploads.append(response.headers["Location"])
            return response.status


async def end_uploads(session: aiohttp.ClientSession, uploads: Iterator[str]) -> None:
    for url in uploads:
        async with session.delete(url, headers={"Tus-Resumable": "1.0.0"}) as response:
            assert response.status == HTTPStatus.NO_CONTENT


def fill_by_another_program(disk: Path) -> None:
    """Leave not a byte."""
    with (disk / "another-program").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def free_bytes(disk: Path) -> int:
    figures = os.statvfs(disk)
    return figures.f_bavail * figures.f_frsize


@pytest.mark.fault(
    "A disk filled by requests without content",
    "empty files, folders, copies of folders, begun uploads or small appends fill a 20 MiB file"
    " system until all are answered 507, then another program takes its last byte; the server must"
    " delete and collect all the same, also if it is killed and started on the full disk",
)
@pytest.mark.parametrize("disk", [20 * MIB], indirect=True)
@pytest.mark.parametrize(
    ("kind", "killed"),
    [
        ("empty files", False),
        ("folders", True),
        ("copies of folders", True),
        ("begun uploads", True),
        ("small appends", False),
    ],
)
async def test_deletion_works_on_a_disk_full_to_the_last_byte(
    tmp_path: Path,
    disk: Path,
    server: ServerProcess,
    report_figures: Callable[[object], None],
    kind: str,
    killed: bool,
) -> None:
    kept = {"kept": b"kept", "large": random.Random(2).randbytes(MIB)}
    async with session_with(server) as session:
        for name, content in (*kept.items(), ("one", b"1"), ("two", b"2")):
            assert await put(session, name, content) == HTTPStatus.CREATED
        for number in range(100):
            assert await put(session, f"fill/few/{LONG}{number}", b"") == HTTPStatus.CREATED
        filler = Filler(session)
        await filler.fill(kind)
        fill_by_another_program(disk)
        assert free_bytes(disk) == 0
        if not killed:
            assert await delete(session, "one") == HTTPStatus.NO_CONTENT
            await check(session, kept)
    server.kill()
    with served(tmp_path, "--db", str(disk / DATABASE), *OPTIONS) as again:
        async with session_with(again) as session:
            assert await put(session, "none", b"") == HTTPStatus.INSUFFICIENT_STORAGE
            assert await delete(session, "two") == HTTPStatus.NO_CONTENT
            assert await delete(session, "fill/") == HTTPStatus.NO_CONTENT
            uploads = iter(filler.uploads)
            await asyncio.gather(*(end_uploads(session, uploads) for _ in range(CLIENTS)))
            await check(session, kept)
            (disk / "another-program").unlink()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (status := await put(session, "new", b"new")) != HTTPStatus.CREATED:
                    assert status == HTTPStatus.INSUFFICIENT_STORAGE
            await check(session, {**kept, "new": b"new"})
        assert again.stop() == 0
    await check_database(disk, tmp_path / "copy")
    report_figures(f"{kind}, then deletion")
