"""What programs call, with and without asyncio."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import chunkstore.client
from chunkstore.client import aio
from chunkstore.client.places import RemotePlace
from chunkstore.client.server.server import Server
from tests.client.conftest import MakeSession, Recorder, content_of
from tests.process import clean_environment


def test_a_program_pushes_and_pulls(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(3 << 20))
    url = folder.url
    with make_session() as session:
        client = chunkstore.client
        assert client.push(path, url, session=session).moved == 3 << 20
        assert client.push(io.BytesIO(b"x"), f"{url}x", session=session).size == 1
        assert client.pull(f"{url}a", tmp_path / "new" / "b", session=session).moved == 3 << 20
        (tmp_path / "folder").mkdir()
        client.pull(f"{url}a", tmp_path / "folder", session=session)
        assert (tmp_path / "folder" / "a").read_bytes() == path.read_bytes()
        client.push_folder(tmp_path / "folder", f"{url}inner/", session=session)
        client.pull_folder(f"{url}inner/", tmp_path / "back", session=session)
        assert client.compare(tmp_path / "back", f"{url}inner", session=session) == []
        out = io.BytesIO()
        client.cat(f"{url}inner/a", out, session=session)
        assert out.getvalue() == path.read_bytes()
        remote.files.put(f"{folder.name}inner/b/c", b"", 0)
        (tmp_path / "folder" / "b").touch()
        with pytest.raises(client.SomeFailed) as raised:
            client.push_folder(tmp_path / "folder", f"{url}inner/", session=session)
        [failure] = raised.value.failures
        assert failure.name == f"{url}inner/b"
        assert raised.value.exit_status == 1
        with pytest.raises(client.InvalidPlace):
            client.push(path, "here", session=session)


async def test_with_asyncio(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(3 << 20))
    session = make_session()
    urls = [f"{folder.url}{number}" for number in range(4)]
    await asyncio.gather(*(aio.push(path, url, session=session) for url in urls))
    pulled = await aio.pull(urls[0], tmp_path / "b", session=session)
    assert pulled.size == 3 << 20
    assert (tmp_path / "b").read_bytes() == path.read_bytes()


async def test_what_is_cancelled_ends(
    remote: Server, make_session: MakeSession, folder: RemotePlace, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(3 << 20))
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def begin() -> None:
        loop.call_soon_threadsafe(begun.set)

    session = make_session(Recorder(begin))
    task = asyncio.ensure_future(aio.push(path, f"{folder.url}a", session=session))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await aio.push(path, f"{folder.url}a", session=make_session())
    content = await asyncio.to_thread(content_of, remote, f"{folder.name}a")
    assert content == path.read_bytes()


def loaded_by(statement: str) -> set[str]:
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules)"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.split())


def test_the_client_loads_nothing_of_the_server() -> None:
    loaded = loaded_by("from chunkstore.client import push, pull, Session")
    tops = {name.partition(".")[0] for name in loaded}
    assert "urllib3" in tops
    assert not tops & {
        "aiohttp", "aiosqlite", "asyncio", "asyncpg", "click", "jinja2", "pygments", "rich",
        "uvloop", "yarl",
    }  # fmt: skip
    assert not {name for name in loaded if name.startswith(("chunkstore.store", "chunkstore.http"))}


def test_a_part_of_the_client_loads_only_that_part() -> None:
    loaded = loaded_by("import chunkstore.client.errors; chunkstore.client.ClientError")
    assert not loaded & {"urllib3", "sqlite3", "ssl"}
    assert set(chunkstore.client.__all__) <= set(dir(chunkstore.client)) | {
        name for name in chunkstore.client.__all__ if hasattr(chunkstore.client, name)
    }
    with pytest.raises(AttributeError, match="nothing"):
        chunkstore.client.nothing  # noqa: B018 - it is the access that raises
