"""The control socket: commands for the server that has the database open."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chunkstore.core.errors import ChunkstoreError, NotFound, StoreError
from chunkstore.server import control as control_module
from chunkstore.server.control import NobodyControls, ask, controlled


async def echo(command: str, arguments: Mapping[str, Any], content: AsyncIterator[bytes]) -> Any:  # noqa: ANN401 - JSON
    """Return what was asked, or fail as the command says."""
    match command:
        case "fail":
            raise NotFound("There is none: é.")
        case "break":
            raise RuntimeError("secret")
        case "large":
            return "x" * 5_000_000
    return [command, arguments]


def socket_of(database: Path) -> Path:
    return database.with_name(f"{database.name}-control")


def exchange(path: Path, request: bytes) -> bytes:
    """Return all that the socket answers to some bytes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "files.db"
    path.touch()
    return path


async def test_a_command_is_run_and_answered(database: Path) -> None:
    async with controlled(database, echo):
        assert await ask(database, "say", {"a": "é😀\n"}) == ["say", {"a": "é😀\n"}]
        assert len(await ask(database, "large", {})) == 5_000_000
        with pytest.raises(ChunkstoreError, match=r"There is none: é\."):
            await ask(database, "fail", {})
        answers = await asyncio.gather(*(ask(database, "n", {"n": n}) for n in range(50)))
        assert answers == [["n", {"n": n}] for n in range(50)]
    assert not socket_of(database).exists()


async def test_what_breaks_tells_no_internals(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with controlled(database, echo):
        with pytest.raises(ChunkstoreError, match="log says why") as failed:
            await ask(database, "break", {})
    assert "secret" not in str(failed.value)
    assert "The command 'break' failed." in caplog.text


@pytest.mark.parametrize(
    "request_line",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b'"x"\n',
        b"\xff\n",
        b'{"command": 1}\n',
        b'{"command": ["collect"], "arguments": {}}\n',
        b'{"command": "collect", "arguments": [1]}\n',
        b"{" * 100_000 + b"\n",
    ],
)
async def test_what_is_no_request_is_refused(database: Path, request_line: bytes) -> None:
    async with controlled(database, echo):
        answer = await asyncio.to_thread(exchange, socket_of(database), request_line)
        assert set(json.loads(answer)) == {"error"}
        assert await ask(database, "still", {}) == ["still", {}]


async def test_a_request_without_end_is_broken_off(database: Path) -> None:
    async with controlled(database, echo):
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(exchange, socket_of(database), b"x" * 3_000_000)
        assert await ask(database, "still", {}) == ["still", {}]


async def test_only_its_owner_may_connect(database: Path) -> None:
    before = os.umask(0)
    try:
        async with controlled(database, echo):
            assert stat.S_IMODE(socket_of(database).lstat().st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
async def test_another_user_is_not_answered_even_where_the_mode_lets_them_connect(
    tmp_path: Path,
) -> None:
    folder = Path("/tmp") / f"control-{os.getpid()}"
    folder.mkdir(mode=0o755)
    database, ran = folder / "files.db", list[str]()

    async def run(command: str, _: Mapping[str, Any], content: AsyncIterator[bytes]) -> None:
        ran.append(command)

    script = (
        "import os, socket; os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        f"s.connect({str(socket_of(database))!r});"
        's.sendall(b\'{"command": "x", "arguments": {}}\\n\'); print(s.recv(100))'
    )
    try:
        async with controlled(database, run):
            socket_of(database).chmod(0o777)
            shown = await asyncio.to_thread(
                subprocess.run,
                ["/usr/bin/env", "python3", "-c", script],
                capture_output=True,
                text=True,
                check=False,
            )
    finally:
        shutil.rmtree(folder)
    assert "cks_" not in shown.stdout
    assert "result" not in shown.stdout
    assert ran == []


async def test_without_a_server_nobody_answers(database: Path) -> None:
    with pytest.raises(NobodyControls):
        await ask(database, "x", {})
    # What a killed server has left.
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_of(database)))
    with pytest.raises(NobodyControls):
        await ask(database, "x", {})
    async with controlled(database, echo):
        assert await ask(database, "x", {}) == ["x", {}]


async def test_a_file_in_its_place_is_left_and_told_of(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    socket_of(database).write_text("mine")
    async with controlled(database, echo):
        assert "Commands cannot reach this server by" in caplog.text
    assert socket_of(database).read_text() == "mine"


async def test_the_socket_of_another_server_is_not_removed(database: Path) -> None:
    async with controlled(database, echo):
        async with controlled(database, echo):
            pass
        assert not socket_of(database).exists()
    async with controlled(database, echo):
        path = socket_of(database)
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            identity = path.lstat().st_ino
    assert path.lstat().st_ino == identity


async def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    database = folder / "files.db"
    async with controlled(database, echo):
        assert await ask(database, "x", {}) == ["x", {}]
    assert list(folder.iterdir()) == []


async def test_another_name_of_the_database_leads_to_the_same_server(database: Path) -> None:
    link = database.with_name("link.db")
    link.symlink_to(database)
    async with controlled(database, echo):
        assert await ask(link, "x", {}) == ["x", {}]


async def test_a_server_that_ends_breaks_off_what_runs(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "_REQUEST_SECONDS", 60)
    running = asyncio.Event()

    async def forever(_: str, __: Mapping[str, Any], content: AsyncIterator[bytes]) -> None:
        running.set()
        await asyncio.Event().wait()

    async with controlled(database, forever):
        asked = asyncio.create_task(ask(database, "x", {}))
        await running.wait()
        # One that says nothing keeps nobody from ending.
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(str(socket_of(database)))
    silent.close()
    with pytest.raises(StoreError):
        await asked
