"""`chunkstore locks`, as people run it: beside a server, and on PostgreSQL."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.request import Request, urlopen

from chunkstore.core.names import FileName, FolderName
from chunkstore.store.contract.locks import WantedLock
from chunkstore.store.open import open_store
from tests.cli.test_access import result, run
from tests.cli.test_command_line import fails_with_one_line
from tests.postgres import Cluster
from tests.process import run_command, served


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


LOCK = (
    b'<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype></D:lockinfo>"
)


def test_an_import_says_what_is_locked_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("a b", "free"):
        (tmp_path / "tree" / name).write_bytes(b"content")
    with served(tmp_path) as server:
        request = Request(f"http://127.0.0.1:{server.port}/dav/a%20b", LOCK, method="LOCK")
        with urlopen(request, timeout=30) as answer:
            assert answer.status == 201
        shown = run_command(tmp_path, "import", "--overwrite", "tree")
        assert (shown.returncode, shown.stdout) == (
            1,
            "Imported 1 file, 7 bytes, of which 7 bytes were new.\n",
        )
        line, last = shown.stderr.splitlines()
        assert line.startswith("'tree/a b' was not imported: '/a b' is locked until 20")
        assert line.endswith(" UTC; wait, or end it by `chunkstore locks break '/a b'`.")
        assert last == "chunkstore: 1 name was not imported."
        assert run_command(tmp_path, "locks", "break", "/a b").returncode == 0
        assert run_command(tmp_path, "import", "--overwrite", "tree").returncode == 0


def test_locks_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.create_database("locks_of_commands")
    assert run_command(tmp_path, "init", "--db", url).returncode == 0
    asyncio.run(lock_two(url))
    use(tmp_path, "--db", url)
