"""An import into a store that a server has open: the server is sent what the command reads."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from chunkstore.core.chunkers import Chunking, chunking_of
from chunkstore.core.errors import AlreadyExists, InvalidRequest, NameConflict, StoreError
from chunkstore.core.names import FileName, FolderName
from chunkstore.server import control
from chunkstore.server.commands import taking_commands
from chunkstore.server.control import is_controlled
from chunkstore.server.importing import IntoServer
from chunkstore.service.access.people import People
from chunkstore.service.memory import MemoryBudget
from chunkstore.service.service import Service
from chunkstore.store.sqlite.store import SQLiteStore
from tests.conftest import RandomBytes
from tests.process import COMMAND, ServerProcess, clean_environment, run_command, served

MIB = 1024 * 1024


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "files.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(database)
    people = People(store.records)
    async with taking_commands(str(database), Service(store, MemoryBudget(8 * MIB)), people):
        yield store
    people.close()
    await store.close()


async def test_files_and_folders_are_put(
    store: SQLiteStore, database: Path, random_bytes: RandomBytes
) -> None:
    assert await is_controlled(database)
    target = IntoServer(database, Chunking.FASTCDC)
    content = random_bytes(9 * MIB)
    pieces = [content[: 5 * MIB], b"", content[5 * MIB :]]
    put = await target.put(FileName("a/b"), pieces_of(*pieces), overwrite=False)
    assert (put.name, put.size, put.new_size) == ("a/b", len(content), len(content))
    file = await store.names.find(FileName("a/b"))
    assert file is not None
    assert chunking_of(file.manifest) is Chunking.FASTCDC
    empty = await target.put(FileName("empty"), pieces_of(), overwrite=False)
    assert empty.size == 0
    again = await target.put(FileName("a/b"), pieces_of(content), overwrite=False)
    assert again.new_size == 0
    for _ in range(2):
        await target.make_folder(FolderName("f/"))
    assert await store.names.find(FolderName("f/")) is not None


async def test_what_is_in_the_way_is_told_apart(store: SQLiteStore, database: Path) -> None:
    target = IntoServer(database, Chunking.FIXED)
    await target.put(FileName("a"), pieces_of(b"a"), overwrite=False)
    with pytest.raises(AlreadyExists, match="--overwrite"):
        await target.put(FileName("a"), pieces_of(b"b"), overwrite=False)
    with pytest.raises(NameConflict):
        await target.put(FileName("a/b"), pieces_of(b"b"), overwrite=False)
    with pytest.raises(NameConflict):
        await target.make_folder(FolderName("a/b/"))
    await target.put(FileName("a"), pieces_of(b"b" * 10), overwrite=True)
    file = await store.names.find(FileName("a"))
    assert file is not None
    assert file.manifest.size == 10


async def test_what_breaks_off_is_not_put(store: SQLiteStore, database: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * MIB
        raise InvalidRequest("The file cannot be read.")

    target = IntoServer(database, Chunking.FIXED)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        await target.put(FileName("a"), broken(), overwrite=False)
    assert await target.put(FileName("b"), pieces_of(b"b"), overwrite=False)
    assert await store.names.find(FileName("a")) is None


async def test_a_store_that_takes_no_more_says_so_before_all_is_sent(
    tmp_path: Path, database: Path
) -> None:
    full = await SQLiteStore.open(database, min_free=2**62)
    people = People(full.records)
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield os.urandom(MIB)
            sent += 1

    async with taking_commands(str(database), Service(full, MemoryBudget(8 * MIB)), people):
        with pytest.raises(Exception, match="free"):
            await IntoServer(database, Chunking.FIXED).put(
                FileName("a"), endless(), overwrite=False
            )
    assert sent < 100
    people.close()
    await full.close()


async def test_memory_is_given_back_while_nothing_comes(
    store: SQLiteStore, database: Path, monkeypatch: pytest.MonkeyPatch, random_bytes: RandomBytes
) -> None:
    monkeypatch.setattr(control, "_PATIENCE_SECONDS", 0.01)
    # Eight uploads that stop in the middle leave room for a ninth.
    go_on = asyncio.Event()

    async def stopping(content: bytes) -> AsyncIterator[bytes]:
        yield content[: MIB + 1]
        await go_on.wait()
        yield content[MIB + 1 :]

    target = IntoServer(database, Chunking.FIXED)
    contents = [random_bytes(2 * MIB) for _ in range(16)]
    stopped = [
        asyncio.create_task(target.put(FileName(f"s{number}"), stopping(one), overwrite=False))
        for number, one in enumerate(contents)
    ]
    put = await target.put(FileName("other"), pieces_of(random_bytes(3 * MIB)), overwrite=False)
    assert put.size == 3 * MIB
    go_on.set()
    assert [one.size for one in await asyncio.gather(*stopped)] == [2 * MIB] * 16


async def test_a_server_that_ends_ends_the_import(store: SQLiteStore, database: Path) -> None:
    target = IntoServer(database, Chunking.FIXED)

    async def ending() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.to_thread(lambda: control.control_path(database).unlink())

    await target.put(FileName("a"), ending(), overwrite=False)
    assert not await is_controlled(database)
    with pytest.raises(StoreError):
        await target.put(FileName("b"), pieces_of(b"b"), overwrite=False)


def get(server: ServerProcess, name: str) -> bytes:
    with urlopen(f"{server.url}files/{name}") as response:
        content: bytes = response.read()
    return content


def test_a_tree_goes_into_a_store_that_is_served(tmp_path: Path, random_bytes: RandomBytes) -> None:
    tree = tmp_path / "tree"
    (tree / "b" / "empty").mkdir(parents=True)
    contents = {"a": random_bytes(9 * MIB), "b/c": b"c", "b/d": b""}
    for name, content in contents.items():
        (tree / name).write_bytes(content)
    with served(tmp_path, "--max-file-size", "1MiB") as server:
        done = run_command(tmp_path, "import", "--into", "in", "tree")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "Imported 3 files, 9.0 MiB, of which 9.0 MiB were new.\n"
        for name, content in contents.items():
            assert get(server, f"in/{name}") == content
        (tree / "a").write_bytes(b"other")
        (tree / "b" / "c").unlink()
        (tree / "b" / "c").mkdir()
        done = run_command(tmp_path, "import", "--into", "in", "tree")
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert "'tree/a' was not imported: There is a file 'in/a' already" in lines[0]
        assert "'tree/b/c' was not imported" in lines[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_the_server_need_not_be_able_to_read_the_files(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_bytes(b"another's")
    os.chown(tree, 65534, 65534)
    tree.chmod(0o700)
    # So root is a user like others to what others have.
    wrapper = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([*wrapper, "cat", str(tree / "a")], check=True, capture_output=True)
    with served(tmp_path, "--db", "files.db", wrapper=wrapper) as server:
        done = subprocess.run(
            [*COMMAND, "import", "--db", "files.db", "tree"],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert get(server, "a") == b"another's"
