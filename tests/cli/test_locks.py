"""`chunkstore locks`, as people run it: beside a server, and on PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path

from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.open import open_store
from tests.cli.test_access import result, run
from tests.cli.test_command_line import fails_with_one_line
from tests.postgres import Cluster
from tests.process import run_command


async def lock_two(location: str) -> None:
    store = await open_store(location)
    await store.locks.take(WantedLock(FolderName("a/"), True, True, "<o/>"))
    await store.locks.take(WantedLock(FileName("b"), False, False))
    await store.close()


def use(folder: Path, *db: str) -> None:
    listed = result(folder, "locks", "ls", *db)
    assert [(one["name"], one["scope"], one["depth"]) for one in listed] == [
        ("/a/", "exclusive", "infinity"),
        ("/b", "shared", "0"),
    ]
    assert run(folder, "locks", "ls", *db).stdout.splitlines()[1].split()[0] == "/a/"
    assert "1 lock on /a/ ended" in run(folder, "locks", "break", "/a/", *db).stdout
    assert "no lock on '/a/'" in fails_with_one_line(run(folder, "locks", "break", "a/", *db))
    assert [one["name"] for one in result(folder, "locks", "break", "b", *db)] == ["/b"]
    assert result(folder, "locks", "ls", *db) == []


def test_locks_of_a_file(tmp_path: Path) -> None:
    assert run_command(tmp_path, "init").returncode == 0
    asyncio.run(lock_two(str(tmp_path / "chunkstore.db")))
    use(tmp_path)


def test_locks_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.create_database("locks_of_commands")
    assert run_command(tmp_path, "init", "--db", url).returncode == 0
    asyncio.run(lock_two(url))
    use(tmp_path, "--db", url)
